"""What is measured of what was wished for, and which of its figures are kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_pack

from engram_diagnose.attaining.measuring import NoFolderError, SampleError, Wish, folder_of, measure_host, trusted
from engram_diagnose.kernels.measure import hnsw, noise, suite
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Unmeasured


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(noise, "gate", lambda *_, **__: noise.Gate("", ("a note of the gate",), ()))


def measured(wish: Wish, folder: Path) -> tuple[dict, list[str]]:
    said: list[str] = []
    return measure_host(wish, (tiny_pack(folder),), say=said.append, progress=lambda _: None), said


def figure(threads: int) -> Measurement:
    return Measurement("stream.read", "B/s", (1e9,), "higher", "stable", {"level": "L1"}, threads)


def test_under_a_quota_below_one_cpu_figures_of_several_threads_are_left_out() -> None:
    done = suite.Done("stream", (figure(1), figure(4)), 1.0)
    assert trusted(done, noise.Gate("", (), ())) == done
    kept, left_out = trusted(done, noise.Gate("", (), (), "a quota of 0.5 CPUs")).outcomes
    assert kept == figure(1)
    assert isinstance(left_out, Unmeasured)
    assert (left_out.name, left_out.labels, left_out.reason) == ("stream.read", {"level": "L1"}, "a quota of 0.5 CPUs")
    assert left_out.get_by


def test_figures_of_a_host_that_was_too_busy_say_so_and_are_noisy_at_best() -> None:
    gate = noise.Gate("others use 40 % of the CPUs", (), ())
    wild = replace(figure(1), stability="unstable", notes=("its own",))
    calm, scattered, absent = trusted(
        suite.Done("wal", (figure(1), wild, Unmeasured("wal", "why")), 1.0), gate
    ).outcomes
    assert isinstance(calm, Measurement)
    assert isinstance(scattered, Measurement)
    assert (calm.stability, calm.notes) == ("noisy", ("measured although others use 40 % of the CPUs",))
    assert (scattered.stability, scattered.notes[0]) == ("unstable", "its own")
    assert absent == Unmeasured("wal", "why")


def test_notes_of_the_gate_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite.Part, "measure", lambda *_: [figure(1)])
    assert measured(Wish(("stream",)), tmp_path)[1] == ["note: a note of the gate"]


def test_the_wanted_recall_and_the_sample_reach_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def index(bench: Bench, *, sample: Path | None = None) -> list[Measurement]:
        seen.append((bench.limits["hnsw_recall"], sample))
        return []

    monkeypatch.setattr(hnsw, "hnsw", index)
    measured(Wish(("hnsw",), vectors="sample.npy", recall=0.9), tmp_path)
    measured(Wish(("hnsw",), recall=0.8), tmp_path)
    measured(Wish(("hnsw",)), tmp_path)
    assert seen[:2] == [(0.9, Path("sample.npy")), (0.8, None)]
    assert seen[2][0] > 0.9


@pytest.mark.parametrize("data", [b"", b"nothing", b"\x93NUMPY\x01\x00", b"\x80\x04N."])
def test_a_file_that_holds_no_vectors_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sample.npy"
    path.write_bytes(data)
    with pytest.raises(SampleError, match=r"--vectors: .*sample\.npy"):
        measured(Wish(("hnsw",), vectors=str(path)), tmp_path)


def test_vectors_that_are_no_float32_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sample.npy"
    np.save(path, np.zeros(7))
    with pytest.raises(SampleError, match="float32"):
        measured(Wish(("hnsw",), vectors=str(path)), tmp_path)


def test_a_folder_is_there_or_is_none(tmp_path: Path) -> None:
    assert folder_of("") == ""
    assert folder_of(str(tmp_path)) == str(tmp_path)
    with pytest.raises(NoFolderError, match="there is no folder"):
        folder_of(str(tmp_path / "gone"))
