"""A CPU profile: folded stacks out of a bundle, the functions they name, and the facts they tell."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_record import COLLECTOR, STACKS
from engram_diagnose.collectors.capture.perf_script import INLINED, JIT, KERNEL, safe
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.demangle import demangle
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import figure, parse_json
from engram_diagnose.collectors.parse.recipe import Answers, absence
from engram_diagnose.engine.facts.fact import Fact, Interval, Reason, point
from engram_diagnose.engine.facts.symbols import SymbolKind

_ABOUT: Final = ("prof.lost_share", "prof.samples", "prof.unknown_frame_share")
_PROFILE: Final = "run `engram-diagnose profile` on the server's host"
_MOST_LINES: Final = 200_000
_LINE: Final = re.compile(r"(\S(?:.{0,1200000}\S)?) ([0-9]{1,15})")
_MARKS: Final = (KERNEL, JIT, INLINED)
_GENERIC: Final = re.compile(r"(?<=[\w:>])(?<!-)<[^<>]*>")
_DEEPEST: Final = 32
_NORMAL: Final = 1.96
"""Of the normal distribution: 95 of 100 shares lie within so many standard errors."""

Stack = tuple[str, ...]
"""Frames from the thread's name inwards, demangled, kernel and other frames with their marks."""


@dataclass(frozen=True, slots=True)
class Profile:
    """
    What was recorded: `samples` of the server in `seconds` at `hertz`, of which `lost` more were dropped.

    `stacks` are the heaviest first; those that the bundle had no room for make up the rest of `samples`. `cut` says why
    reading it back ended early, empty where it did not. `source` names the event; with `kernel`, kernel code was seen.
    """

    stacks: tuple[tuple[Stack, int], ...]
    samples: int
    lost: int = 0
    seconds: float = 0.0
    hertz: float = 0.0
    event: str = ""
    cut: str = ""
    whole_host: bool = False
    threads: int = 0

    @property
    def kept(self) -> int:
        """Samples whose stack is known."""
        return sum(count for _, count in self.stacks)

    @property
    def kernel(self) -> bool:
        """Whether kernel code was sampled too."""
        modifiers = self.event.partition(":")[2]
        return "k" in modifiers or "u" not in modifiers


@dataclass(frozen=True, slots=True)
class Place:
    """A function of a profile: in how many samples it ran itself, and in how many it or what it called did."""

    name: str
    own: int
    total: int


@lru_cache(maxsize=2)
def parse_profile(text: str) -> Profile:
    """
    A line `# {…}` and lines `thread;frame;frame count`, as `capture.perf_record` writes them.

    `# {"event": "cpu-clock", "hertz": 99, "samples": 913, …}`; raises `UnparsedError` with the place.
    """
    head, _, rest = text.partition("\n")
    if not head.startswith("# "):
        raise UnparsedError("line 1 is not `# {…}` of a profile")
    about = parse_json(head[2:])
    if not isinstance(about, dict):
        raise UnparsedError("line 1: not an object")
    stacks = parse_collapsed(rest, first=2)
    kept = sum(count for _, count in stacks)
    return Profile(
        stacks=stacks,
        samples=max(kept, _whole(about, "samples")),
        lost=_whole(about, "lost"),
        seconds=_positive(about, "seconds"),
        hertz=_positive(about, "hertz"),
        event=_text(about, "event"),
        cut=_text(about, "cut"),
        whole_host=about.get("whole_host") is True,
        threads=_whole(about, "threads") if "threads" in about else 0,
    )


def _positive(about: Mapping[str, object], key: str) -> float:
    value = figure(about.get(key))
    if value is None or value < 0:
        raise UnparsedError(f"line 1: {key} is not a figure of at least 0")
    return value


def _whole(about: Mapping[str, object], key: str) -> int:
    return int(_positive(about, key))


def _text(about: Mapping[str, object], key: str) -> str:
    value = about.get(key, "")
    return value if isinstance(value, str) else ""


