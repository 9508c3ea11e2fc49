"""
What the rule base makes of a load: what its client felt, joined with what the collectors saw of the server meanwhile.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from engram_diagnose import __version__
from engram_diagnose.bench.document import recommendations_of
from engram_diagnose.bench.quality import Quality
from engram_diagnose.bench.verdict import total_rate
from engram_diagnose.bench.workloads import BURST
from engram_diagnose.bounds import bounds_of
from engram_diagnose.collectors.bundle import encode_bundle, read_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.bundle_size import fitted
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import host_identity
from engram_diagnose.collectors.gather import Request, gather
from engram_diagnose.collectors.parse.client_load import COLLECTOR, NAME, SCHEMA
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import rule_digests
from engram_diagnose.session import asked_facts, diagnose_bundle

Json = Mapping[str, Any]
_BEGINS_WITHIN: Final = 60.0
"""Seconds until whoever sends has started and is connected."""
_JOIN_EXTRA: Final = 10.0
"""Seconds to wait for collecting beyond what it was given: single answers have their own deadlines."""


# What the client felt


def client_record(run: Json, limits: Mapping[str, float], *, quality: Quality | None = None) -> dict[str, Any]:
    """
    A run of the benchmark format as the record that the collector `bench` keeps of it.

    Where the server did not keep up, latencies are those from the sending: the time in the client's queue grows with
    the length of the run and says nothing of an operation.
    """
    offered = run["workload"]["offered_rate"]
    share = total_rate(run) / offered if offered else 1.0
    told = "service" if share < limits["served_least"] else "response"
    spaces = run["workload"]["spaces"]
    space = spaces[0] if len(spaces) == 1 else ""
    record = {
        "schema": SCHEMA,
        "workload": run["workload"]["name"],
        "seconds": run["duration_seconds"],
        "offered_rate": offered,
        "served_share": round(min(1.0, share), 6),
        "latency_from": "sending" if told == "service" else "intended time",
        "connections": run["workload"]["clients"],
        "burst": run["workload"]["name"] == BURST,
        "operations": [_operation(name, one, told, space) for name, one in sorted(run["operations"].items())],
    }
    asked = quality.document | {"space": quality.space} if quality is not None else None
    return record | ({"recall_quality": asked} if asked else {})


def _operation(name: str, entry: Json, told: str, space: str) -> dict[str, Any]:
    histogram = entry[told]
    quantiles = {key: value for key, value in histogram["quantiles"].items() if value is not None}
    mean = histogram["sum"] / entry["ok"] if entry["ok"] else None
    return {"operation": name, "space": space, "sent": entry["sent"], "ok": entry["ok"],
            "failed": sum(entry["errors"].values()), "rate": entry["rate"], "quantiles": quantiles,
            "mean": mean}  # fmt: skip


# What was seen meanwhile


@dataclass(frozen=True, slots=True)
class Wish:
    """What to look at beside the load: the server as the load names it, and what else the operator gave."""

    request: Request
    loaded: Loaded


class Observing:
    """
    Collecting in a thread while the load runs; one that is no longer waited for ends with the process.

    `seconds` is how long the server's counters are watched, and `after` how long the load has been on by then, which is
    `begun` when its first request is due.
    """

    def __init__(self, wish: Wish, seconds: float, *, after: float = 0.0, begun: threading.Event | None = None) -> None:
        self._wish = replace(wish, request=replace(wish.request, seconds=seconds))
        self._seconds = seconds
        self._after = after
        self._begun = begun
        self._bundle: Bundle | None = None
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="looking at the server", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if self._begun is not None and not self._begun.wait(_BEGINS_WITHIN):
            self._problem = "the load did not begin"
            return
        time.sleep(self._after)
        try:
            self._bundle = _collected(self._wish)
        except Exception as error:  # whatever it was, the load's own figures stand
            self._problem = f"{type(error).__name__}: {error}"

    def bundle(self) -> Bundle | str:
        """What was collected; or why nothing was."""
        self._thread.join(self._after + self._seconds + _JOIN_EXTRA)
        return self._bundle or self._problem or "looking at the server took too long"


def _collected(wish: Wish) -> Bundle:
    loaded = wish.loaded
    bounds = bounds_of(loaded)
    bundle = gather(wish.request, loaded.catalogue, asked_facts(loaded), now=time.time(), bounds=bounds,
                    tool=f"engram-diagnose {__version__}", rules=rule_digests(loaded))  # fmt: skip
    return fitted(bundle, most=bounds.limits["bundle_bytes"])


def with_load(seen: Bundle | str, record: Json, wish: Wish, *, at: float, address: str, dialect: str) -> Bundle:
    """
    The bundle of a load: what was seen, and the client's own record as one more answer; that alone where nothing was.

    As it reads again, so that a diagnosis of the file is this one.
    """
    bundle = seen if isinstance(seen, Bundle) else _empty(wish, at=at, address=address, dialect=dialect)
    host = bundle.host if bundle.options.get("local") is True else bundle.instance
    body = json.dumps(record, sort_keys=True, allow_nan=False, separators=(",", ":"))
    answer = Answer(COLLECTOR, NAME, bundle.time, host, body)
    return read_bundle(encode_bundle(replace(bundle, answers=(*bundle.answers, answer))))


def _empty(wish: Wish, *, at: float, address: str, dialect: str) -> Bundle:
    identity = host_identity()
    return Bundle(time=at, tool=f"engram-diagnose {__version__}", dialect=dialect, instance=address, host=identity.id,
                  host_name=identity.name, targets_set=wish.request.target_set, options={},
                  rules=rule_digests(wish.loaded), answers=())  # fmt: skip


# What it comes to


def diagnosis_of(bundle: Bundle, loaded: Loaded, *, target_set: str) -> dict[str, Any]:
    """The diagnosis of a load's bundle, as `run --bundle` makes it."""
    return document(diagnose_bundle(bundle, expert(loaded), target_set=target_set))


def merged_recommendations(diagnoses: Sequence[Json]) -> dict[str, Any] | None:
    """
    What several loads' diagnoses advise together: each cause once, from where it is surest, the surest first.

    The sentence and the coverage are those of the diagnosis with most causes, then most symptoms. None without any.
    """
    if not diagnoses:
        return None
    told = [recommendations_of(one) for one in diagnoses]
    most = max(
        range(len(told)), key=lambda place: (len(told[place]["causes"]), len(diagnoses[place]["symptoms"]), -place)
    )
    first = told[most]
    best: dict[str, Json] = {}
    for cause in (cause for one in told for cause in one["causes"]):
        known = best.get(cause["rule"])
        if known is None or _sureness(cause) > _sureness(known):
            best[cause["rule"]] = cause
    causes = sorted(best.values(), key=lambda one: (-_sureness(one), one["rule"]))
    return {**first, "causes": causes}


def _sureness(cause: Json) -> float:
    return float(cause["confidence"]["probability"])


Say = Callable[[str], None]


def told_problems(seen: Iterable[Bundle | str]) -> list[str]:
    """Notes on what kept the server from being looked at, each once."""
    return list(dict.fromkeys(f"nothing was seen of the server beside the load: {one}"
                              for one in seen if isinstance(one, str)))  # fmt: skip
