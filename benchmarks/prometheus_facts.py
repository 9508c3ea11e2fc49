"""
The facts of one instance from a real Prometheus: one raw window evaluated here, beside one query a fact.

Two sizes, since the more series there are, the more a raw window holds, while the answer to a query stays small: one
memory space, and an instance in full use, five operations in five memory spaces, both with histograms of twelve
buckets. Each series carries the labels that the dialect's expressions read, so that the latency of an operation has
300 buckets and the flush of the log twelve. Buckets and counts are whole numbers, as a server's are, and ascend with
the bound.

There are two other sides. One asks for each fact, a name in a scope, by a query of its own, as the fact's page says
them; what is promised is promised against it. The other knows that one expression gives several facts, asks each
expression once for all its label sets, and goes without the facts over all spaces; it is shown beside the first.
"""

import math
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import httpx
from measure import interleaved
from outcome import Outcome, compared
from serving import ServingError, answers, free_port, running, until

from engram_diagnose.collectors.prometheus.client import Prometheus, PrometheusOptions, Refusal
from engram_diagnose.collectors.prometheus.expression import (
    Aggregation,
    Binary,
    Call,
    Expression,
    Negation,
    Selector,
)
from engram_diagnose.collectors.prometheus.facts import facts_of_series, needed_selectors
from engram_diagnose.collectors.prometheus.functions import semantics_of
from engram_diagnose.collectors.prometheus.plan import Plan, plans_of
from engram_diagnose.collectors.prometheus.selectors import narrowed
from engram_diagnose.collectors.prometheus.series import store_of_matrix
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.patch.figures import figure_query
from engram_diagnose.rulebase import load_rules

BAR: Final = 1 / 10
INSTANCE: Final = "db1:7432"
WINDOW: Final = 300.0
SPAN: Final = 1200
INTERVAL: Final = 15


@dataclass(frozen=True, slots=True)
class Size:
    """How large an instance is: the values of the labels that its series carry."""

    what: str
    labels: Mapping[str, Sequence[str]]


