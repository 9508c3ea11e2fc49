"""The floating point peak as its user sees it: a figure for each width, and the best of them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.kernels.measure import peak as module
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Unmeasured
from engram_diagnose.kernels.measure.peak import best, lanes_of, peak
from engram_diagnose.kernels.measure.threads import Pool
from engram_diagnose.rulebase import load_rules


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    return {**read_limits(load_rules((), thorough=False).texts, "kernels"), "repeats": 3, "figure_seconds": 1e-4}


@pytest.fixture
def bench(limits: Mapping[str, float]) -> Iterator[Bench]:
    with Pool((0,)) as pool:
        yield Bench(limits, (0,), 0, pool)


@pytest.mark.parametrize(("lanes", "widths"), [(4, ["128 bit"]), (8, ["256 bit"]), (16, ["256 bit", "512 bit"])])
def test_each_width_that_a_server_would_use_has_its_peak(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, lanes: int, widths: list[str]
) -> None:
    monkeypatch.setattr(module, "lanes_here", lambda: lanes)
    found = peak(bench)
    assert [one.labels["width"] for one in found] == widths
    for one in found:
        assert isinstance(one, Measurement)
        assert (one.name, one.unit, one.better, one.threads, len(one.values)) == ("peak.fma", "/s", "higher", 1, 3)
        assert one.median > 0
        assert lanes_of(one) * 32 == int(one.labels["width"].split()[0])


def test_a_cpu_without_fused_multiply_adds_is_said_to_lack_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.binding, "get_host_cpu_features", lambda: {"fma": False})
    found = peak(bench)[-1]
    assert isinstance(found, Measurement)
    assert found.notes[-1].startswith("this CPU shows no fused multiply-add")


def test_it_ends_where_it_is_interrupted(bench: Bench) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        peak(replace(bench, check=check))


def test_the_best_width_is_the_one_that_attains_most() -> None:
    def of(width: str, value: float) -> Measurement:
        return Measurement("peak.fma", "/s", (value,), "higher", "stable", {"width": width})

    found = best([of("512 bit", 1.0e11), of("256 bit", 1.1e11), Unmeasured("peak.fma", "none")])
    assert found is not None
    assert found.labels == {"width": "256 bit"}
    assert best([]) is None
