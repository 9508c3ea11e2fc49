"""Similarities as their user sees them: a rate for each layout, batch and level, and why there is none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure import similarity as module
from engram_diagnose.kernels.measure.bench import Bench, Cache
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.similarity import attainable, set_size, similarity, sizes_of
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules

KIB, MIB = 1 << 10, 1 << 20
CACHES = (Cache(1, 48 * KIB, 1), Cache(2, 512 * KIB, 1), Cache(3, 2 * MIB, 4))
BATCHES = ["1", "2", "4", "8", "16", "32", "64"]


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    read = read_limits(load_rules((), thorough=False).texts, "kernels")
    return {**read, "repeats": 2, "similarity_seconds": 1e-4, "figure_seconds": 1e-4, "meeting_seconds": 0.01}


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool((0, 0)) as made:
        yield made


@pytest.fixture
def bench(limits: Mapping[str, float], pool: Pool) -> Bench:
    return Bench(limits, (0, 1), 16 * MIB, pool, CACHES)


@pytest.fixture
def alone(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool((0,)) as one:
        yield Bench(limits, (0,), 16 * MIB, one, CACHES)


def measured(found: Sequence[Outcome], **labels: str) -> list[Measurement]:
    rates = [one for one in found if isinstance(one, Measurement) and one.name == "similarity.rate"]
    return [one for one in rates if labels.items() <= one.labels.items()]


def unmeasured(found: Sequence[Outcome]) -> dict[str, Unmeasured]:
    return {one.labels["level"]: one for one in found if isinstance(one, Unmeasured)}


def test_each_layout_is_measured_in_each_level_with_each_batch(bench: Bench) -> None:
    found = similarity(bench)
    assert not unmeasured(found)
    for level in ("L1", "L2", "L3", "memory"):
        one_thread = [one for one in measured(found, level=level) if one.threads == 1]
        batches = {layout: [one.labels["batch"] for one in one_thread if one.labels["layout"] == layout]
                   for layout in ("scalar", "rows", "tiles")}  # fmt: skip
        assert batches == {"scalar": ["1"], "rows": BATCHES, "tiles": BATCHES}
    everything = measured(found)
    assert {(one.name, one.unit, one.better) for one in everything} == {("similarity.rate", "/s", "higher")}
    assert all(len(one.values) == 2 and min(one.values) > 0 for one in everything)


def test_all_threads_are_measured_from_memory_alone(bench: Bench) -> None:
    together = [one for one in measured(similarity(bench)) if one.threads == 2]
    assert [(one.labels["level"], one.labels["batch"]) for one in together] == [("memory", "1"), ("memory", "8")]


def test_one_cpu_is_measured_once(alone: Bench) -> None:
    found = similarity(alone)
    assert {one.threads for one in measured(found)} == {1}
    assert measured(found, level="memory", layout="tiles", batch="8")


def test_sixty_four_vectors_are_said_not_to_fit_the_first_level(bench: Bench) -> None:
    found = similarity(bench)
    note = measured(found, layout="tiles", level="L2", batch="64")[0].notes[-1]
    assert (
        note
        == "64 vectors are 192 KiB and do not fit L1, which has 48 KiB, as the guide says of up to 64; 8 are 24 KiB"
    )
    assert not any("do not fit" in note for one in measured(found, batch="8") for note in one.notes)


def test_vectors_of_a_level_lie_clear_of_the_levels_beside_it(bench: Bench) -> None:
    sizes = [set_size(bench, number) for number in range(3)]
    assert sizes[0] == 24 * KIB
    for size, below, own in zip(sizes[1:], CACHES, CACHES[1:], strict=False):
        assert 2 * below.size - 24 * KIB < size <= own.size / 2


@pytest.mark.parametrize(
    ("caches", "number", "size"),
    [
        ((Cache(1, 32 * KIB, 1),), 0, 24 * KIB),  # eight vectors, the fewest there are
        ((Cache(1, 16 * KIB, 1),), 0, 0),
        ((Cache(1, 128 * KIB, 1),), 0, 48 * KIB),
        ((Cache(1, 48 * KIB, 1), Cache(2, 2 * MIB, 1)), 1, 192 * KIB),
        ((Cache(1, 48 * KIB, 1), Cache(2, 128 * KIB, 1)), 1, 0),  # no size is clear of both
        ((Cache(2, 2 * MIB, 1), Cache(3, 480 * MIB, 4)), 1, 8 * MIB // (24 * KIB) * 24 * KIB),  # not half of a claim
    ],
)
def test_a_set_is_a_few_times_the_level_below(bench: Bench, caches: tuple[Cache, ...], number: int, size: int) -> None:
    assert set_size(replace(bench, caches=caches), number) == size


def test_a_level_that_is_hardly_larger_than_the_one_below_is_not_measured(bench: Bench) -> None:
    found = similarity(replace(bench, caches=(Cache(1, 48 * KIB, 1), Cache(2, 96 * KIB, 1), Cache(3, 2 * MIB, 2))))
    assert list(unmeasured(found)) == ["L2"]
    assert "96 KiB are too few" in unmeasured(found)["L2"].reason


@pytest.mark.parametrize("memory", [1, 100 * KIB, MIB, 5 * MIB, 64 * MIB])
@pytest.mark.parametrize("caches", [CACHES, (*CACHES[:2], Cache(3, 480 * MIB, 4)), ()])
def test_buffers_stay_within_what_is_allowed(
    bench: Bench, memory: int, caches: tuple[Cache, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    plain = module.buffer

    def counting(size: int, *, byte: int) -> object:
        taken.append(size)
        return plain(size, byte=byte)

    monkeypatch.setattr(module, "buffer", counting)
    found = similarity(replace(bench, memory=memory, caches=caches))
    assert sum(taken) <= memory
    assert found


def test_too_little_memory_is_said_of_the_levels_that_need_more(bench: Bench) -> None:
    found = similarity(replace(bench, memory=MIB))
    assert list(unmeasured(found)) == ["L3", "memory"]
    assert "memory allows" in unmeasured(found)["L3"].reason
    assert "which the last cache holds" in unmeasured(found)["memory"].reason
    assert all(one.get_by == "give this program more memory" for one in unmeasured(found).values())
    assert {one.threads for one in measured(found)} == {1}


def test_memory_less_than_a_few_times_the_last_cache_is_said(bench: Bench) -> None:
    note = measured(similarity(replace(bench, memory=6 * MIB)), level="memory")[0].notes[0]
    assert "where L3 is claimed to be 2 MiB: a part of them may be found there" in note


def test_a_host_that_claims_no_caches_is_measured_from_memory(bench: Bench) -> None:
    found = similarity(replace(bench, caches=()))
    assert list(unmeasured(found)) == ["L2"]
    assert {one.labels["level"] for one in measured(found)} == {"memory"}
    assert "no cache is claimed" in measured(found)[0].notes[0]


def test_all_threads_that_would_stay_in_their_caches_are_not_measured(limits: Mapping[str, float]) -> None:
    sockets = (*CACHES[:2], Cache(3, 2 * MIB, 1))
    with Pool((0,) * 4) as pool:
        found = similarity(Bench(limits, (0, 1, 2, 3), 6 * MIB, pool, sockets))
    assert measured(found, level="memory", layout="tiles", batch="1")
    assert unmeasured(found)["memory"].labels["threads"] == "all"
    assert "which the last caches hold" in unmeasured(found)["memory"].reason


def test_vectors_of_all_threads_fill_all_last_caches(bench: Bench) -> None:
    with Pool((0,) * 8) as pool:
        two_caches = replace(bench, pool=pool, cpus=tuple(range(8)), memory=1 << 30)
        sizes = sizes_of(two_caches)
    assert len(sizes) == 8
    assert sum(sizes) >= 2 * 2 * MIB * 4 * 0.95
    assert sizes[0] >= 4 * 2 * MIB * 0.95


def test_it_ends_where_it_is_interrupted(bench: Bench) -> None:
    class EndedError(Exception):
        pass

    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise EndedError

    with pytest.raises(EndedError):
        similarity(replace(bench, check=check))
    assert calls == 5


def rate(layout: str, batch: int, value: float, *, level: str = "L2", threads: int = 1) -> Measurement:
    labels = {"layout": layout, "batch": str(batch), "level": level}
    return Measurement("similarity.rate", "/s", (value,), "higher", "stable", labels, threads)


def test_attainable_is_the_best_layout_for_one_query_and_the_smallest_batch_near_the_best() -> None:
    found = [
        rate("scalar", 1, 2e6), rate("rows", 1, 3e7), rate("rows", 8, 4e7), rate("tiles", 1, 5e7),
        rate("tiles", 4, 9e7), rate("tiles", 8, 9.6e7), rate("tiles", 64, 1e8), rate("tiles", 1, 9e9, level="L1"),
        rate("tiles", 2, 9e9, threads=4), Unmeasured("similarity.rate", "none", labels={"level": "memory"}),
    ]  # fmt: skip
    best = attainable(found, within=0.05)
    assert best is not None
    assert (best.one_query.median, best.scalar.median, best.batch) == (5e7, 2e6, 8)
    wider = attainable(found, within=0.10)
    assert wider is not None
    assert wider.batch == 4


def test_nothing_is_attainable_where_the_second_level_was_not_measured() -> None:
    assert attainable([rate("scalar", 1, 2e6, level="L1"), rate("tiles", 1, 5e7, level="L1")], within=0.1) is None
    assert attainable([], within=0.1) is None


def test_what_a_fact_needs_is_a_measurement_of_its_own(bench: Bench) -> None:
    found = {one.name: one for one in similarity(bench) if isinstance(one, Measurement)}
    best, batch, gain = (found[f"similarity.{name}"] for name in ("one_query", "batch", "batch_gain"))
    assert best.labels["batch"] == "1"
    assert best.labels["level"] == "L2"
    assert batch.median in (1, 2, 4, 8, 16, 32, 64)
    assert batch.labels["batch"] == f"{batch.median:.0f}"
    assert gain.median > 0