def parse_collapsed(text: str, *, first: int = 1) -> tuple[tuple[Stack, int], ...]:
    """
    Stacks of lines `frame;frame;frame count`, outermost frame first, as all flame graph tools take them.

    Equal stacks are added up; the heaviest come first, then by name. Raises `UnparsedError` with the line.
    """
    stacks: Counter[Stack] = Counter()
    for number, line in enumerate(text.split("\n"), first):
        if not line:
            continue
        found = _LINE.fullmatch(line)
        if found is None or number > _MOST_LINES:
            raise UnparsedError(f"line {number}: not `frame;frame count`, but {line[:40]!r}")
        stacks[tuple(shown(frame) for frame in found.group(1).split(";"))] += int(found.group(2))
    return tuple(sorted(stacks.items(), key=lambda item: (-item[1], item[0])))


def collapsed(profile: Profile) -> str:
    """The stacks as lines `frame;frame count`, for other tools; a `;` within a name is `:`."""
    return "".join(f"{';'.join(map(safe, stack))} {count}\n" for stack, count in profile.stacks if count)


@lru_cache(maxsize=65_536)
def shown(frame: str) -> str:
    """A frame by its name in the source, with its mark; in one line whatever it was."""
    name, mark = split_mark(frame)
    return safe(demangle(name)) + mark


def split_mark(frame: str) -> tuple[str, str]:
    """A frame's name, and `_[k]` (kernel), `_[j]` (just in time), `_[i]` (inlined) or nothing."""
    mark = next((mark for mark in _MARKS if frame.endswith(mark)), "")
    return frame[: len(frame) - len(mark)], mark


@lru_cache(maxsize=65_536)
def plain(frame: str) -> str:
    """A function's name without its mark and its generic arguments: `<Tier<Vec<f32>>>::get` is `<Tier>::get`."""
    name = split_mark(frame)[0]
    for _ in range(_DEEPEST):
        shorter = _GENERIC.sub("", name)
        if shorter == name:
            break
        name = shorter
    return name.replace("::::", "::").removesuffix("::")


def nameless(frame: str) -> bool:
    """Whether no function is known there, but at most the file: `[unknown]`, `[libc.so.6]`."""
    name = split_mark(frame)[0]
    return name.startswith("[") and name.endswith("]")


