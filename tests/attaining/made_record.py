"""A record of a host that nobody has, with figures of our own, in the form that measuring leaves."""

from collections.abc import Iterable
from typing import Any

from engram_diagnose.attaining.standing import Attained, Standing

Json = dict[str, Any]

MEASURED = 1_790_000_000.0
DAY = 86_400.0
HOST = "00000000decade00"
OF = {"cpu": "Made-up CPU 9000 @ 3.3GHz", "cpus": 4, "kernel": "6.1.0-made", "device": "8:1"}
LEVELS = {"L1": 400e9, "L2": 190e9, "L3": 60e9, "memory": 14e9}


def one(name: str, unit: str, median: float, spread: float = 0.01, **more: Any) -> Json:
    """A measurement whose quartiles lie `spread` of its median apart."""
    low, high = median * (1 - spread / 2), median * (1 + spread / 2)
    better = more.get("better", "lower" if unit == "s" else "higher")
    made = {
        "name": name, "unit": unit, "labels": {}, "threads": 1, "better": better, "median": median, "lower": low,
        "upper": high, "attained": low if better == "higher" else high, "repeats": 9, "switches": 0, "steal": 0.0,
        "stability": "stable", "notes": [],
    }  # fmt: skip
    return made | more


def absent(name: str, reason: str, get_by: str = "", **labels: str) -> Json:
    return {"name": name, "labels": labels, "reason": reason, "get_by": get_by}


def part(name: str, measurements: Iterable[Json] = (), unmeasured: Iterable[Json] = (), **more: Any) -> Json:
    made = {
        "name": name, "measured_at": MEASURED, "expires_at": MEASURED + 30 * DAY, "seconds": 1.25, "of": dict(OF),
        "measurements": list(measurements), "unmeasured": list(unmeasured),
    }  # fmt: skip
    return made | more


def record(*parts: Json) -> Json:
    return {"schema": "engram-diagnose/attained/v1", "host": HOST, "parts": list(parts)}


def noise() -> Json:
    shares = [one("noise.others", "", 0.012, better="lower"), one("noise.steal", "", 0.0, better="lower")]
    return part(
        "noise", [*shares, *(one("noise.frequency", "/s", 3.3e9, labels={"cpu": str(cpu)}) for cpu in range(4))]
    )


def stream() -> Json:
    reads = [
        one("stream.read", "B/s", rate, labels={"threads": "one", "level": level}) for level, rate in LEVELS.items()
    ]
    every = [one("stream.read", "B/s", 3.1 * rate, 0.08, labels={"threads": "all", "level": level}, threads=4,
                 stability="noisy") for level, rate in LEVELS.items()]  # fmt: skip
    triad = one("stream.triad", "B/s", 11.2e9, labels={"threads": "one"}, notes=["on 4 KiB pages"])
    return part("stream", [*reads, *every, triad])


def latency() -> Json:
    sizes = {"16 KiB": 1.3e-9, "32 KiB": 1.3e-9, "107 KiB": 4.1e-9, "861 KiB": 4.2e-9, "3.4 MiB": 14e-9,
             "9.5 MiB": 17e-9, "38 MiB": 62e-9, "304 MiB": 96e-9, "1 GiB": 98e-9}  # fmt: skip
    loads = [one("latency.load", "s", seconds * (1.3 if pages == "small" and seconds > 1e-8 else 1),
                 labels={"size": size, "pages": pages})
             for pages in ("huge", "small") for size, seconds in sizes.items()]  # fmt: skip
    plateaus = [("L1", 1.3e-9, "16 KiB", "32 KiB"), ("L2", 4.15e-9, "107 KiB", "861 KiB"),
                ("L3", 15e-9, "3.4 MiB", "9.5 MiB"), ("memory", 97e-9, "304 MiB", "1 GiB")]  # fmt: skip
    steps = [one("latency.plateau", "s", seconds, labels={"level": level, "pages": "huge", "from": low, "to": high})
             for level, seconds, low, high in plateaus]  # fmt: skip
    caches = [one("latency.effective_cache", "B", 46 * 1024.0, labels={"level": "L1", "claimed": "48 KiB"}),
              one("latency.effective_cache", "B", 1.9 * 2**20, labels={"level": "L2", "claimed": "2 MiB"}),
              one("latency.effective_cache", "B", 11.0 * 2**20, labels={"level": "L3", "claimed": "480 MiB"},
                  notes=["loads hit up to 11 MiB, and 480 MiB are claimed: others on the host use it too, or the "
                         "claim is another CPU's"])]  # fmt: skip
    caches.append(caches[-1] | {"name": "latency.last_cache"})
    return part("latency", [*loads, *steps, *caches])


