"""
What `verify` and `baseline compare` do: read the sides, compare them, tell the ledger.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engram_diagnose import __version__
from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.collectors.bundle_format import LIMITS, Bundle
from engram_diagnose.engine.advice.record import Application
from engram_diagnose.engine.comparison.policy import Policy
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import load_rules
from engram_diagnose.verification.benchmark import (
    Benchmark,
    is_benchmark,
    read_benchmark,
    side_of_benchmarks,
    split_label,
)
from engram_diagnose.verification.bundles import BundleSides, Kept
from engram_diagnose.verification.comparing import compare_sides
from engram_diagnose.verification.document import document
from engram_diagnose.verification.figures import parse_figure
from engram_diagnose.verification.predictions import Ledger, application_between, realised
from engram_diagnose.verification.prometheus import Span, bundle_of_window
from engram_diagnose.verification.side import Key, Kind, NothingToCompareError, Side

if TYPE_CHECKING:
    from engram_diagnose.collectors.gather import Request

Say = Callable[[str], None]
_SIDES: Final = ("before", "after")


@dataclass(frozen=True, slots=True)
class Wish:
    """What to compare, and how: figures by name, whether the load is vouched for, whether the ledger is told."""

    figures: tuple[str, ...] = ()
    assumed: bool = False
    record: bool = True


def verify_files(before: Sequence[str], after: Sequence[str], packs: Iterable[Path], wish: Wish, *, now: float,
                 say: Say, ledger: Ledger | None = None) -> dict[str, Any]:  # fmt: skip
    """
    Compare bundles, or benchmark results; what a file is, its content says.

    Raises `NothingToCompareError`, `BundleError`, `FigureError` or `RuleBaseError`.
    """
    comparing = _Comparing(packs, wish, now, say, ledger)
    named = {"before": _read(before), "after": _read(after)}
    kinds = {type(one) for found in named.values() for one in found}
    if len(kinds) > 1:
        raise NothingToCompareError(
            "benchmark results and bundles cannot be held against each other: what clients measured is not what the "
            "server measured of itself; give files of one kind"
        )
    if kinds == {_Labelled}:
        return comparing.benchmarks(*([one for one in named[side] if isinstance(one, _Labelled)] for side in _SIDES))
    return comparing.bundles(*([one for one in named[side] if isinstance(one, Kept)] for side in _SIDES))


def verify_windows(before: Sequence[Span], after: Sequence[Span], request: "Request", packs: Iterable[Path],
                   wish: Wish, *, now: float, say: Say, progress: Say = lambda _: None,
                   ledger: Ledger | None = None) -> dict[str, Any]:  # fmt: skip
    """
    Compare two or more windows of one instance in Prometheus.

    Raises as `verify_files` does; `NothingToCompareError` also when Prometheus does not answer.
    """
    comparing = _Comparing(packs, wish, now, say, ledger)
    found: list[list[Kept]] = []
    for spans in (before, after):
        found.append([])
        for span in spans:
            progress(f"asking Prometheus for {span.text}")
            bundle = bundle_of_window(request, span, comparing.loaded.catalogue, comparing.measured,
                                      tool=f"engram-diagnose {__version__}")  # fmt: skip
            found[-1].append(Kept(span.text, bundle))
    longest = max(span.seconds for span in (*before, *after))
    return comparing.bundles(found[0], found[1], span=longest, prometheus=True)


def compare_with_baseline(name: str, baseline: Bundle, now_name: str, bundle: Bundle, packs: Iterable[Path], *,
                          assumed: bool = False) -> dict[str, Any]:  # fmt: skip
    """
    Hold a bundle against a baseline by the regression rules in force.

    Raises `NothingToCompareError` or `RuleBaseError`.
    """
    from engram_diagnose.verification.regressions import regressions_document

    loaded = load_rules(packs, thorough=False)
    policy = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules)
    sides = BundleSides(loaded, policy, _names(policy))
    before = sides.side([Kept(name, baseline)])
    after = sides.side([Kept(now_name, bundle)], since=baseline.time)
    return regressions_document(before, after, policy, loaded, assumed=assumed)


class _Comparing:
    """One verification: the rules it goes by, and the ledger it knows."""

    def __init__(self, packs: Iterable[Path], wish: Wish, now: float, say: Say, ledger: Ledger | None) -> None:
        self.loaded: Loaded = load_rules(packs, thorough=False)
        self._policy = read_comparison(self.loaded.texts, self.loaded.catalogue, self.loaded.rules.rules)
        self._named = [parse_figure(text, self.loaded.catalogue) for text in wish.figures]
        self._wish = wish
        self._now = now
        self._say = say
        self._ledger = ledger

    @property
    def measured(self) -> frozenset[str]:
        """Every fact that must be collected for it."""
        return self._sides(()).cutter.measured

    def _sides(self, further: Iterable[str]) -> BundleSides:
        return BundleSides(self.loaded, self._policy, _names(self._policy, self._named, further))

    def bundles(self, before: Sequence[Kept], after: Sequence[Kept], *, span: float | None = None,
                prometheus: bool = False) -> dict[str, Any]:  # fmt: skip
        end_before = max(one.bundle.time for one in before)
        newest = max(after, key=lambda one: one.bundle.time).bundle
        application = self._application(newest.instance, end_before, newest.time)
        sides = self._sides(one.on for one in (application.predictions if application else ()))
        since = max(end_before, application.at) if application else end_before
        kind: Kind = "windows" if prometheus else "bundle"
        return self._compared(
            sides.side(before, span=span, kind=kind),
            sides.side(after, since=since, span=span, kind=kind),
            application,
        )

    def benchmarks(self, before: Sequence["_Labelled"], after: Sequence["_Labelled"]) -> dict[str, Any]:
        then, now = (_side(found, label) for found, label in ((before, "before"), (after, "after")))
        return self._compared(then, now, self._application(now.instance, then.end, now.end))

    def _compared(self, before: Side, after: Side, application: Application | None) -> dict[str, Any]:
        found = compare_sides(before, after, self._policy, self.loaded.catalogue, named=self._named,
                              assumed=self._wish.assumed, application=application)  # fmt: skip
        recorded = False
        if application is not None and self._wish.record and self._ledger is not None:
            recorded = self._told(lambda ledger: ledger.add_realised(realised(found, at=self._now)))
        return document(found, self.loaded.catalogue, recorded=recorded)

    # The ledger

    def _application(self, instance: str, start: float, end: float) -> Application | None:
        if self._ledger is None or not instance:
            return None
        found: list[Application] = []
        self._told(lambda ledger: found.extend(ledger.applications(instance)))
        return application_between(found, start, end)

    def _told(self, what: Callable[[Ledger], object]) -> bool:
        """Ask or tell the ledger; what goes wrong with it is said, and costs nothing else."""
        from sqlite3 import Error

        assert self._ledger is not None  # noqa: S101 -- asked by the callers
        try:
            what(self._ledger)
        except (OSError, ValueError, Error) as error:
            self._say(f"the ledger cannot be used, and this verification is not in it: {error}")
            self._ledger = None
            return False
        return True


def _names(policy: Policy, named: Iterable[Key] = (), further: Iterable[str] = ()) -> frozenset[str]:
    """The facts to look at: figures, load, and what regressions are held against."""
    load = {name for measure in policy.load for name in measure.facts}
    rules = {name for one in policy.regressions for name in (one.on, one.clients) if name}
    return frozenset({figure.on for figure in policy.figures} | load | rules | {key.on for key in named} | {*further})


# Files


@dataclass(frozen=True, slots=True)
class _Labelled:
    """A benchmark result, and the label of its runs that was asked for; empty for the side's own."""

    benchmark: Benchmark
    label: str


