"""
Benchmark results: one document, its runs checked, each valid run one sample of every figure.

The format is `rules/schema/benchmark-v1.json`; what a schema cannot say is checked here.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from engram_diagnose.engine.comparison.samples import Samples, median
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.verification.side import Key, NothingToCompareError, Side, Trait

SCHEMA: Final = "engram-diagnose/benchmark/v1"
MAX_BYTES: Final = 256 << 20
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
_NEAR: Final = 1e-6
"""By how much figures may differ that are the same but for rounding."""
_MOST_PROBLEMS: Final = 20
_LONGEST_INTEGER: Final = 15

Json = Mapping[str, Any]


class BenchmarkError(NothingToCompareError):
    """A benchmark result that cannot be used; says where in the document and what is wrong."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One document, checked, and the file it was in."""

    name: str
    document: Json

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of its runs, in the order of the runs."""
        return tuple(dict.fromkeys(run["side"] for run in self.document["runs"]))


def is_benchmark(data: bytes) -> bool:
    """Whether the bytes look like a benchmark result rather than a bundle: a JSON object that names the schema."""
    return data.lstrip()[:1] == b"{" and b'"engram-diagnose/benchmark/' in data


def read_benchmark(name: str, data: bytes) -> Benchmark:
    """
    The benchmark in a file's bytes; `name` is what messages call it.

    Raises `BenchmarkError` with every problem, each with its place in the document.
    """
    try:
        document = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite, parse_int=_usual)
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{name}: not JSON ({error}); give the file as the load generator wrote it") from None
    problems = _structure(document) or list(_contents(document))
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        shown = [*problems[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
        listed = "\n  ".join(shown)
        raise BenchmarkError(f"{name} is no benchmark result that can be compared:\n  {listed}\n"
                             "  the format is described in docs/reference/benchmark-format.md")  # fmt: skip
    return Benchmark(name, document)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    figure = float(text)
    return figure if math.isfinite(figure) else _refuse(text)


def _usual(text: str) -> float:
    return int(text) if len(text) <= _LONGEST_INTEGER else _refuse(text[:40])


def _structure(document: object) -> list[str]:
    """What the schema finds wrong."""
    from jsonschema import Draft202012Validator

    path = Path(__file__).parent.parent / "rules" / "schema" / "benchmark-v1.json"
    validator = Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
    found = sorted(validator.iter_errors(document), key=lambda error: [str(part) for part in error.absolute_path])
    return [f"{_place(error.absolute_path)}: {error.message[:200]}" for error in found[: _MOST_PROBLEMS + 1]]


def _place(path: Iterable[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the document"


def _contents(document: Json) -> Iterable[str]:
    """What is wrong although the structure is right."""
    for number, run in enumerate(document["runs"]):
        place = f"runs[{number}]"
        try:
            _started(run)
        except (ValueError, OverflowError):
            yield f"{place}.started: {run['started']!r} is no time"
        if abs(sum(run["workload"]["mix"].values()) - 1) > _NEAR:
            yield f"{place}.workload.mix: the shares add up to {sum(run['workload']['mix'].values()):g}, not 1"
        for name, operation in run["operations"].items():
            yield from _operation(f"{place}.operations.{name}", operation)
    orders = [run["order"] for run in document["runs"]]
    if len(set(orders)) < len(orders):
        yield "runs: two of them have the same order"


def _operation(place: str, operation: Json) -> Iterable[str]:
    failed = sum(operation["errors"].values())
    if operation["ok"] + failed > operation["sent"]:
        yield f"{place}: {operation['ok']} good and {failed} failed are more than {operation['sent']} sent"
    for kind in ("response", "service", "lag"):
        yield from _histogram(f"{place}.{kind}", operation[kind])
    for kind in ("response", "service"):
        if sum(operation[kind]["counts"]) != operation["ok"]:
            yield f"{place}.{kind}: {sum(operation[kind]['counts'])} observations, and {operation['ok']} good answers"


def _histogram(place: str, histogram: Json) -> Iterable[str]:
    bounds, counts = histogram["bounds"], histogram["counts"]
    if len(counts) != len(bounds) + 1:
        yield f"{place}: {len(bounds)} bounds make {len(bounds) + 1} buckets, and there are {len(counts)} counts"
        return
    if any(after <= before for before, after in pairwise(bounds)):
        yield f"{place}: the bounds do not ascend"
        return
    for name, share in _QUANTILES.items():
        value = histogram["quantiles"][name]
        low, high = _bucket(bounds, counts, share)
        if (value is None) != (not sum(counts)):
            yield f"{place}.quantiles.{name}: null exactly when there are no observations"
        elif value is not None and not low * (1 - _NEAR) <= value <= high * (1 + _NEAR):
            yield f"{place}.quantiles.{name}: {value:g} s is not in its bucket, {low:g} to {high:g} s"


def _bucket(bounds: Sequence[float], counts: Sequence[int], share: float) -> tuple[float, float]:
    """Where the histogram puts a quantile; the ends of two buckets where it falls between them."""
    rank, seen = share * sum(counts), 0
    edges = [0.0, *bounds, float("inf")]
    low = None
    for index, count in enumerate(counts):
        seen += count
        if count and low is None and seen >= rank - _NEAR:
            low = edges[index]
        if count and seen >= rank + 1 - _NEAR:
            return edges[index] if low is None else low, edges[index + 1]
    last = max((index for index, count in enumerate(counts) if count), default=0)
    return edges[last] if low is None else low, edges[last + 1]


# Sides


def side_of_benchmarks(found: Sequence[Benchmark], label: str) -> Side:
    """
    The valid runs of one or more documents as one side; `label` is taken where a document has runs of several.

    Raises `BenchmarkError` when a document has several labels and none of them is this one, or no run is valid.
    """
    runs = sorted((run for one in found for run in _chosen(one, label)), key=_started)
    valid = [run for run in runs if run["validity"]["valid"]]
    names = ", ".join(one.name for one in found)
    if not valid:
        reasons = sorted({reason for run in runs for reason in run["validity"]["reasons"]})
        raise BenchmarkError(f"{names}: none of {len(runs)} runs is valid ({', '.join(reasons)}); "
                             "run it again with more client machines or a lower rate")  # fmt: skip
    keys = sorted({key for run in valid for key in _figures(run)})
    last = valid[-1]
    return Side(
        kind="benchmark",
        sources=tuple(one.name for one in found),
        instance=last["server"]["address"],
        start=_started(valid[0]),
        end=max(_started(run) + run["duration_seconds"] for run in valid),
        figures={key: Samples(tuple(_figures(run)[key] for run in valid if key in _figures(run)), "runs")
                 for key in keys},
        load=_load(valid),
        traits=tuple(trait for trait in _traits(last) if trait.value),
        left_out=len(runs) - len(valid),
        notes=tuple(_mixed(valid)),
    )  # fmt: skip


def _chosen(benchmark: Benchmark, label: str) -> list[Json]:
    runs, labels = benchmark.document["runs"], benchmark.labels
    if len(labels) == 1:
        return list(runs)
    if label not in labels:
        known = ", ".join(repr(name) for name in labels)
        raise BenchmarkError(f"{benchmark.name} has runs labelled {known}, and none labelled {label!r}; "
                             f"write the file as {benchmark.name}#LABEL")  # fmt: skip
    return [run for run in runs if run["side"] == label]


def _started(run: Json) -> float:
    """Seconds since the epoch; raises `ValueError` for what is no time, or one before it."""
    seconds = datetime.fromisoformat(run["started"]).timestamp()
    if seconds < 0:
        raise ValueError(run["started"])
    return seconds


def _figures(run: Json) -> dict[Key, float]:
    """The figures of one run; quantiles are the recorded ones of the response time."""
    found: dict[Key, float] = {Key("ops.rate"): sum(one["rate"] for one in run["operations"].values())}
    for name, operation in run["operations"].items():
        scope = scope_of({"operation": name})
        found[Key("op.rate", scope)] = float(operation["rate"])
        if operation["sent"]:
            found[Key("op.error_share", scope)] = sum(operation["errors"].values()) / operation["sent"]
        quantiles = operation["response"]["quantiles"]
        found |= {Key(f"op.latency.{key}", scope): float(value) for key, value in quantiles.items()
                  if value is not None}  # fmt: skip
        if operation["ok"]:
            found[Key("op.latency.mean", scope)] = operation["response"]["sum"] / operation["ok"]
    return found


def _load(runs: Sequence[Json]) -> dict[str, float]:
    """What was asked: the offered rate in an open loop, the clients in a closed one; mix and size."""
    loads = [run["workload"] for run in runs]
    is_open = all(load["loop"] == "open" for load in loads)
    asked = [float(load["offered_rate"] if is_open else load["clients"]) for load in loads]
    return {
        "ops.rate" if is_open else "client.connections": median(asked),
        "workload.read_share": median([1 - load["mix"].get("store", 0.0) for load in loads]),
        "index.nodes": median([float(load["dataset"]["memories"]) for load in loads]),
    }


def _traits(run: Json) -> list[Trait]:
    load, server = run["workload"], run["server"]
    return [
        Trait("instance", server["address"]),
        Trait("server version", server["version"]),
        Trait("dialect", server["dialect"]),
        Trait("configuration", server["configuration"]),
        Trait("client host", run["client"]["host"]),
        Trait("client workers", str(run["client"]["workers"])),
        Trait("workload", load["name"]),
        Trait("loop", load["loop"]),
        Trait("clients", str(load["clients"])),
        Trait("vector dimension", str(load["dimension"])),
        Trait("memory spaces", ", ".join(load["spaces"])),
    ]


def _mixed(runs: Sequence[Json]) -> Iterable[str]:
    """Runs of one side that are not runs of one thing."""
    several = [name for name, values in _by_trait(runs).items() if len(values) > 1]
    if several:
        yield f"its runs differ among themselves: {', '.join(several)}"


def _by_trait(runs: Sequence[Json]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for run in runs:
        for trait in _traits(run):
            found.setdefault(trait.name, set()).add(trait.value)
    return found


def split_label(name: str) -> tuple[str, str]:
    """`FILE#LABEL` in its two parts; a file that is called so goes first."""
    path, hash_sign, label = name.rpartition("#")
    return (path, label) if hash_sign and path and not os.path.exists(name) else (name, "")