BOUNDS: Final = ("0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "+Inf")
OPERATIONS: Final = ("store", "recall", "activation", "consolidation", "completion")
SPACES: Final = ("default", "agent-a", "agent-b", "agent-c", "archive")
TIERS: Final = ("hot", "warm", "cold")
SIZES: Final = (
    Size("2 operations, 1 space",
         {"operation": OPERATIONS[:2], "memory_space": SPACES[:1], "tier": TIERS, "le": BOUNDS}),
    Size("5 operations, 5 spaces",
         {"operation": OPERATIONS, "memory_space": SPACES, "tier": TIERS, "le": BOUNDS}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lab:
    """A Prometheus that holds twenty minutes of one instance, and what is asked of it."""

    url: str
    at: float
    catalogue: Catalogue
    plans: Sequence[Plan]
    queries: Sequence[str]
    """The expressions of the plans, of this instance alone."""

    @property
    def dialect(self) -> Dialect:
        return self.catalogue.dialects["guide"]

    @property
    def wanted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(plan.name for plan in self.plans))


def run(*, quick: bool = False) -> list[Outcome]:
    """Ask both ways; that the facts hold what the server answers comes first."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        raise ServingError("no prometheus on the PATH (Debian: apt-get install prometheus)")
    return [outcome for size in SIZES for outcome in both_ways(size, quick=quick)]


def both_ways(size: Size, *, quick: bool) -> Iterator[Outcome]:
    """The lines of one size."""
    with tempfile.TemporaryDirectory() as folder, prometheus(Path(folder), size) as lab:
        facts = by_one_window(lab)
        agree(lab, facts, answers_to(lab, lab.queries))
        each = queries_of_facts(lab, facts)
        sides = {
            "ours": partial(by_one_window, lab),
            "facts": partial(answers_to, lab, each),
            "expressions": partial(answers_to, lab, lab.queries),
        }
        times = interleaved(sides, repetitions=3 if quick else 15)
        what = f"{len(facts)} facts of one instance: {size.what}"
        one_each, together = (
            f"{len(each)} queries, one a fact, httpx",
            f"{len(lab.queries)} queries, several facts each",
        )
        yield compared("metrics", what, times["ours"], one_each, times["facts"], bar=BAR)
        yield compared("metrics", what, times["ours"], together, times["expressions"])


def queries_of_facts(lab: Lab, facts: Sequence[Fact]) -> list[str]:
    """For each fact that is known, what an operator would ask to see that figure alone."""
    asked = (
        figure_query(fact.name, fact.scope, instance=INSTANCE, catalogue=lab.catalogue, dialect=lab.dialect)
        for fact in facts
        if fact.known
    )
    return [query for query in asked if query is not None]


def by_one_window(lab: Lab) -> list[Fact]:
    """The tool's way, from nothing to facts."""
    needed = needed_selectors(lab.wanted, dialect=lab.dialect, catalogue=lab.catalogue, default_window=WINDOW)
    with Prometheus(PrometheusOptions(lab.url)) as server:
        body = server.window(needed.metrics, instance=INSTANCE, seconds=needed.seconds, at=lab.at)
    if isinstance(body, Refusal):
        raise ServingError(str(body))
    return facts_of_series(store_of_matrix(body), dialect=lab.dialect, catalogue=lab.catalogue, wanted=lab.wanted,
                           at=lab.at, host=INSTANCE, default_window=WINDOW, semantics=semantics_of("2"))  # fmt: skip


def answers_to(lab: Lab, queries: Sequence[str]) -> list[list[float]]:
    """Each query by itself, over one connection that stays open: the figures of each."""
    found = []
    with httpx.Client(verify=False) as client:  # plain HTTP: reading certificates would only cost time
        for query in queries:
            form = {"query": query, "time": f"{lab.at:.3f}"}
            data = client.post(f"{lab.url}/api/v1/query", data=form).raise_for_status().json()["data"]
            pairs = [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
            found.append([float(text) for _, text in pairs])
    return found


def agree(lab: Lab, facts: Sequence[Fact], answered: Sequence[Sequence[float]]) -> None:
    """Raises `AssertionError` where a figure of the server's lies in none of the facts of its expression."""
    if sum(map(bool, answered)) < len(lab.plans) / 2:
        raise AssertionError("the server answers fewer than half of the queries")
    for plan, figures in zip(lab.plans, answered, strict=True):
        values = [fact.value for fact in facts if fact.source == plan.text and isinstance(fact.value, tuple)]
        for figure in (figure * plan.source.factor for figure in figures if math.isfinite(figure)):
            slack = 1e-9 * abs(figure)
            if not any(low - slack <= figure <= high + slack for low, high in values):
                raise AssertionError(f"{plan.text} gives {figure}, and no fact says so: {values}")


# The server


@contextmanager
def prometheus(folder: Path, size: Size) -> Iterator[Lab]:
    """A real one, with blocks that Prometheus' own tool made of our samples."""
    catalogue = load_rules().catalogue
    end = int(time.time()) - 30
    plans = planned(catalogue)
    (folder / "samples.txt").write_text(samples(plans, end, size))
    make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "samples.txt"), str(folder / "data")]
    subprocess.run(make, check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("{}\n")
    port = free_port()
    command = ("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn")  # fmt: skip
    with running(command, port, folder / "log") as served:
        until(lambda: answers(f"{served.url}/-/ready"), "Prometheus")
        queries = [narrowed(plan.text, {"instance": INSTANCE}) for plan in plans]
        yield Lab(served.url, float(end), catalogue, plans, queries)


def planned(catalogue: Catalogue) -> tuple[Plan, ...]:
    """What the dialect of the guide publishes by an expression, as it is asked for by default."""
    dialect = catalogue.dialects["guide"]
    counters = {name for name, spec in catalogue.facts.items() if spec.counter}
    names = sorted({source.fact for source in dialect.sources.values()} - counters)
    plans = (plan for name in names
             for plan in plans_of(name, dialect=dialect, catalogue=catalogue, default_window=WINDOW))  # fmt: skip
    return tuple(plan for plan in plans if isinstance(plan, Plan) and not plan.source.text_label)


def samples(plans: Sequence[Plan], end: int, size: Size) -> str:
    """OpenMetrics with a time on each line, every series of what the plans read."""
    rng = random.Random(11)
    carried = labels_read(plans)
    lines = [line for name in sorted(carried) for line in _series(name, carried[name], size, rng, end)]
    return "\n".join([*lines, "# EOF", ""])


def labels_read(plans: Iterable[Plan]) -> dict[str, set[str]]:
    """The labels by which the expressions select and aggregate each metric."""
    found: dict[str, set[str]] = {}
    for plan in plans:
        for name, labels in _carried(plan.expression, frozenset()):
            found.setdefault(name, set()).update(labels)
    return found


def _carried(expression: Expression, around: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    match expression:
        case Selector():
            yield expression.name, around.union(matcher.label for matcher in expression.matchers)
        case Aggregation():
            yield from _carried(expression.operand, around.union(expression.labels))
        case Call():
            for argument in expression.arguments:
                yield from _carried(argument, around)
        case Negation():
            yield from _carried(expression.operand, around)
        case Binary():
            yield from _carried(expression.left, around)
            yield from _carried(expression.right, around)


def _series(name: str, carried: Collection[str], size: Size, rng: random.Random, end: int) -> Iterator[str]:
    names = [label for label in size.labels if label in carried]
    yield f"# TYPE {name} unknown"
    for values in product(*(size.labels[label] for label in names)):
        labels = {"instance": INSTANCE, "job": "engram", **dict(zip(names, values, strict=True))}
        body = ",".join(f'{label}="{text}"' for label, text in labels.items())
        rank = BOUNDS.index(labels["le"]) + 1 if "le" in labels else len(BOUNDS)
        value = 0.0
        for at in range(end - SPAN, end + 1, INTERVAL):
            value = _next(name, value, rank, rng)
            yield f"{name}{{{body}}} {value!r} {at}"


def _next(name: str, value: float, rank: int, rng: random.Random) -> float:
    """What the next scrape finds; whole numbers for what is counted."""
    if name == "up":
        return 1.0
    if name.endswith(("_bucket", "_count", "_total")):
        return value + rank * 100 + rng.randrange(100)
    return value + rng.uniform(1, 1.05) if name.endswith("_sum") else rng.uniform(1, 100)