def _read(names: Sequence[str]) -> list["Kept | _Labelled"]:
    found: list[Kept | _Labelled] = []
    for name in names:
        path, label = split_label(name)
        data = _bytes(path)
        if is_benchmark(data):
            found.append(_Labelled(read_benchmark(path, data), label))
        elif looks_like_json(data):
            raise NothingToCompareError(f"{path} is JSON, but neither a bundle nor a benchmark result; give one")

        else:
            found.append(Kept(path, read_bundle(path)))
    return found


def looks_like_json(data: bytes) -> bool:
    """Whether the bytes are one JSON value that is no line of a bundle, such as a diagnosis."""
    if data.lstrip()[:1] not in (b"{", b"[") or b'"bundle"' in data[:4096]:
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            data = stream.read(LIMITS.bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NothingToCompareError(f"cannot read {path}: {reason}; give a bundle or a benchmark result") from None
    if len(data) > LIMITS.bytes:
        raise NothingToCompareError(f"{path} is larger than {LIMITS.bytes >> 20} MiB; give a bundle, or a benchmark")
    return data


def _side(found: Sequence[_Labelled], usual: str) -> Side:
    labels = {one.label or usual for one in found}
    if len(labels) > 1:
        raise NothingToCompareError(f"one side takes runs of one label, not of {', '.join(sorted(labels))}")
    return side_of_benchmarks([one.benchmark for one in found], labels.pop())


@contextmanager
def usual_ledger(say: Say) -> Iterator[Ledger | None]:
    """The ledger of this user; None when there is none yet, and, with a word about it, when it cannot be opened."""
    from sqlite3 import Error

    from engram_diagnose.history.ledger import ledger_path, open_ledger

    with ExitStack() as stack:
        ledger: Ledger | None = None
        try:
            path = ledger_path()
            ledger = stack.enter_context(open_ledger(path)) if path.exists() else None
        except (OSError, ValueError, Error) as error:
            say(f"the ledger cannot be opened, and this verification is not in it: {error}")
        yield ledger
