"""
The patch file: what a reviewer reads, as comments, and behind them the diff that is applied and the one that undoes it.
"""

import shlex
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from typing import Any, Final

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from engram_diagnose.patch.file import body, machine_lines
from engram_diagnose.render.layout import wrap
from engram_diagnose.render.neutral import clean
from engram_diagnose.render.tuning import CLASSES, HEADINGS, UNMEASURED, effect_words, source, waiting

_TEMPLATE: Final = "config.patch.j2"
_DIGEST: Final = "sha256:"
_COLUMNS: Final = 98


def render_patch(document: Mapping[str, Any], memo: str = "") -> str:
    """
    The patch of an advice document, as it is kept, mailed and applied.

    `memo` is the comment line that the ledger reads once it is applied. The file of the document must be known with its
    secrets, or its result would not be.
    """
    file = document["file"]
    shown = clean({**document, "file": {**file, "diff": "", "reverse": ""}})
    machine = machine_lines(
        file=file["path"],
        base=file["base"].removeprefix(_DIGEST),
        result=file["result"].removeprefix(_DIGEST),
        made=datetime.fromisoformat(document["made"]),
        expires=datetime.fromisoformat(document["expires"]),
    )
    text = (
        _environment()
        .from_string(_template())
        .render(
            patch=shown,
            machine=[*machine, memo] if memo else machine,
            headings=HEADINGS,
            unmeasured=UNMEASURED,
            classes=CLASSES,
            body=body(file["diff"], file["reverse"]),
        )
    )
    return text.rstrip("\n") + "\n"


def _template() -> str:
    return resources.files("engram_diagnose").joinpath("templates", _TEMPLATE).read_text(encoding="utf-8")


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )  # it is no markup; `visible` has made every text harmless
    environment.filters |= {
        "lines": _lines,
        "voice": source,
        "expected": effect_words,
        "quoted": shlex.quote,
        "waiting": waiting,
    }
    return environment


def _lines(text: str, indent: int) -> str:
    """A text as comment lines."""
    room = _COLUMNS - 2 - indent
    return "\n".join(
        "# " + " " * (indent + (2 if number else 0)) + "".join(part for part, _ in line)
        for number, line in enumerate(wrap([(text, "")], room, hang=2))
    )
