"""
Facts of what microbenchmarks found this host to attain (`kernels/`), from the record that they left.

    {"schema": "engram-diagnose/attained/v1", "host": "0f…", "parts": [
      {"name": "stream", "measured_at": 1.79e9, "expires_at": 1.79e9,
       "of": {"cpu": "…", "cpus": 4, "kernel": "…", "device": "8:1"}, "measurements": [
       {"name": "stream.read", "unit": "B/s", "labels": {"level": "DRAM"}, "threads": 4, "better": "higher",
        "median": 6.2e10, "lower": 6.1e10, "upper": 6.3e10, "attained": 6.1e10, "repeats": 9, "stability": "stable",
        "notes": []}]}]}

A limit is what three repeats of four reach, so that nobody is measured by the host's best moment.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.attained import COLLECTOR, NOW, RECORD
from engram_diagnose.collectors.parse.attribution import unknown
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import figure, parse_json
from engram_diagnose.collectors.parse.recipe import absence
from engram_diagnose.engine.facts.fact import Fact, Reason, point
from engram_diagnose.engine.facts.scope import INSTANCE

SCHEMA: Final = "engram-diagnose/attained/v1"
GET_BY: Final = "run `engram-diagnose kernels` on the server's host while it is idle; takes about ten seconds"
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class From:
    """
    The measurement that a fact is taken from: its name and labels that it has.

    Of several it is the largest where that is asked for, else the first; `on_device` where it is one of the disk.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    largest: bool = False
    on_device: bool = False

    @property
    def part(self) -> str:
        """The part of the suite that measures it."""
        return self.name.partition(".")[0]

    def fits(self, entry: Mapping[str, Any]) -> bool:
        """Whether a measurement of the record is this one."""
        labels = entry.get("labels")
        same = isinstance(labels, dict) and all(labels.get(name) == value for name, value in self.labels.items())
        return entry.get("name") == self.name and same

    def chosen(self, fitting: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The one of several that fit, of which there is one at least."""
        return max(fitting, key=lambda entry: figure(entry.get("attained")) or 0.0) if self.largest else fitting[0]


_PAIR: Final = {"update": "add", "threads": "2"}
_L2_SCALAR: Final = {"layout": "scalar", "level": "L2"}
_FULL_DOT: Final = {"work": "full dot"}
_EVEN, _HOT = {"keys": "uniform"}, {"keys": "zipf 1.3"}

FACTS: Final[Mapping[str, From]] = {
    f"host.attainable.{name}": wanted
    for name, wanted in (
        ("memory_bandwidth", From("stream.read", {"level": "memory", "threads": "all"})),
        ("memory_bandwidth_one_thread", From("stream.read", {"level": "memory", "threads": "one"})),
        ("memory_latency", From("latency.plateau", {"level": "memory"})),
        ("last_level_cache", From("latency.last_cache")),
        ("fma_rate", From("peak.fma", largest=True)),
        ("similarity_rate", From("similarity.one_query")),
        ("scalar_similarity_rate", From("similarity.rate", _L2_SCALAR)),
        ("similarity_batch", From("similarity.batch")),
        ("similarity_batch_gain", From("similarity.batch_gain")),
        ("prefetch_distance", From("walk.distance", _FULL_DOT)),
        ("prefetch_gain", From("walk.gain", _FULL_DOT)),
        ("false_sharing_factor", From("sharing.factor", _PAIR)),
        ("lock_rate", From("locks.best_rate", _EVEN)),
        ("shard_gain", From("locks.gain", _EVEN)),
        ("hot_shard_gain", From("locks.gain", _HOT)),
        ("best_shards", From("locks.shards", _EVEN)),
        ("fsync_p50", From("wal.append_fsync", {"quantile": "p50"}, on_device=True)),
        ("fsync_p99", From("wal.append_fsync", {"quantile": "p99"}, on_device=True)),
        ("wal_group_gain", From("wal.group_gain", {"group": "64"}, on_device=True)),
    )
}
"""Where each fact is taken from."""
ATTAINED_FACTS: Final = frozenset(FACTS)


def facts_of_attained(answers: Iterable[Answer], *, at: float) -> list[Fact]:
    """
    The `host.attainable.*` facts as of the instant `at`; nothing where no record was looked for.

    A record that is out of date, of another CPU, or whose repeats scattered too far, is an unknown that says so.
    """
    listed = [answer for answer in answers if answer.collector == COLLECTOR]
    record = next((answer for answer in listed if answer.name == RECORD), None)
    if record is None:
        return []
    if not record.answered:
        return [_unknown(name, absence(record), record) for name in FACTS]
    try:
        parts = _parts(record.body or "")
        now = _now(listed)
    except UnparsedError as error:
        why = Missing(Reason.UNPARSED, f"the record of microbenchmarks: {error}")
        return [_unknown(name, why, record) for name in FACTS]
    return [_fact(name, wanted, parts, now, record, at) for name, wanted in FACTS.items()]


@dataclass(frozen=True, slots=True)
class _Part:
    """What was measured together: when, until when it holds, on what, and the measurements."""

    measured_at: float
    expires_at: float
    of: Mapping[str, Any]
    measurements: Sequence[Mapping[str, Any]]
    unmeasured: Sequence[Mapping[str, Any]]


def _parts(body: str) -> dict[str, _Part]:
    document = parse_json(body)
    if (
        not isinstance(document, dict)
        or document.get("schema") != SCHEMA
        or not isinstance(document.get("parts"), list)
    ):
        raise UnparsedError(f"it is no {SCHEMA}")
    return {str(part.get("name")): _part(part) for part in document["parts"] if isinstance(part, dict)}


def _part(entry: Mapping[str, Any]) -> _Part:
    measured, expires = figure(entry.get("measured_at")), figure(entry.get("expires_at"))
    if measured is None or expires is None or not 0 <= measured <= expires:
        raise UnparsedError("it does not say when it was measured")
    of = entry.get("of")
    return _Part(measured, expires, of if isinstance(of, dict) else {}, _entries(entry, "measurements"),
                 _entries(entry, "unmeasured"))  # fmt: skip


def _entries(entry: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    listed = entry.get(name)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _now(answers: Sequence[Answer]) -> Mapping[str, Any]:
    """What the host is now; empty where that is not known."""
    answer = next((one for one in answers if one.name == NOW and one.answered), None)
    found = parse_json(answer.body or "") if answer else {}
    return found if isinstance(found, dict) else {}


def _fact(
    name: str, wanted: From, parts: Mapping[str, _Part], now: Mapping[str, Any], record: Answer, at: float
) -> Fact:
    part = parts.get(wanted.part)
    if part is None:
        return _unknown(name, Missing(Reason.NOT_COLLECTED, f"the kernel {wanted.part} has not been run here"), record)
    if problem := _outdated(part, now, at, on_device=wanted.on_device):
        return _unknown(name, Missing(Reason.STALE, problem), record)
    fitting = [entry for entry in part.measurements if wanted.fits(entry)]
    if not fitting:
        return _unknown(name, _why_not(part, wanted), record)
    return _known(name, wanted.chosen(fitting), part, record)


def _outdated(part: _Part, now: Mapping[str, Any], at: float, *, on_device: bool) -> str:
    """Why a part says nothing of the host as it is; empty when it does."""
    if at > part.expires_at:
        return f"measured {(at - part.measured_at) / _DAY:.0f} days before"
    for what in ("cpu", "cpus", *(("device",) if on_device else ())):
        then, today = part.of.get(what), now.get(what)
        if then and today and then != today:
            return f"measured with another {_WORDS[what]} ({then}; now {today})"
    return ""


_WORDS: Final = {"cpu": "CPU", "cpus": "number of CPUs", "device": "disk"}


def _why_not(part: _Part, wanted: From) -> Missing:
    named = [one for one in part.unmeasured if wanted.fits(one)]
    named += [one for one in part.unmeasured if str(one.get("name", "")) in (wanted.name, wanted.part)]
    said = next((str(one.get("reason", "")) for one in named), "")
    return Missing(Reason.SOURCE_ABSENT, f"not measurable there: {said}" if said else "not among what was measured")


def _known(name: str, entry: Mapping[str, Any], part: _Part, record: Answer) -> Fact:
    value, median = figure(entry.get("attained")), figure(entry.get("median"))
    if value is None or median is None or value < 0:
        return _unknown(name, Missing(Reason.UNPARSED, f"{entry.get('name')} has no figure"), record)
    if entry.get("stability") == "unstable":
        why = f"the repeats scatter by {_spread(entry):.0%}: others used the host meanwhile"
        return _unknown(name, Missing(Reason.TOO_COARSE, why), record)
    return Fact(
        name,
        point(value),
        scope=INSTANCE,
        source=f"kernel {entry.get('name')}{_labelled(entry)}",
        host=record.host,
        time=part.measured_at,
        quality=_quality(entry),
    )


def _quality(entry: Mapping[str, Any]) -> str:
    repeats = _count(entry, "repeats")
    scatter = f"three of four repeats reach it; half of {repeats} lie within {_spread(entry):.1%}"
    said = [scatter if repeats > 1 else "a single figure"]
    if entry.get("stability") == "noisy":
        said.append("noisy")
    return "; ".join(said)


def _spread(entry: Mapping[str, Any]) -> float:
    low, high, median = (figure(entry.get(name)) or 0.0 for name in ("lower", "upper", "median"))
    return (high - low) / median if median > 0 else math.inf


def _count(entry: Mapping[str, Any], name: str) -> int:
    return int(figure(entry.get(name)) or 1)


def _labelled(entry: Mapping[str, Any]) -> str:
    labels = entry.get("labels")
    told = [f"{name} {value}" for name, value in sorted(labels.items())] if isinstance(labels, dict) else []
    return f" ({', '.join(told)})" if told else ""


def _unknown(name: str, why: Missing, record: Answer) -> Fact:
    return unknown(name, why, record, source="microbenchmarks", get_by=GET_BY)
