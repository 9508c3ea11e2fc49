"""
What `perf script` printed, folded into stacks with counts: a bundle keeps these, not the text.

Folding is done where the recording was made, so this runs on Python 3.8 with the standard library alone.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = "comm,pid,tid,time,period,event,ip,sym,symoff,dso"
"""What `perf script -F` is asked for."""

KERNEL, JIT, INLINED = "_[k]", "_[j]", "_[i]"
"""How frames are marked, as the flame graph tools do."""
UNKNOWN = "[unknown]"

_MOST_FRAMES = 512
_MOST_CHARACTERS = 2048
"""Of one frame's name. Rust's longest mangled names have about 1,500; what is cut cannot be demangled."""
_MOST_PLACES = 4096
_LONGEST_HEADER = 512
DELETED = " (deleted)"

_HEADER = re.compile(
    r"(?P<comm>.*)\s+(?P<pid>-?[0-9]{1,10})/(?P<tid>-?[0-9]{1,10})\s+(?:\[[0-9]{1,5}\]\s+)?"
    r"(?P<time>[0-9]{1,12}\.[0-9]{1,9}):\s+(?:(?P<period>[0-9]{1,20})\s+)?(?P<event>[^\s:][^\s]{0,80}):\s*"
)
_LOST = re.compile(r".*\sPERF_RECORD_LOST(?:_SAMPLES)? lost ([0-9]{1,12})")
_FRAME = re.compile(r"\s{1,40}(?P<ip>[0-9a-f]{1,16}) (?P<rest>\S.*)")
_OFFSET = re.compile(r"(?P<name>.*)\+0x(?P<offset>[0-9a-f]{1,16})")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DIGITS = re.compile(r"[0-9]+")
_RUN_TIME = re.compile(r"(?:^|/)(?:perf-[0-9]{1,10}\.map|jitted-[0-9]{1,10}-[0-9]{1,10}\.so)$")
_NO_KERNEL = ("[unknown", "[vdso", "[vsyscall", "[heap", "[stack", "[anon")
_MODULES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz", "vmlinux")


@dataclass(frozen=True)
class Frame:
    """
    One frame: its name as it stands in a folded stack, and the symbol, offset and object it was made of.

    `offset` is the distance from the symbol's start in bytes, None where perf did not say.
    """

    name: str
    symbol: str = ""
    offset: int | None = None
    binary: str = ""


@dataclass
class Folded:
    """
    Samples by stack, outermost frame first, `;` between the frames and the thread's name as the first.

    `places` counts the samples by (symbol, offset, object) of the innermost frame, for user code only. `lost` are
    samples that the kernel says it dropped, `others` such as belong to another process, `unread` lines that are none
    of perf's.
    """

    stacks: Counter[str] = field(default_factory=Counter)
    places: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    samples: int = 0
    lost: int = 0
    others: int = 0
    unread: int = 0
    event: str = ""


def fold(text: str, *, pid: int) -> Folded:
    """
    The samples of process `pid` in the text of `perf script`; never raises.

    A sample is a line `comm pid/tid time: period event:`, its frames, innermost first, and an empty line. A thread's
    name may hold anything, line breaks too. A sample that the text ends in the middle of does not count.
    """
    folding = _Folding(pid)
    for line in _lines(text):
        folding.take(line)
    return folding.folded


def _lines(text: str) -> Iterator[str]:
    """The lines that are ended, one after the other: all at once, those of a long text take as much again."""
    start = 0
    while True:
        end = text.find("\n", start)
        if end < 0:
            return
        yield text[start:end]
        start = end + 1


def kept(folded: Folded, *, most: int, most_bytes: int) -> list[tuple[str, int]]:
    """
    The heaviest stacks, at most `most` of at most `most_bytes` characters together; the order is by count, then text.

    Where there are more, threads are told apart by name only, without its digits: `worker-17` is `worker-#`.
    """
    stacks = folded.stacks
    if len(stacks) > most:
        stacks = _without_numbers(stacks)
    found, room = [], most_bytes
    for stack, count in sorted(stacks.items(), key=lambda item: (-item[1], item[0]))[:most]:
        room -= len(stack) + 12
        if room < 0:
            break
        found.append((stack, count))
    return found


def _without_numbers(stacks: Counter[str]) -> Counter[str]:
    merged: Counter[str] = Counter()
    for stack, count in stacks.items():
        thread, semicolon, rest = stack.partition(";")
        merged[_DIGITS.sub("#", thread) + semicolon + rest] += count
    return merged


def safe(name: str) -> str:
    """A name as it may stand in a folded stack: in one line, without `;`, of bounded length, never empty."""
    name = _UNSAFE.sub("?", name[:_MOST_CHARACTERS].replace("\\n", " ")).replace(";", ":").strip()
    return name or UNKNOWN


class _Folding:
    def __init__(self, pid: int) -> None:
        self.folded = Folded()
        self._pid = pid
        self._known: dict[str, Frame | None] = {}
        self._thread: str | None = None
        self._ours = False
        self._frames: list[Frame] = []
        self._began = ""

    def take(self, line: str) -> None:
        """One line of the text."""
        if self._thread is not None and not line:
            self._finish()
            return
        if self._thread is not None:
            frame = self._frame(line)
            if frame is not None:
                if len(self._frames) < _MOST_FRAMES:
                    self._frames.append(frame)
                return
        self._outside(line)

    def _outside(self, line: str) -> None:
        """A line that begins a sample, tells of lost ones, or is a part of a thread's name."""
        header = _HEADER.fullmatch(line) if line.endswith((":", ": ")) and len(line) < _LONGEST_HEADER else None
        if header is not None:
            self._begin(header)
            return
        lost = _LOST.match(line) if "PERF_RECORD_LOST" in line else None
        if lost is not None:
            self.folded.lost += int(lost.group(1))
        elif line.strip():
            self.folded.unread += 1
            self._began = line[:64]

    def _begin(self, header: re.Match[str]) -> None:
        before, self._began = self._began, ""
        if before:  # the first part of a name with a line break in it
            self.folded.unread -= 1
        self._frames = []
        self._thread = safe(f"{before} {header.group('comm')}")
        self._ours = int(header.group("pid")) == self._pid
        self.folded.event = self.folded.event or safe(header.group("event"))

    def _finish(self) -> None:
        folded, thread, frames = self.folded, self._thread or UNKNOWN, self._frames
        self._thread, self._frames = None, []
        if not self._ours:
            folded.others += 1
            return
        folded.samples += 1
        folded.stacks[";".join([thread, *(frame.name for frame in reversed(frames))])] += 1
        if frames and frames[0].symbol and frames[0].offset is not None:
            place = (frames[0].symbol, frames[0].offset, frames[0].binary)
            if place in folded.places or len(folded.places) < _MOST_PLACES:
                folded.places[place] += 1

    def _frame(self, line: str) -> Frame | None:
        """The frame in a line; the same lines come again and again."""
        if line not in self._known:
            self._known[line] = frame_of(line)
        return self._known[line]


