"""
Loading 1,000 rules with every mark and check, against PyYAML's pure-Python loader merely reading the same text.

The text is the built-in rule base, its causes and symptoms repeated under new ids until there are enough. Tables and
derivations stand in it once, because two rules may not give the same fact.
"""

import re

import yaml
from measure import interleaved
from outcome import Outcome, alone, compared

from engram_diagnose.engine.language.loader import load
from engram_diagnose.rulebase import builtin_files

RULES = 1000
BAR = 1 / 3
"""At most this share of the time of `yaml.load(text, Loader=yaml.SafeLoader)`."""

_RULES = re.compile(r"(?m)^schema: engram-diagnose/rules/v1$")
_RULE = re.compile(r"(?m)^(?=  - id: )")
_GIVES_FACTS = re.compile(r"(?m)^    kind: (?:table|derive)$")
_WORD = re.compile(r"[\w.-]+")


def run(*, quick: bool = False) -> list[Outcome]:
    """Load the rules each way, in turns."""
    files = made_files(200 if quick else RULES)
    count, size = len(load(files).rules.rules), sum(map(len, files.values())) / 1e6
    sides = {
        "ours": lambda: load(files),
        "python": lambda: [yaml.load(data, Loader=yaml.SafeLoader) for data in files.values()],
        "c": lambda: [yaml.load(data, Loader=yaml.CSafeLoader) for data in files.values()],
        "built-in": lambda: load(builtin_files()),
    }
    times = interleaved(sides, repetitions=2 if quick else 7, warm_up=1)
    label = f"load and check {count:,} rules, {size:.2f} MB"
    return [
        compared("loading", label, times["ours"], "PyYAML SafeLoader", times["python"], bar=BAR),
        compared("loading", label, times["ours"], "PyYAML CSafeLoader", times["c"]),
        alone("loading", "load and check the built-in rules", times["built-in"]),
    ]


def made_files(count: int) -> dict[str, bytes]:
    """All files of a rule base of at least `count` rules."""
    files = dict(builtin_files())
    texts = {name: data.decode() for name, data in files.items() if _RULES.search(data.decode())}
    blocks = {
        name: [block for block in _blocks(text) if not _GIVES_FACTS.search(block)] for name, text in texts.items()
    }
    ids = {_WORD.findall(block)[2] for found in blocks.values() for block in found}
    rules = sum(len(_blocks(text)) for text in texts.values())
    copies = -(-(count - rules) // len(ids))
    for number in range(1, copies + 1):
        for name, found in blocks.items():
            if found:
                copied = _head(texts[name]) + "".join(_renamed(block, ids, number) for block in found)
                files[f"copy-{number}/{name}"] = copied.encode()
    return files


def _head(text: str) -> str:
    return _RULE.split(text)[0]


def _blocks(text: str) -> list[str]:
    return _RULE.split(text)[1:]


def _renamed(block: str, ids: set[str], number: int) -> str:
    """A rule whose own id and the ids it speaks of have a number behind them."""
    return _WORD.sub(lambda word: f"{word[0]}-copy-{number}" if word[0] in ids else word[0], block)