def peak() -> Json:
    return part("peak", [one("peak.fma", "/s", rate, labels={"width": width})
                         for width, rate in (("256 bit", 81e9), ("512 bit", 92e9))])  # fmt: skip


def similarity() -> Json:
    single = {"scalar": (1.4e6, 1.4e6, 1.4e6, 1.3e6), "rows": (24e6, 21e6, 14e6, 4.2e6),
              "tiles": (42e6, 26e6, 15e6, 4.4e6)}  # fmt: skip
    found = [one("similarity.rate", "/s", rate, labels={"layout": layout, "batch": "1", "level": level})
             for layout, by_level in single.items() for level, rate in zip(LEVELS, by_level, strict=True)]  # fmt: skip
    found += [one("similarity.rate", "/s", rate, labels={"layout": "tiles", "batch": batch, "level": level})
              for batch, by_level in (("4", (49e6, 45e6, 40e6, 16e6)), ("8", (51e6, 50e6, 46e6, 31e6)))
              for level, rate in zip(LEVELS, by_level, strict=True)]  # fmt: skip
    best = {"layout": "tiles", "level": "L2"}
    found += [one("similarity.one_query", "/s", 26e6, labels={**best, "batch": "1"}),
              one("similarity.batch", "count", 4.0, 0.0, labels={**best, "batch": "4"}),
              one("similarity.batch_gain", "", 45 / 26, labels={**best, "batch": "4"})]  # fmt: skip
    return part("similarity", found)


def wal() -> Json:
    return part("wal", unmeasured=[absent("wal", "no folder was named to write in",
                                          "give the server's data directory: --data-dir")])  # fmt: skip


def sharing() -> Json:
    layouts = {"adjacent": 28e-9, "64 B": 5.4e-9, "128 B": 5.3e-9}
    found = [one("sharing.add", "s", seconds, labels={"layout": layout, "threads": "2"}, threads=2)
             for layout, seconds in layouts.items()]  # fmt: skip
    found.append(one("sharing.factor", "", 5.3, 0.4, labels={"update": "add", "threads": "2"}, threads=2,
                     stability="unstable"))  # fmt: skip
    return part("sharing", found)


def locks() -> Json:
    rates = {"1": 5.7e6, "8": 33e6, "64": 75e6}
    found = [one("locks.rate", "/s", rate, labels={"shards": shards, "keys": "uniform"}, threads=4)
             for shards, rate in rates.items()]  # fmt: skip
    found.append(one("locks.shards", "count", 64.0, 0.0, labels={"keys": "uniform"}, threads=4, repeats=1))
    return part("locks", [*found, one("locks.gain", "", 13.2, labels={"keys": "uniform"}, threads=4)])


def hnsw() -> Json:
    setting = {"m": "16", "ef_construction": "200", "ef_search": "100"}
    return part("hnsw", [one("hnsw.exact", "/s", 1298.0, labels={"queries": "one at a time"}),
                         one("hnsw.cheapest", "/s", 1971.0, labels=setting)])  # fmt: skip


def whole() -> Json:
    """A record of a host where most could be measured."""
    return record(noise(), stream(), latency(), peak(), similarity(), sharing(), locks(), wal(), hnsw())


def attained(made: Json | None = None, *facts: Standing, at: float = MEASURED + DAY) -> Attained:
    """What a command shows of a record."""
    listed = facts or (
        Standing("host.attainable.memory_bandwidth", "stream", 43.3e9, "B/s", "noisy", MEASURED + 30 * DAY),
        Standing("host.attainable.fsync_p50", "wal", None, "", "the source does not offer it (no folder was named)"),
    )
    return Attained(whole() if made is None else made, listed, at)
