"""
Whether the hot code is vector code: the instructions around the sampled ones.

Without hardware counters nobody tells how many packed operations were done. What stands in for it is what the code
around each sample consists of. The sampled instruction itself would mislead: samples fall behind the slow one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_record import CODE, COLLECTOR
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import parse_json
from engram_diagnose.collectors.parse.recipe import Answers, absence
from engram_diagnose.collectors.parse.stacks import wilson
from engram_diagnose.engine.facts.fact import Fact, Reason

FACT: Final = "simd.hot_code_packed_share"
HOT_CODE_FACTS: Final = frozenset({FACT})
_PROXY_OF: Final = "simd.packed_share"
_NEIGHBOURS: Final = 8
"""On either side: as far as a sample slips, and no further than a loop's body."""

_MOST_FUNCTIONS: Final = 64
_MOST_LINES: Final = 10_000

# x86. `addss` and `vaddsd` work on one number, `addps` and `vaddpd` on all of a register. Moves and logic are left out:
# copying memory is no arithmetic. vfmadd231ps, vdpps, vpmaddubsw, vpdpbusd, vsqrtsd.
_X86_WORK: Final = r"(?:add|sub|addsub|mul|div|sqrt|rsqrt(?:14|28)?|rcp(?:14|28)?|min|max|hadd|hsub|dp|range|scalef|fn?m(?:add|sub)(?:sub|add)?(?:132|213|231)?)"  # noqa: E501
_X86_PACKED: Final = re.compile(
    rf"v?{_X86_WORK}p[sdh]|vf?c?mul[a-z]*ph|vdpbf16ps|v?p(?:madd\w+|mul\w+|sadbw|dp\w+|h?add[bwdq]|phadds?w)|t[cd]p\w+"
)
_X86_SCALAR: Final = re.compile(rf"v?{_X86_WORK}s[sdh]|f(?:i?add|i?sub|i?mul|i?div|sqrt)[rpsl]{{0,2}}")

# Arm. `fmla v0.4s, v1.4s, v2.4s` and `fmla z0.s, p0/m, z1.s, z2.s` are packed, `fmadd s0, s1, s2, s0` is not.
_ARM_WORK: Final = re.compile(
    r"f(?:n?m(?:add|sub|la|ls|ad|sb|ul|ulx)|add|addp|addv|adda|sub|div|sqrt|abd|max\w*|min\w*|recpe|rsqrte|mla[lbt]*)"
    r"|[su]dot|[su]mlal2?|[su]mla|mla|bfdot|bfmmla|[su]?mmla"
)
_ARM_VECTOR: Final = re.compile(r"\b(?:v[0-9]{1,2}\.[0-9]{1,2}[bhsd]|z[0-9]{1,2}\.[bhsd])")
_ARM_SCALAR: Final = re.compile(r"\b[hsd][0-9]{1,2}\b")
_PREFIXES: Final = frozenset({"lock", "rep", "repz", "repnz", "bnd", "notrack", "data16", "{vex}", "{evex}"})


@dataclass(frozen=True, slots=True)
class HotFunction:
    """A function's samples by offset, and its instructions near them in order; None where some were left out."""

    symbol: str
    samples: Mapping[int, int]
    code: Sequence[tuple[int, str] | None]


@dataclass(frozen=True, slots=True)
class HotCode:
    """The functions that were disassembled, of `samples` samples in user code, and why others were not."""

    machine: str
    samples: int
    functions: tuple[HotFunction, ...]
    refusals: tuple[str, ...] = ()


def parse_hot_code(text: str) -> HotCode:
    """
    `{"machine": "x86_64", "samples": 820, "functions": [{"symbol", "samples": {"56": 3}, "code": [[56, "mulss …"]]}]}`.

    As `capture.disassembly` writes it; raises `UnparsedError` with the place.
    """
    root = parse_json(text)
    if not isinstance(root, dict) or not isinstance(root.get("functions"), list):
        raise UnparsedError("not an object with `functions`")
    machine, refusals = root.get("machine"), root.get("refusals", [])
    if not isinstance(machine, str) or not isinstance(refusals, list):
        raise UnparsedError("`machine` and `refusals` are not a text and a list")
    functions = tuple(_function(entry, at) for at, entry in enumerate(root["functions"][:_MOST_FUNCTIONS]))
    return HotCode(machine, _count(root.get("samples"), "samples"), functions, tuple(map(str, refusals)))


def _function(entry: object, at: int) -> HotFunction:
    place = f"functions[{at}]"
    if not isinstance(entry, dict):
        raise UnparsedError(f"{place}: not an object")
    samples, code = entry.get("samples"), entry.get("code")
    if not isinstance(samples, dict) or not isinstance(code, list) or len(code) > _MOST_LINES:
        raise UnparsedError(f"{place}: `samples` and `code` are not an object and a list")
    counted = {_offset(key, place): _count(value, place) for key, value in samples.items()}
    return HotFunction(str(entry.get("symbol", "")), counted, [_line(line, place) for line in code])


