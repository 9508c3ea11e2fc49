"""Cache lines that cores fight over, from the report of `perf c2c`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_c2c import COLLECTOR, REPORT
from engram_diagnose.collectors.parse.figures import Found, Missing, UnparsedError
from engram_diagnose.collectors.parse.tool_answers import facts_of_answer, tool_answer
from engram_diagnose.engine.facts.fact import Fact, Reason

_NAMES: Final = (
    "coherence.hitm",
    "coherence.hitm_remote",
    "coherence.loads",
    "coherence.top_line_share",
    "coherence.top_line_offsets",
    "coherence.top_symbol",
)

COHERENCE_FACTS: Final = frozenset(_NAMES)
"""The names of the facts that `perf c2c` gives."""

_GET_BY: Final = {
    Reason.NO_PMU: "run on bare metal, or give the virtual machine a PMU with PEBS or IBS",
    Reason.EVENT_UNSUPPORTED: "run on a CPU with PEBS (Intel), IBS (AMD from Zen 4 on) or SPE (Arm, bare metal)",
    Reason.NO_TOOL: "install perf (package linux-perf) and collect again as root",
    Reason.PARANOID: "collect as root, or with CAP_PERFMON",
    Reason.SECCOMP: "collect on the host instead of in the container",
    Reason.PMU_ZERO: "count the fills from other cores' caches on this CPU (coherence.cross_ccx_fill_pki) instead",
    Reason.TOO_FEW_SAMPLES: "collect for longer, or while there is load",
}


@dataclass(frozen=True, slots=True)
class Access:
    """One place in the code that touches a line: its share of the line's remote and local hits, where, and by whom."""

    remote: float
    local: float
    offset: int
    symbol: str


@dataclass(frozen=True, slots=True)
class Line:
    """A cache line: modified hits by loads from other sockets and from this one, and who accesses it."""

    address: str
    remote: int
    local: int
    accesses: tuple[Access, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """
    What a report says: loads sampled, those that hit a modified line here and on another socket, and the lines.

    `tells` is false where the CPU's samples do not say whether a line was modified: then zero means nothing.
    """

    loads: int
    local: int
    remote: int
    lines: tuple[Line, ...]
    tells: bool


def facts_of_coherence(answers: Iterable[Answer]) -> list[Fact]:
    """The facts of `COHERENCE_FACTS`, each known, or unknown with its reason."""
    mine = [answer for answer in answers if answer.collector == COLLECTOR]
    return facts_of_answer(tool_answer(mine, REPORT), _NAMES, _found, _GET_BY)


def _found(text: str) -> Mapping[str, Found]:
    report = parse_c2c(text)
    hits = report.local + report.remote
    if not report.loads:
        return dict.fromkeys(_NAMES, Missing(Reason.TOO_FEW_SAMPLES, "no load was sampled"))
    if not hits:
        none = Missing(Reason.TOO_FEW_SAMPLES, "no sampled load hit a modified line")
        zero: Found = 0.0 if report.tells else _SILENT
        rest = dict.fromkeys(_NAMES[3:], none if report.tells else _SILENT)
        return {"coherence.hitm": zero, "coherence.hitm_remote": zero, "coherence.loads": float(report.loads), **rest}
    return {
        "coherence.hitm": float(hits),
        "coherence.hitm_remote": float(report.remote),
        "coherence.loads": float(report.loads),
        **_of_top(report, hits),
    }


_SILENT: Final = Missing(Reason.PMU_ZERO, "this CPU's samples do not tell modified lines: none seen says nothing")


def _of_top(report: Report, hits: int) -> Mapping[str, Found]:
    if not report.lines:
        return dict.fromkeys(_NAMES[3:], Missing(Reason.UNPARSED, f"{REPORT}: no cache line in it: cut in the middle?"))
    top = max(report.lines, key=lambda line: line.remote + line.local)
    share = min(1.0, (top.remote + top.local) / hits)
    if not top.accesses:
        cut = Missing(Reason.UNPARSED, f"{REPORT}: nobody accesses {top.address}: cut in the middle?")
        return {"coherence.top_line_share": share, "coherence.top_line_offsets": cut, "coherence.top_symbol": cut}
    weightiest = max(top.accesses, key=lambda one: one.remote * top.remote + one.local * top.local)
    unnamed = Missing(Reason.SOURCE_ABSENT, "the report names no function there (stripped binary?)")
    return {
        "coherence.top_line_share": share,
        "coherence.top_line_offsets": float(len({one.offset for one in top.accesses})),
        "coherence.top_symbol": weightiest.symbol or unnamed,
    }


_TOTAL: Final = re.compile(
    r"^ {0,4}(Load Operations|Load Local HITM|Load Remote HITM) {1,60}: {1,40}([0-9]{1,18})$", re.M
)
_EVENTS: Final = re.compile(r"^ {0,4}Events {1,60}: (.{1,200})$((?:\n {20,60}: .{1,200})*)", re.MULTILINE)
_INTEL: Final = re.compile(r"mem-loads")


def parse_c2c(text: str) -> Report:
    """
    The report that `perf c2c report --stdio` prints, versions 4.10 and later; raises `UnparsedError`.

    Totals are read by name, lines from the table of accesses: columns differ by version, and of a line's row only the
    first two counts (remote, local) and the address are the same in all.
    """
    totals = {row.group(1): int(row.group(2)) for row in _TOTAL.finditer(text)}
    if len(totals) != 3:
        raise UnparsedError("no totals of loads and modified hits in it")
    events = _EVENTS.search(text)
    tells = events is not None and _INTEL.search(events.group(0)) is not None
    lines = tuple(_lines(text))
    return Report(totals["Load Operations"], totals["Load Local HITM"], totals["Load Remote HITM"], lines, tells)


_RULE: Final = re.compile(r" {0,4}-{20,400} {0,4}")
_LINE: Final = re.compile(r" {0,12}[0-9]{1,9}((?: {1,20}[0-9]{1,12}){3,8}) {1,40}(0x[0-9a-f]{1,16})(?: .*)?")
_ACCESS: Final = re.compile(
    r" {0,20}([0-9]{1,3}\.[0-9]{2})% {1,20}([0-9]{1,3}\.[0-9]{2})%(?: {1,20}[0-9]{1,3}\.[0-9]{2}%){1,6}"
    r" {1,40}0x([0-9a-f]{1,4})(?= )(.*)"
)
_SYMBOL: Final = re.compile(r"\[[.kguHhM]\] (\S.{0,400}?)(?: {2,}|$)")


def _lines(text: str) -> Iterator[Line]:
    """The lines of the section on accesses, each between two rules, with the accesses below it."""
    _, found, section = text.partition("Shared Cache Line Distribution Pareto")
    rows = section.splitlines() if found else []
    head: re.Match[str] | None = None
    accesses: list[Access] = []
    for before, row in zip(["", *rows], rows, strict=False):
        header = _LINE.fullmatch(row) if _RULE.fullmatch(before) else None
        if header:
            if head:
                yield _line(head, accesses)
            head, accesses = header, []
        elif head and (access := _ACCESS.fullmatch(row)):
            symbol = _SYMBOL.search(access[4])
            name = _printable(symbol[1]) if symbol else ""
            accesses.append(Access(float(access[1]) / 100, float(access[2]) / 100, int(access[3], 16), name))
    if head:
        yield _line(head, accesses)


def _line(head: re.Match[str], accesses: list[Access]) -> Line:
    remote, local, *_ = head[1].split()
    return Line(head[2], int(remote), int(local), tuple(accesses))


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name.strip())