def frame_of(line: str) -> Frame | None:
    """
    `frame := blanks address " " symbol ["+0x" offset] " (" object ")"`; None for a line that is none.

    A symbol may hold blanks and brackets (those of a just-in-time compiler do), a path too.
    """
    found = _FRAME.fullmatch(line)
    if found is None:
        return None
    rest, inlined = found.group("rest"), False
    if rest.endswith(" (inlined)"):
        rest, inlined = rest[: -len(" (inlined)")], True
        symbol, binary = rest, ""
    else:
        symbol, binary = _halves(rest)
    offset = _OFFSET.fullmatch(symbol)
    symbol, distance = (offset.group("name"), int(offset.group("offset"), 16)) if offset else (symbol, None)
    return _made(symbol.strip(), distance, binary, inlined, found.group("ip"))


def _halves(rest: str) -> tuple[str, str]:
    """`symbol (object)` into the two; a path of a file that was deleted ends in ` (deleted)`."""
    body = rest[:-1] if rest.endswith(")") else rest
    deleted = DELETED if body.endswith(DELETED) else ""
    body = body[: len(body) - len(deleted)]
    for opening in (" (/", " ([", " ("):
        at = body.rfind(opening)
        if at >= 0:
            return body[:at], body[at + 2 :] + deleted
    return body, ""


def _made(symbol: str, offset: int | None, binary: str, inlined: bool, ip: str) -> Frame:
    kernel = (binary.startswith("[") and not binary.startswith(_NO_KERNEL)) or binary.endswith(_MODULES)
    kernel = kernel or (len(ip) == 16 and ip.startswith("ffff"))
    run_time = _RUN_TIME.search(binary)
    mark = KERNEL if kernel else INLINED if inlined else JIT if run_time else ""
    if symbol in ("", UNKNOWN):
        name = binary.rsplit("/", 1)[-1].strip("[]") if binary.startswith("/") else ""
        return Frame(safe(f"[{name or 'unknown'}]") + mark)
    if kernel or run_time or not binary.startswith("/"):
        return Frame(safe(symbol) + mark)
    return Frame(safe(symbol) + mark, symbol, offset, binary)
