"""The instructions around the places where samples fell: `objdump` of the hottest functions, and no more of it."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections import Counter
from dataclasses import dataclass

from engram_diagnose.collectors.capture.perf_script import DELETED
from engram_diagnose.collectors.capture.reading import Reading
from engram_diagnose.collectors.capture.tool import find_tool, run_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from engram_diagnose.collectors.capture.step import Context

NEIGHBOURS = 16
"""Instructions kept on either side of a sampled one: twice what is looked at, so that this may be reconsidered."""

_MOST_FUNCTIONS = 8
_MOST_SECONDS = 6.0
_MOST_BYTES = 8 << 20
_MOST_LINES = 1500
_INSTRUCTION = re.compile(r"\s{0,20}([0-9a-f]{1,16}):\t(.{1,200}).*")
_BEGIN = re.compile(r"([0-9a-f]{1,16}) <.*>:")


@dataclass(frozen=True)
class Function:
    """A function of an object file, and the samples by distance from its start in bytes."""

    symbol: str
    binary: str
    samples: Mapping[int, int]

    @property
    def weight(self) -> int:
        """All its samples."""
        return sum(self.samples.values())


def hottest(places: Mapping[tuple[str, int, str], int], *, most: int = _MOST_FUNCTIONS) -> list[Function]:
    """The functions with most samples; code of a file that was deleted cannot be read any more."""
    found: dict[tuple[str, str], Counter[int]] = {}
    for (symbol, offset, binary), count in places.items():
        if not binary.endswith(DELETED):
            found.setdefault((symbol, binary), Counter())[offset] += count
    functions = [Function(symbol, binary, samples) for (symbol, binary), samples in found.items()]
    return sorted(functions, key=lambda function: (-function.weight, function.symbol, function.binary))[:most]


def disassembly(context: Context, places: Mapping[tuple[str, int, str], int]) -> Reading:
    """
    A JSON object: `machine`, `samples` (of user code), and `functions`, each with `symbol`, `binary`, `samples` by
    offset, and `code`, a list of [offset, instruction] with None where some were left out.
    """
    if find_tool("objdump") is None:
        return Reading(None, "NO_TOOL", "objdump is not installed")
    until = time.monotonic() + _MOST_SECONDS
    functions, refusals = [], []
    for function in hottest(places):
        left = until - time.monotonic()
        if left < 0.1 or context.stop.is_set():
            refusals.append("the time for it ran out")
            break
        code, why = _code(context, function, left)
        functions.append(_entry(function, code))
        refusals += [f"{os.path.basename(function.binary)}: {why}"] if why else []
    body = {
        "machine": platform.machine(),
        "samples": sum(places.values()),
        "functions": functions,
        "refusals": sorted(set(refusals)),
    }
    return Reading(json.dumps(body, ensure_ascii=True, separators=(",", ":")))


def _entry(function: Function, code: list[list[object] | None]) -> dict[str, object]:
    samples = {str(offset): function.samples[offset] for offset in sorted(function.samples)}
    return {"symbol": function.symbol, "binary": function.binary, "samples": samples, "code": code}


def _code(context: Context, function: Function, seconds: float) -> tuple[list[list[object] | None], str]:
    """The instructions around the samples, and why there are none."""
    path = context.machine.proc(f"{context.target.pid}/root{function.binary}")  # in the container that it runs in
    if not os.path.isfile(path):
        return [], "the file cannot be read"
    run = run_tool(["objdump", "-d", "--no-show-raw-insn", f"--disassemble={function.symbol}", path],
                   seconds=seconds, limit=_MOST_BYTES, stop=context.stop)  # fmt: skip
    context.spending.add("objdump", run.cpu_seconds)
    if not run.complete and not run.cut:
        return [], run.detail
    return around(run.output, function.samples), ""


def around(text: str, samples: Mapping[int, int]) -> list[list[object] | None]:
    """
    The instructions near the sampled offsets, of the first function in the text of `objdump -d` that has one at each.

    Functions of one name in several files of one program are told apart by that.
    """
    best: list[tuple[int, str]] = []
    most = 0
    for lines in _functions(text):
        met = len({offset for offset, _ in lines}.intersection(samples))
        if met > most:
            best, most = lines, met
    return _windows(best, samples)


def _functions(text: str) -> list[list[tuple[int, str]]]:
    functions: list[list[tuple[int, str]]] = []
    start = 0
    for line in text.split("\n"):
        begin = _BEGIN.fullmatch(line)
        if begin is not None:
            start = int(begin.group(1), 16)
            functions.append([])
            continue
        found = _INSTRUCTION.fullmatch(line) if functions else None
        if found is not None:
            functions[-1].append((int(found.group(1), 16) - start, found.group(2).strip()))
    return functions


def _windows(lines: list[tuple[int, str]], samples: Mapping[int, int]) -> list[list[object] | None]:
    near: set[int] = set()
    for index, (offset, _) in enumerate(lines):
        if offset in samples:
            near.update(range(max(0, index - NEIGHBOURS), min(len(lines), index + NEIGHBOURS + 1)))
    kept: list[list[object] | None] = []
    before = -1
    for index in sorted(near)[:_MOST_LINES]:
        if before >= 0 and index != before + 1:
            kept.append(None)
        kept.append([lines[index][0], lines[index][1]])
        before = index
    return kept
