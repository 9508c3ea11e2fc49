"""
Reading a text exposition: this tool's parser beside prometheus_client's, over the same text.
"""

import random
from collections.abc import Iterator
from functools import partial
from typing import Final

from measure import interleaved
from outcome import Outcome, compared
from prometheus_client.parser import text_string_to_metric_families

from engram_diagnose.collectors.prometheus.exposition import parse_exposition
from engram_diagnose.collectors.prometheus.labels import Labels, labels_of

LINES: Final = 30_000
BAR: Final = 1 / 3
BOUNDS: Final = ("0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "+Inf")
SPACES: Final = 20


def run(*, quick: bool = False) -> list[Outcome]:
    """Read it both ways; that they find the same comes first."""
    text = made(LINES // 20 if quick else LINES)
    if ours(text) != theirs(text):
        raise AssertionError("the two parsers do not find the same samples")
    sides = {"ours": partial(parse_exposition, text), "theirs": partial(by_prometheus_client, text)}
    times = interleaved(sides, repetitions=5 if quick else 15)
    what = f"{text.count(chr(10)):,} lines of exposition"
    return [compared("metrics", what, times["ours"], "prometheus_client's parser", times["theirs"], bar=BAR)]


def made(lines: int) -> str:
    """A scrape of so many lines: histograms by operation and space, with counters and gauges between them."""
    return "".join(f"{line}\n" for _, line in zip(range(lines), _endless(random.Random(7)), strict=False))


def _endless(rng: random.Random) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield from _histogram(f"lab_{number}_duration_seconds", rng)
        for kind, name in (("counter", f"lab_{number}_operations_total"), ("gauge", f"lab_{number}_bytes")):
            yield f"# HELP {name} Something that is counted or measured."
            yield f"# TYPE {name} {kind}"
            for space in range(SPACES):
                yield f'{name}{{memory_space="space-{space}"}} {rng.uniform(0, 1e9)!r}'


def _histogram(name: str, rng: random.Random) -> Iterator[str]:
    yield f"# HELP {name} How long it took."
    yield f"# TYPE {name} histogram"
    for operation in ("store", "recall", "activation"):
        for space in range(SPACES):
            where = f'operation="{operation}",memory_space="space-{space}"'
            count = 0
            for bound in BOUNDS:
                count += rng.randrange(1000)
                yield f'{name}_bucket{{{where},le="{bound}"}} {count}'
            yield f"{name}_sum{{{where}}} {rng.uniform(0, count)!r}"
            yield f"{name}_count{{{where}}} {count}"


Found = list[tuple[Labels, float]]


def ours(text: str) -> Found:
    """Labels and figures by this tool."""
    return sorted((sample.labels, sample.value) for sample in parse_exposition(text).samples)


def theirs(text: str) -> Found:
    """The same by prometheus_client."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sorted((labels_of([("__name__", one.name), *one.labels.items()]), one.value) for one in samples)


def by_prometheus_client(text: str) -> int:
    """Read everything, for nothing is read before it is asked for; the number of families."""
    return len(list(text_string_to_metric_families(text)))
