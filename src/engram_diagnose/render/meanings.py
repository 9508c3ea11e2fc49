"""
What the figures of each part mean for the server: one paragraph of sentences, each made of figures that are there.

Nothing is judged here: no figure is good or bad by a number in this file. What limits a server, rules say; these
sentences put the host's own figures side by side, and name what to do with them.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engram_diagnose.render.measured import figure

Json = Mapping[str, Any]

DIMENSIONS: Final = 768
"""Of the vectors that the server is made for; similarities are measured with as many."""
_VECTOR_BYTES: Final = DIMENSIONS * 4
_FLOPS: Final = 2 * DIMENSIONS
_MILLION: Final = 1_000_000
_MEMORY: Final = "memory"


def meaning(part: Json) -> str:
    """The paragraph of a part of a record; empty where its figures say nothing further."""
    said = _MEANINGS.get(part["name"])
    return " ".join(filter(None, said(Found(part)))) if said else ""


@dataclass(frozen=True, slots=True)
class Found:
    """The measurements of a part."""

    part: Json

    def all(self, name: str, **labels: str) -> list[Json]:
        """Those of a name that have these labels."""
        return [one for one in self.part["measurements"] if one["name"] == name and one["median"] > 0
                and all(one["labels"].get(label) == value for label, value in labels.items())]  # fmt: skip

    def median(self, name: str, **labels: str) -> float:
        """The figure of the first of them; NaN where there is none, so that no sentence is made of it."""
        found = self.all(name, **labels)
        return float(found[0]["median"]) if found else math.nan


def told(sentence: str, *figures: float) -> str:
    """A sentence with its figures, each `{}` one of them; empty where one is not known."""
    if not all(map(math.isfinite, figures)):
        return ""
    return sentence.format(*(_short(one) for one in figures))


def _literally(text: str) -> str:
    """A label's text within a sentence that `told` fills in."""
    return text.replace("{", "{{").replace("}", "}}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.3g}"


# The parts


def _noise(found: Found) -> Iterable[str]:
    busy, gone = found.median("noise.others"), found.median("noise.steal")
    yield told("Others used {} % of the CPUs while this began.", busy * 100)
    yield told("The hypervisor took {} %.", gone * 100)
    yield "What others take is missing in every figure below: measure again on a quiet host where they are noisy."


def _stream(found: Found) -> Iterable[str]:
    one = found.median("stream.read", level=_MEMORY, threads="one")
    every = found.median("stream.read", level=_MEMORY, threads="all")
    widest = max(found.all("stream.read", level=_MEMORY), key=lambda each: each["threads"], default=None)
    if widest is not None:
        yield told(
            "Going through a million vectors of 768 floats in memory takes {} ms, however fast the code is. Hold the "
            "server's memory traffic (membw.total) against the {} GB/s that three repeats of four reach, not against "
            "a data sheet.",
            _MILLION * _VECTOR_BYTES / widest["median"] * 1e3, widest["attained"] / 1e9,
        )  # fmt: skip
    yield told("One thread gets {} GB/s; {} such threads use up what there is.", one / 1e9, every / one)
    cached = found.median("stream.read", level="L2", threads="one")
    yield told("What stays in L2 is read {} times as fast by one thread.", cached / one)


def _latency(found: Found) -> Iterable[str]:
    levels = {one["labels"].get("level"): one["median"] for one in found.all("latency.plateau")}
    memory = levels.get(_MEMORY, math.nan)
    yield told(
        "A step to a node that is in no cache waits {} ns, {} times a hit in L1: a recall that visits 1,000 such nodes "
        "one after another waits {} µs, which only fewer visits, prefetching or a smaller working set shorten.",
        memory * 1e9, memory / levels.get("L1", math.nan), memory * 1e9,
    )  # fmt: skip
    sizes = [(one["labels"].get("level", ""), one["median"]) for one in found.all("latency.effective_cache")]
    if sizes:
        kept = "; ".join(f"{level} {figure(size, 'B')}" for level, size in sizes)
        yield f"Keep what is used together below what a cache really holds here: {kept}."
    yield told("On 4 KiB pages the largest loads take {} times as long: huge pages save that.", _small_pages(found))


def _small_pages(found: Found) -> float:
    """The largest load on small pages over the same on huge ones; NaN where one is missing, or it costs nothing."""
    huge, small = ({one["labels"].get("size"): one["median"] for one in found.all("latency.load", pages=pages)}
                   for pages in ("huge", "small"))  # fmt: skip
    both = [small[size] / huge[size] for size in huge if size in small]
    return both[-1] if both and both[-1] > 1 else math.nan


def _peak(found: Found) -> Iterable[str]:
    peak = max((one["median"] for one in found.all("peak.fma")), default=math.nan)
    yield told(
        "One core computes {} Gflop/s at most, so that a similarity of 768 dimensions takes {} ns or longer: code "
        "that takes many times that waits for memory, or is not vectorised. The roofline tells which.",
        peak / 1e9, _FLOPS / peak * 1e9,
    )  # fmt: skip


def _similarity(found: Found) -> Iterable[str]:
    rates = found.all("similarity.rate")
    best = max((one for one in rates if one["threads"] == 1), key=lambda one: one["median"], default=None)
    if best is not None:
        yield told(f"The quickest on one core is {_where(best)}: {{}} ns a similarity.", 1e9 / best["median"])
    scalar, rows, tiles = (found.median("similarity.rate", layout=layout, batch="1", level="L2")
                           for layout in ("scalar", "rows", "tiles"))  # fmt: skip
    yield told("One query over vectors in L2 takes scalar code {} times as long as vector code over rows, and tiles "
               "are {} times as fast as rows.", rows / scalar, tiles / rows)  # fmt: skip
    far, slow = (
        found.median("similarity.rate", layout=layout, batch="1", level=_MEMORY) for layout in ("rows", "scalar")
    )
    together = max((one["median"] for one in found.all("similarity.rate", layout="tiles", level=_MEMORY)
                    if one["threads"] == 1), default=math.nan)  # fmt: skip
    yield told("Over vectors in memory it is {} times; computing queries together brings {} times more: there, fewer "
               "bytes a query help, and faster arithmetic does not.", far / slow, together / far)  # fmt: skip


def _where(one: Json) -> str:
    told_of = (f"{label} {value}" for label, value in one["labels"].items() if label != "threads")
    return _literally(", ".join(told_of))


def _walk(found: Found) -> Iterable[str]:
    chosen = {one["labels"].get("work", ""): one for one in found.all("walk.gain")}
    said = [f"{work}: {_short(one['median'])} times, {one['labels'].get('distance', '?')} nodes ahead"
            for work, one in chosen.items()]  # fmt: skip
    if said:
        yield (
            "How much faster a walk is when nodes are prefetched, and how far ahead, by what is done with each: "
            f"{'; '.join(said)}. Set the distance for the work that the server does with a node; below 1 leave it out."
        )


def _sharing(found: Found) -> Iterable[str]:
    factors = found.all("sharing.factor")
    if factors:
        most = max(factors, key=lambda one: one["median"])
        yield told(
            "Counters of different threads that lie on one cache line cost up to {} times what they cost apart "
            f"({_where(most)}, {most['threads']} threads): give each thread's counters lines of their own.",
            most["median"],
        )
    near, far = found.median("sharing.add", layout="64 B"), found.median("sharing.add", layout="128 B")
    yield told("Apart by 64 bytes they take {} ns, by 128 bytes {} ns: the smaller will do where it is as good.",
               near * 1e9, far * 1e9)  # fmt: skip


def _cores(found: Found) -> Iterable[str]:
    trips = [one["median"] for one in found.all("cores.round_trip")]
    if len(trips) > 1:
        yield told(
            "A cache line goes to another core and back in {} to {} ns: what every contended lock and counter pays. "
            "Threads that share much belong on CPUs near each other, where the placement holds still.",
            min(trips) * 1e9, max(trips) * 1e9,
        )  # fmt: skip


def _locks(found: Found) -> Iterable[str]:
    for one in found.all("locks.shards"):
        keys = one["labels"].get("keys", "")
        named = _literally(keys)
        tried = [_number(rate["labels"].get("shards", "")) for rate in found.all("locks.rate", keys=keys)]
        yield told(
            f"With {named} keys {{}} shards are the fewest that do as well as any up to {{}}: {{}} times one.",
            one["median"], max(tried, default=math.nan), found.median("locks.gain", keys=keys),
        )  # fmt: skip
    if found.all("locks.shards"):
        yield "Take the number for keys as uneven as the server's; what all threads want at once, shards do not help."


def _number(text: str) -> float:
    """A whole number that stands in a label; NaN for anything else."""
    return float(text) if text.isascii() and text.isdecimal() else math.nan


def _wal(found: Found) -> Iterable[str]:
    one = found.median("wal.append_fsync", quantile="p50")
    best = min((each["median"] for name in ("wal.append_fsync", "wal.preallocated", "wal.direct_dsync")
                for each in found.all(name, quantile="p50")), default=math.nan)  # fmt: skip
    yield told("A store that waits for its own flush takes {} ms or longer, and one writer makes {} a second.",
               one * 1e3, 1 / one)  # fmt: skip
    yield told("The quickest durable way takes {} ms.", best * 1e3) if best < one else ""
    groups = [
        (_number(one["labels"].get("group", "")), one["median"]) for one in found.all("wal.group", quantile="p50")
    ]
    for size, seconds in groups[1:2] or groups:
        yield told("Groups of {} make {} a second durable, each waiting {} ms: that is what group commit buys.",
                   size, size / seconds, seconds * 1e3)  # fmt: skip


def _numa(found: Found) -> Iterable[str]:
    near, far = (found.median("numa.load", place=place) for place in ("local", "remote"))
    yield told("Memory of another node answers in {} ns, that of the own one in {} ns: bind the server to a node where "
               "its data fit one.", far * 1e9, near * 1e9)  # fmt: skip


def _hnsw(found: Found) -> Iterable[str]:
    for one in found.all("hnsw.cheapest"):
        labels = one["labels"]
        setting = _literally(", ".join(f"{name} {labels.get(label, '?')}" for name, label in _SETTINGS.items()))
        yield told(f"Set {setting}: the cheapest of the guide's settings that finds what is wanted, {{}} queries a "
                   "second and core.", one["median"])  # fmt: skip
        alone = found.median("hnsw.exact", queries="one at a time")
        yield told("Exact search makes {} a second: where that is as many, and the vectors stay as few, no index is "
                   "needed.", alone)  # fmt: skip
    yield "A recall holds for the vectors that it was measured with: measure with a sample of your own (--vectors)."


_SETTINGS: Final = {"M": "m", "ef_construction": "ef_construction", "ef_search": "ef_search"}


_MEANINGS: Final[Mapping[str, Callable[[Found], Iterable[str]]]] = {
    "noise": _noise,
    "stream": _stream,
    "latency": _latency,
    "peak": _peak,
    "similarity": _similarity,
    "walk": _walk,
    "sharing": _sharing,
    "cores": _cores,
    "locks": _locks,
    "wal": _wal,
    "numa": _numa,
    "hnsw": _hnsw,
}