def places(profile: Profile) -> list[Place]:
    """Every function of the profile, those that ran most first, then by name. Threads are no functions."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, count in profile.stacks:
        frames = stack[1:]
        if frames:
            own[frames[-1]] += count
        for frame in set(frames):
            total[frame] += count
    found = [Place(name, own[name], count) for name, count in total.items()]
    return sorted(found, key=lambda place: (-place.own, -place.total, place.name))


def profile_fact_names(kinds: Iterable[SymbolKind]) -> frozenset[str]:
    """The facts that `facts_of_profile` speaks of."""
    return frozenset((*_ABOUT, *(kind.fact for kind in kinds)))


def facts_of_profile(answers: Iterable[Answer], kinds: Sequence[SymbolKind]) -> list[Fact]:
    """
    How good the profile is, and the share of its samples that each kind of function has; all of them, or why not.

    A share is an interval: what chance leaves open with so many samples (95 of 100 times, by Wilson), and at its upper
    end the samples that may belong to it because their stack has frames without a name or was not kept.
    """
    answer = Answers(answer for answer in answers if answer.collector == COLLECTOR).newest(STACKS)
    profile = read_profile(answer)
    if answer is None or isinstance(profile, Missing):
        why = profile if isinstance(profile, Missing) else Missing(Reason.NOT_COLLECTED, STACKS)
        return [unknown(name, why, answer, source=STACKS, get_by=_get_by(why))
                for name in sorted(profile_fact_names(kinds))]  # fmt: skip
    source = f"{STACKS} -e {profile.event}"
    about = [_about(name, value, answer, source, profile) for name, value in _quality(profile).items()]
    return about + [_share(kind, profile, answer, source) for kind in sorted(kinds, key=lambda kind: kind.fact)]


def read_profile(answer: Answer | None) -> Profile | Missing:
    """The profile of an answer, or why there is none."""
    if answer is None:
        return Missing(Reason.NOT_COLLECTED, STACKS)
    if answer.body is None or answer.reason:
        return absence(answer)
    try:
        return parse_profile(answer.body)
    except UnparsedError as error:
        return Missing(Reason.UNPARSED, f"{STACKS}: {error}")


def _get_by(why: Missing) -> str:
    return {
        Reason.NOT_COLLECTED: _PROFILE,
        Reason.NO_TOOL: "install perf (Debian: linux-perf), then run `engram-diagnose profile`",
        Reason.PARANOID: "run `engram-diagnose profile` as root, or with CAP_PERFMON",
    }.get(why.reason, "")


def _quality(profile: Profile) -> dict[str, Interval | Missing]:
    frames = [(frame, count) for stack, count in profile.stacks for frame in stack[1:]]
    unnamed = sum(count for frame, count in frames if nameless(frame))
    every = sum(count for _, count in frames)
    taken = profile.samples + profile.lost
    return {
        "prof.lost_share": point(profile.lost / taken) if taken else _idle(profile),
        "prof.samples": point(float(profile.samples)),
        "prof.unknown_frame_share": point(unnamed / every) if every else _idle(profile),
    }


def _idle(profile: Profile) -> Missing:
    return Missing(
        Reason.TOO_FEW_SAMPLES, f"no sample in {profile.seconds:g} s: the server used no CPU, or perf said nothing"
    )


def _about(name: str, value: Interval | Missing, answer: Answer, source: str, profile: Profile) -> Fact:
    if isinstance(value, Missing):
        return unknown(name, value, answer, source=source)
    return _noted(known(name, value, answer, source=source, window=profile.seconds), profile)


def _noted(fact: Fact, profile: Profile) -> Fact:
    """What makes a share less certain than its interval says."""
    notes = [f"read back in part: {profile.cut}"] if profile.cut else []
    if profile.threads > 1 and not profile.whole_host:
        notes.append(f"threads were sampled one by one: what ran under 1/{profile.hertz:g} s in all is not seen")
    return replace(fact, quality="; ".join(notes))


def _share(kind: SymbolKind, profile: Profile, answer: Answer, source: str) -> Fact:
    if kind.kernel and not profile.kernel:
        why = Missing(Reason.PARANOID, "kernel code was not sampled")
        return unknown(kind.fact, why, answer, source=source, get_by=_get_by(why))
    if not profile.samples:
        return unknown(kind.fact, _idle(profile), answer, source=source)
    interval = share_of(kind, profile)
    return _noted(known(kind.fact, interval, answer, source=source, window=profile.seconds), profile)


def share_of(kind: SymbolKind, profile: Profile) -> Interval:
    """The share of a kind's samples, from what is certain to what is possible; there are samples."""
    certain, possible = 0, profile.samples - profile.kept
    for stack, count in profile.stacks:
        frames = stack[1:]
        if _is(kind, frames):
            certain += count
        elif any(map(nameless, frames)) and _may_be(kind, frames):
            possible += count
    low, _ = wilson(certain, profile.samples)
    _, high = wilson(certain + possible, profile.samples)
    return low, high


def _is(kind: SymbolKind, frames: Stack) -> bool:
    names = [plain(frame) for frame in frames]
    if not any(map(kind.names.search, names)):
        return False
    return kind.unless is None or not any(map(kind.unless.search, names))


def _may_be(kind: SymbolKind, frames: Stack) -> bool:
    """
    Whether frames without names may hide one of the kind.

    What the kernel does is named by the kernel: there, user frames without names hide nothing. Elsewhere only where the
    innermost user frame has no name; outer ones are where the chain of frame pointers broke.
    """
    if kind.kernel:
        return any(nameless(frame) for frame in frames if frame.endswith(KERNEL))
    inner = next((frame for frame in reversed(frames) if not frame.endswith(KERNEL)), "")
    return nameless(inner)


def wilson(part: int, whole: int) -> Interval:
    """
    The interval in which a share lies 95 of 100 times, where `part` of `whole` independent samples have it.

    `(p + z²/2n ± z·sqrt(p(1−p)/n + z²/4n²)) / (1 + z²/n)` (Wilson, 1927).
    """
    share, square = part / whole, _NORMAL**2 / whole
    middle, reach = share + square / 2, math.sqrt(share * (1 - share) * square + square**2 / 4)
    low = 0.0 if part == 0 else (middle - reach) / (1 + square)
    high = 1.0 if part == whole else (middle + reach) / (1 + square)
    return max(0.0, low), min(1.0, high)
