"""Which CPUs are one core, and which pairs of many are looked at."""

from itertools import combinations
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.kernels.measure.topology import on_two_cores, siblings_of, spread_pairs


def planted(folder: Path, *cores: str) -> Path:
    for core in cores:
        for cpu in core.replace("-", ",").split(","):
            place = folder / f"cpu{cpu}" / "topology"
            place.mkdir(parents=True)
            (place / "thread_siblings_list").write_text(core + "\n")
    return folder


def test_two_threads_of_one_core_are_siblings(tmp_path: Path) -> None:
    folder = planted(tmp_path, "0,4", "1,5")
    assert siblings_of(4, folder) == {0, 4}
    assert siblings_of(9, folder) == {9}


def test_damage_leaves_a_cpu_alone(tmp_path: Path) -> None:
    folder = planted(tmp_path, "0")
    (folder / "cpu0" / "topology" / "thread_siblings_list").write_bytes(b"\xff,,x-y\n")
    assert siblings_of(0, folder) == {0}


def test_the_pair_to_measure_is_of_two_cores(tmp_path: Path) -> None:
    folder = planted(tmp_path, "0-1", "2-3", "4,8")
    assert on_two_cores((0, 1, 2, 3), folder) == (0, 2)
    assert on_two_cores((4, 0, 8), folder) == (0, 1)
    assert on_two_cores((4, 8), folder) == (0, 1)


def test_of_few_cpus_every_pair_is_taken() -> None:
    assert spread_pairs((7, 3, 9), 3) == [(0, 1), (0, 2), (1, 2)]


@given(st.integers(2, 60), st.integers(1, 80))
def test_of_many_cpus_as_many_pairs_as_allowed_near_and_far(cpus: int, most: int) -> None:
    pairs = spread_pairs(range(cpus), most)
    every = set(combinations(range(cpus), 2))
    assert len(pairs) == len(set(pairs)) == min(most, len(every))
    assert set(pairs) <= every
    assert pairs == sorted(pairs)
    if most >= cpus:
        assert len({high - low for low, high in pairs}) > (cpus - 1) // 3