def _offset(key: str, place: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", key):
        raise UnparsedError(f"{place}: {key[:40]!r} is not an offset")
    return int(key)


def _count(value: object, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 48:
        raise UnparsedError(f"{place}: {str(value)[:40]!r} is not a count")
    return value


def _line(line: object, place: str) -> tuple[int, str] | None:
    if line is None:
        return None
    if isinstance(line, list) and len(line) == 2 and type(line[0]) is int and isinstance(line[1], str):
        return line[0], line[1]
    raise UnparsedError(f"{place}: {str(line)[:40]!r} is not [offset, instruction]")


def packed(instruction: str, machine: str) -> bool | None:
    """Whether an instruction computes with many numbers at once, or with one; None for what is no such arithmetic."""
    words = instruction.split()
    while words and words[0] in _PREFIXES:
        words.pop(0)
    if not words:
        return None
    if machine in ("aarch64", "arm64"):
        return _packed_on_arm(words[0], " ".join(words[1:]))
    if _X86_PACKED.fullmatch(words[0]):
        return True
    return False if _X86_SCALAR.fullmatch(words[0]) else None


def _packed_on_arm(word: str, operands: str) -> bool | None:
    if not _ARM_WORK.fullmatch(word):
        return None
    if _ARM_VECTOR.search(operands):
        return True
    return False if _ARM_SCALAR.search(operands) else None


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Of how many samples the surroundings are known, of how many they compute, and how much of that is packed."""

    looked_at: int
    computing: int
    packed: float


def neighbourhood(hot: HotCode) -> Neighbourhood:
    """
    For each sample the packed ones among the computing instructions up to 8 before and after it, summed over samples.

    A sample without such an instruction around it computes nothing, and does not count.
    """
    looked_at = computing = 0
    total = 0.0
    for function in hot.functions:
        for count, share in _samples(function, hot.machine):
            looked_at += count
            if share is not None:
                computing += count
                total += count * share
    return Neighbourhood(looked_at, computing, total)


def _samples(function: HotFunction, machine: str) -> Iterator[tuple[int, float | None]]:
    kinds = [None if line is None else packed(line[1], machine) for line in function.code]
    at = {line[0]: index for index, line in enumerate(function.code) if line is not None}
    for offset, count in sorted(function.samples.items()):
        index = at.get(offset)
        if index is not None:
            near = [kind for kind in _window(function.code, kinds, index) if kind is not None]
            yield count, sum(near) / len(near) if near else None


def _window(code: Sequence[tuple[int, str] | None], kinds: Sequence[bool | None], index: int) -> list[bool | None]:
    """Eight on either side, as far as nothing was left out between."""
    first, last = index, index
    while first > max(0, index - _NEIGHBOURS) and code[first - 1] is not None:
        first -= 1
    while last < min(len(code) - 1, index + _NEIGHBOURS) and code[last + 1] is not None:
        last += 1
    return list(kinds[first : last + 1])


def facts_of_hot_code(answers: Iterable[Answer]) -> list[Fact]:
    """The share of packed arithmetic around the samples, a proxy; or why it is not known."""
    answer = Answers(answer for answer in answers if answer.collector == COLLECTOR).newest(CODE)
    if answer is None:
        return [_unknown(Missing(Reason.NOT_COLLECTED, CODE), None)]
    if answer.body is None or answer.reason:
        return [_unknown(absence(answer), answer)]
    try:
        hot = parse_hot_code(answer.body)
    except UnparsedError as error:
        return [_unknown(Missing(Reason.UNPARSED, f"{CODE}: {error}"), answer)]
    return [_fact(hot, neighbourhood(hot), answer)]


def _fact(hot: HotCode, around: Neighbourhood, answer: Answer) -> Fact:
    if not around.looked_at:
        why = "; ".join(hot.refusals) or "no function with samples could be disassembled"
        return _unknown(Missing(Reason.SOURCE_ABSENT if hot.samples else Reason.TOO_FEW_SAMPLES, why), answer)
    if not around.computing:
        return _unknown(Missing(Reason.TOO_FEW_SAMPLES, "no sample lies near floating-point code"), answer)
    low, _ = wilson(int(around.packed), around.computing)
    _, high = wilson(min(around.computing, -int(-around.packed // 1)), around.computing)
    fact = known(FACT, (low, high), answer, source="perf record + objdump", proxy_of=_PROXY_OF)
    seen = f"{around.looked_at} of {hot.samples} samples of user code disassembled, {around.computing} near arithmetic"
    known_kind = hot.machine in ("x86_64", "amd64", "i686")
    return replace(fact, quality=seen if known_kind else f"experimental: never checked on {hot.machine}; {seen}")


def _unknown(why: Missing, answer: Answer | None) -> Fact:
    get_by = {
        Reason.NOT_COLLECTED: "run `engram-diagnose profile` on the server's host",
        Reason.NO_TOOL: "install perf and binutils, then run `engram-diagnose profile`",
    }.get(why.reason, "")
    return unknown(FACT, why, answer, source=CODE, get_by=get_by)
