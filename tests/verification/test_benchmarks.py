"""Benchmark results: read strictly, compared run by run."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from made_sides import benchmark, interleaved, run

from engram_diagnose.verification.benchmark import BenchmarkError, is_benchmark, read_benchmark
from engram_diagnose.verification.side import NothingToCompareError
from engram_diagnose.verifying import Wish, verify_files


def written(path: Path, document: Any) -> str:
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def verified(before: str, after: str) -> Any:
    return verify_files([before], [after], [], Wish(), now=0.0, say=str)


def p99(document: Any) -> Any:
    (found,) = [one for one in document["figures"] if one["on"] == "op.latency.p99"]
    return found


def test_eight_interleaved_runs_a_side_show_an_improvement(tmp_path: Path) -> None:
    file = written(tmp_path / "bench.json", interleaved(0.010, 0.007))
    found = verified(file, file)
    assert found["verdict"]["state"] == "improved"
    assert p99(found)["p"] == pytest.approx(2 / 12870)
    assert (found["before"]["form"], found["before"]["samples"]) == ("runs", 8)
    assert found["load"]["state"] == "comparable"


@pytest.mark.parametrize("seed", range(4))
def test_the_same_system_twice_is_no_alarm(tmp_path: Path, seed: int) -> None:
    file = written(tmp_path / "bench.json", interleaved(0.010, 0.010, seed=seed))
    assert verified(file, file)["verdict"]["state"] in ("no change", "inconclusive")


def test_one_run_a_side_is_inconclusive_and_says_how_many_are_missing(tmp_path: Path) -> None:
    before = written(tmp_path / "before.json", benchmark([run(1, "", 0.010)]))
    after = written(tmp_path / "after.json", benchmark([run(2, "", 0.030)]))
    found = verified(before, after)
    assert found["verdict"]["state"] == "inconclusive"
    assert p99(found)["needed"] == 7
    assert "7 more runs on each side" in found["next"][0]


def test_invalid_runs_are_left_out_and_counted(tmp_path: Path) -> None:
    document = interleaved(0.010, 0.010, count=9)
    document["runs"][1] = run(2, "after", 5.0, valid=False)
    file = written(tmp_path / "bench.json", document)
    found = verified(file, file)
    assert (found["after"]["left_out"], found["after"]["samples"]) == (1, 8)
    assert found["verdict"]["state"] in ("no change", "inconclusive")
    assert any("1 run was not valid" in line for line in found["next"])


def test_without_a_valid_run_nothing_is_compared(tmp_path: Path) -> None:
    file = written(tmp_path / "bench.json", benchmark([run(1, "", 0.01, valid=False)]))
    with pytest.raises(BenchmarkError, match="client-cpu"):
        verified(file, file)


def test_another_size_of_the_data_is_not_comparable(tmp_path: Path) -> None:
    before = written(tmp_path / "b.json", benchmark([run(n, "", 0.01 + n / 1e5) for n in range(1, 10)]))
    larger = [run(n, "", 0.02 + n / 1e5, memories=9_000_000) for n in range(1, 10)]
    after = written(tmp_path / "a.json", benchmark(larger))
    found = verified(before, after)
    assert (found["verdict"]["state"], found["load"]["state"]) == ("not comparable", "heavier")


def test_in_a_closed_loop_throughput_is_a_figure_and_clients_are_the_load(tmp_path: Path) -> None:
    slow = [run(n, "", 0.01 + n / 1e5, loop="closed", rate=900 + n) for n in range(1, 10)]
    fast = [run(n, "", 0.01 + n / 1e5, loop="closed", rate=1900 + n) for n in range(1, 10)]
    found = verified(written(tmp_path / "b.json", benchmark(slow)), written(tmp_path / "a.json", benchmark(fast)))
    assert found["load"]["measures"][0]["fact"] == "client.connections"
    assert {one["on"]: one["verdict"] for one in found["figures"]}["ops.rate"] == "improved"


def test_a_label_behind_the_file_chooses_its_runs(tmp_path: Path) -> None:
    document = interleaved(0.010, 0.007)
    for one in document["runs"]:
        one["side"] = {"before": "main", "after": "patched"}[one["side"]]
    file = written(tmp_path / "bench.json", document)
    assert verified(f"{file}#main", f"{file}#patched")["verdict"]["state"] == "improved"
    with pytest.raises(BenchmarkError, match=r"'main', 'patched'.*#LABEL"):
        verified(file, file)


def test_a_benchmark_is_not_held_against_a_bundle(tmp_path: Path) -> None:
    from made_sides import Made

    file, bundle = written(tmp_path / "bench.json", interleaved(0.01, 0.01)), Made().write(tmp_path / "x.bundle")
    with pytest.raises(NothingToCompareError, match="one kind"):
        verified(bundle, file)


# Bad input


def changed(*path: str | int, value: Any) -> Any:
    document = copy.deepcopy(interleaved(0.010, 0.007))
    at: Any = document
    for part in path[:-1]:
        at = at[part]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return document


RESPONSE = ("runs", 3, "operations", "recall", "response")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (changed("schema", value="engram-diagnose/benchmark/v2"), "schema"),
        (changed("extra", value=1), "extra"),
        (changed("runs", value=[]), "runs"),
        (changed("runs", 3, "started", value="yesterday"), r"runs\[3\].started"),
        (changed("runs", 3, "started", value="2026-13-41T00:00:00Z"), r"runs\[3\].started: .* is no time"),
        (changed("runs", 3, "started", value="0001-01-01T00:00:00Z"), r"runs\[3\].started: .* is no time"),
        (changed("runs", 3, "duration_seconds", value=1e9), r"runs\[3\].duration_seconds"),
        (changed("runs", 3, "workload", "mix", value={"recall": 0.4}), r"runs\[3\].workload.mix: .*0.4, not 1"),
        (changed("runs", 3, "workload", "offered_rate", value="fast"), r"runs\[3\].workload"),
        (changed("runs", 3, "validity", "reasons", value=["client-lag"]), r"runs\[3\].validity"),
        (changed("runs", 3, "order", value=1), "same order"),
        (changed("runs", 3, "operations", value={"drop": {}}), r"runs\[3\].operations"),
        (changed("runs", 3, "operations", "recall", "sent", value=5), "more than 5 sent"),
        (changed("runs", 3, "operations", "recall", "ok", value=5), "and 5 good answers"),
        (changed(*RESPONSE, "counts", value=[1, 2]), "3 bounds make 4 buckets"),
        (changed(*RESPONSE, "bounds", value=[0.01, 0.005, 0.02]), "do not ascend"),
        (changed(*RESPONSE, "quantiles", "p99", value=3.0), r"p99: 3 s is not in its bucket"),
        (changed(*RESPONSE, "quantiles", "p99", value=None), "p99"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, document: Any, says: str) -> None:
    file = written(tmp_path / "bench.json", document)
    with pytest.raises(BenchmarkError, match=says):
        verified(file, file)


def test_all_problems_are_named_at_once() -> None:
    document = interleaved(0.010, 0.007)
    for one in document["runs"]:
        one["workload"]["mix"] = {"recall": 0.5}
    with pytest.raises(BenchmarkError) as error:
        read_benchmark("x.json", json.dumps(document).encode())
    assert str(error.value).count("the shares add up") == 16


@pytest.mark.parametrize("figure", ["NaN", "1e999", "1234567890123456789", "0.5"])
def test_what_is_no_json_is_said(figure: str) -> None:
    data = b'{"a": %s, "b": "engram-diagnose/benchmark/"' % figure.encode()
    data += b"}" if figure != "0.5" else b""
    assert is_benchmark(data)
    with pytest.raises(BenchmarkError, match="not JSON"):
        read_benchmark("x.json", data)


@pytest.mark.parametrize(("text", "says"), [("{}", "neither a bundle"), ("[1]", "neither a bundle"), ("", "empty")])
def test_another_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(ValueError, match=says):
        verified(str(tmp_path / "x"), str(tmp_path / "x"))
    with pytest.raises(NothingToCompareError, match="cannot read"):
        verified(str(tmp_path / "gone"), str(tmp_path / "x"))
