"""Two bundles compared, as an operator compares them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_sides import AFTER, BEFORE, INSTANCE, FakeLedger, Made, application, rolled_back

from engram_diagnose.collectors.bundle import write_bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.engine.comparison.effect import Effect
from engram_diagnose.engine.comparison.policy import Figure
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.verification.comparing import Compared
from engram_diagnose.verification.document import figure_entry
from engram_diagnose.verification.figures import FigureError
from engram_diagnose.verification.side import Key, NothingToCompareError
from engram_diagnose.verifying import Wish, verify_files


def verified(folder: Path, before: Made, after: Made, wish: Wish | None = None, **more: Any) -> Any:
    files = [made.write(folder / f"{number}.bundle") for number, made in enumerate((before, after))]
    said: list[str] = []
    document = verify_files([files[0]], [files[1]], [], wish or Wish(), now=AFTER + 60, say=said.append, **more)
    return document | {"said": said}


def figure(document: Any, on: str, **scope: str) -> Any:
    (found,) = [one for one in document["figures"] if one["on"] == on and one["scope"] == scope]
    return found


def verdicts(document: Any) -> set[str]:
    return {one["verdict"] for one in document["figures"]}


def test_a_faster_server_under_the_same_load_is_improved(tmp_path: Path) -> None:
    found = verified(tmp_path, Made(), Made(end=AFTER, latency=0.004, seed=2))
    assert (found["verdict"]["state"], found["load"]["state"]) == ("improved", "comparable")
    p99 = figure(found, "op.latency.p99", operation="store")
    assert p99["verdict"] == "improved"
    assert p99["high"] < -0.003
    assert p99["samples"]["before"] >= 15
    assert p99["change_text"].startswith("-")
    assert "baseline save" in found["next"][0]


@pytest.mark.parametrize(
    ("after", "told"),
    [(0.0, "-100 %"), (0.0001, "-99.9 %"), (0.0045, "-99.7 %"), (0.078, "-95 %"), (1.5, "-3.8 %")],
)
def test_only_what_is_gone_fell_by_all_of_it(after: float, told: str) -> None:
    effect = Effect("improved", 1.56, after, after - 1.56)
    compared = Compared(Key("op.latency.p99"), Figure("op.latency.p99", "lower", 0.05, 0.0), effect, 3, 3)
    assert figure_entry(compared, Catalogue({}, {}, ()))["change_text"] == told


def test_a_slower_server_is_worse_and_is_to_be_undone(tmp_path: Path) -> None:
    found = verified(tmp_path, Made(), Made(end=AFTER, latency=0.02, seed=2))
    assert found["verdict"]["state"] == "worse"
    assert "Undo" in found["next"][0]


@pytest.mark.parametrize("seed", range(2, 7))
def test_the_same_server_twice_is_neither_better_nor_worse(tmp_path: Path, seed: int) -> None:
    found = verified(tmp_path, Made(), Made(end=AFTER, seed=seed))
    assert found["verdict"]["state"] in ("no change", "inconclusive")
    assert "worse" not in verdicts(found)
    assert "improved" not in verdicts(found)


def test_less_load_explains_less_latency(tmp_path: Path) -> None:
    found = verified(tmp_path, Made(), Made(end=AFTER, rate=400, latency=0.004, seed=2))
    assert (found["verdict"]["state"], found["load"]["state"]) == ("not comparable", "lighter")
    assert any("--assume-comparable" in line for line in found["next"])


def test_more_load_and_less_latency_is_an_improvement_all_the_more(tmp_path: Path) -> None:
    found = verified(tmp_path, Made(), Made(end=AFTER, rate=2000, latency=0.004, seed=2))
    assert (found["verdict"]["state"], found["load"]["state"]) == ("improved", "heavier")
    assert "although the load was heavier" in figure(found, "op.latency.p99", operation="store")["note"]


def test_less_load_and_more_latency_is_a_loss(tmp_path: Path) -> None:
    found = verified(tmp_path, Made(), Made(end=AFTER, rate=500, latency=0.03, seed=2))
    assert found["verdict"]["state"] == "worse"


def test_another_mix_is_not_comparable_unless_the_operator_says_so_and_then_the_report_says_it(tmp_path: Path) -> None:
    sides = (Made(), Made(end=AFTER, read_share=0.3, latency=0.004, seed=2))
    assert verified(tmp_path, *sides)["verdict"]["state"] == "not comparable"
    found = verified(tmp_path, Made(), Made(end=AFTER, read_share=0.3, latency=0.004, seed=2), Wish(assumed=True))
    assert found["verdict"]["state"] == "improved"
    assert found["load"]["assumed"]
    assert "the operator says" in found["load"]["sentence"]
    assert [one["state"] for one in found["load"]["measures"]] == ["comparable", "different", "comparable"]


def test_an_unknown_load_is_not_comparable(tmp_path: Path) -> None:
    hidden = ("engram_recall_operations_total",)
    found = verified(tmp_path, Made(without=hidden), Made(end=AFTER, latency=0.004, seed=2, without=hidden))
    assert (found["verdict"]["state"], found["load"]["state"]) == ("not comparable", "unknown")
    assert any("mix of the load is not known" in line for line in found["next"])


def test_too_short_a_bundle_is_inconclusive_and_says_how_much_more(tmp_path: Path) -> None:
    found = verified(tmp_path, Made(minutes=5), Made(end=AFTER, minutes=5, latency=0.004, seed=2))
    assert found["verdict"]["state"] == "inconclusive"
    assert figure(found, "op.latency.p99", operation="store")["needed"] == 5
    assert "more windows on each side" in found["next"][0]


def test_what_else_changed_is_listed(tmp_path: Path) -> None:
    config = '[wal]\nsync_mode = "batch"\n[hnsw_index]\nM = 24\n'
    found = verified(tmp_path, Made(), Made(end=AFTER, latency=0.004, config=config, version="0.2.0", seed=2))
    assert {(one["what"], one["before"], one["after"]) for one in found["also_changed"]} == {
        ("server version", "0.1.4", "0.2.0"),
        ("wal.sync_mode", "immediate", "batch"),
        ("hnsw_index.M", "", "24"),
    }


def test_a_restart_within_a_side_cuts_off_what_came_before_it(tmp_path: Path) -> None:
    found = verified(tmp_path, Made(), Made(end=AFTER, reset_at=AFTER - 600, seed=2))
    assert found["after"]["start"] >= iso(AFTER - 600)
    assert "started anew" in found["after"]["notes"][0]
    assert any(one["what"].startswith("restart") for one in found["also_changed"])


def test_samples_of_before_in_the_later_bundle_do_not_count_as_after(tmp_path: Path) -> None:
    found = verified(tmp_path, Made(), Made(end=BEFORE + 900, minutes=30, seed=2))
    assert found["after"]["start"] >= found["before"]["end"]


def test_spaces_are_compared_each_by_itself_where_there_are_a_few(tmp_path: Path) -> None:
    spaces = ("a", "b")
    found = verified(tmp_path, Made(spaces=spaces), Made(end=AFTER, spaces=spaces, seed=2))
    scopes = [one["scope"] for one in found["figures"] if one["on"] == "op.latency.p99"]
    assert {scope["space"] for scope in scopes} == {"a", "b"}
    many = tuple(f"s{number}" for number in range(12))
    found = verified(tmp_path, Made(spaces=many), Made(end=AFTER, spaces=many, seed=2))
    assert not any("space" in one["scope"] for one in found["figures"])


def test_figures_that_are_named_are_the_ones_compared(tmp_path: Path) -> None:
    sides = (Made(), Made(end=AFTER, latency=0.004, seed=2))
    found = verified(tmp_path, *sides, Wish(figures=("op.latency.mean{operation=store}", "ops.rate")))
    assert [one["on"] for one in found["figures"]] == ["op.latency.mean", "ops.rate"]
    assert found["confidence"]["each"] == pytest.approx(0.975)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("op.latency.p98", "did you mean"),
        ("op.latency.p99{operatoin=store}", "no label operatoin"),
        ("op.latency.p99{operation}", "labels of"),
        ("wal.bytes_written", "counter"),
        ("config.wal.sync_mode", "setting"),
        ("op latency", "is no figure"),
        ("disk.iops", "neither side has"),
    ],
)
def test_a_figure_that_cannot_be_compared_is_refused_with_what_there_is(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(FigureError, match=says):
        verified(tmp_path, Made(), Made(end=AFTER, seed=2), Wish(figures=(name,)))


def test_sides_that_are_turned_round_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToCompareError, match="turned round"):
        verified(tmp_path, Made(end=AFTER), Made())


def test_eight_bundles_a_side_are_eight_runs(tmp_path: Path) -> None:
    before = [Made(end=BEFORE + n * 1800, seed=n).write(tmp_path / f"b{n}") for n in range(8)]
    after = [
        Made(end=AFTER * 1 + 20_000 + n * 1800, seed=n + 50, latency=0.004).write(tmp_path / f"a{n}") for n in range(8)
    ]
    found = verify_files(before, after, [], Wish(), now=AFTER, say=str)
    assert (found["before"]["form"], found["before"]["samples"]) == ("runs", 8)
    p99 = figure(found, "op.latency.p99", operation="store")
    assert (p99["verdict"], p99["p"]) == ("improved", pytest.approx(2 / 12870))


def test_two_bundles_a_side_are_their_windows_together(tmp_path: Path) -> None:
    before = [Made(end=BEFORE + n * 1800, seed=n, minutes=8).write(tmp_path / f"b{n}") for n in range(2)]
    after = [Made(end=AFTER + n * 1800, seed=n + 5, minutes=8).write(tmp_path / f"a{n}") for n in range(2)]
    found = verify_files(before, after, [], Wish(), now=AFTER, say=str)
    assert (found["before"]["form"], found["before"]["samples"]) == ("windows", 16)


def test_bundles_without_a_prometheus_are_one_run_each(tmp_path: Path) -> None:
    def scraped(made: Made, name: str) -> str:
        bundle = made.bundle()
        (window,) = bundle.of("prometheus")
        texts: dict[float, list[str]] = {}
        for one in json.loads(window.body or "")["data"]["result"]:
            labels = {key: value for key, value in one["metric"].items() if key not in ("__name__", "instance", "job")}
            inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
            for time, value in one["values"][-2:]:
                texts.setdefault(time, []).append(f"{one['metric']['__name__']}{{{inside}}} {value}")
        answers = [
            Answer("exposition", "/metrics", time, INSTANCE, "\n".join(texts[time]) + "\n") for time in sorted(texts)
        ]
        write_bundle(tmp_path / name, replace(bundle, answers=(*answers, *bundle.answers[1:])))
        return str(tmp_path / name)

    before = [scraped(Made(end=BEFORE + n * 100, seed=n, minutes=2), f"b{n}") for n in range(8)]
    after = [scraped(Made(end=AFTER + n * 100, seed=n + 20, minutes=2, latency=0.003), f"a{n}") for n in range(8)]
    found = verify_files(before, after, [], Wish(), now=AFTER, say=str)
    assert (found["before"]["form"], found["before"]["samples"]) == ("runs", 8)
    assert found["load"]["state"] == "comparable"
    assert found["verdict"]["state"] == "improved"
    found = verify_files(before[:1], after[:1], [], Wish(), now=AFTER, say=str)
    assert found["verdict"]["state"] == "inconclusive"
    assert "counts as one run" in found["before"]["notes"][0]


# The ledger


def test_a_patch_that_was_applied_in_between_is_matched_told_and_recorded(tmp_path: Path) -> None:
    ledger = FakeLedger(application(BEFORE + 3600))
    config = '[wal]\nsync_mode = "batch"\n'
    found = verified(tmp_path, Made(), Made(end=AFTER, latency=0.005, config=config, seed=2), ledger=ledger)
    assert found["application"]["id"] == 7
    assert found["application"]["recorded"]
    predicted = figure(found, "op.latency.p99", operation="store")["predicted"]
    assert (predicted["outcome"], predicted["text"]) == ("as predicted", "3 ms to 6 ms")
    assert found["also_changed"] == []
    (told,) = [one for one in ledger.realised if one.rule]
    assert (told.application, told.verdict, told.predicted_low) == (7, "improved", 0.003)
    assert told.after == pytest.approx(0.005, rel=0.2)


@pytest.mark.parametrize(
    ("latency", "outcome"), [(0.0018, "more than predicted"), (0.0075, "less than predicted"), (0.02, "the other way")]
)
def test_how_it_turned_out_is_said(tmp_path: Path, latency: float, outcome: str) -> None:
    ledger = FakeLedger(application(BEFORE + 3600))
    found = verified(tmp_path, Made(), Made(end=AFTER, latency=latency, seed=2), ledger=ledger)
    assert figure(found, "op.latency.p99", operation="store")["predicted"]["outcome"] == outcome


@pytest.mark.parametrize(
    "ledger",
    [
        FakeLedger(),
        FakeLedger(application(BEFORE - 60)),
        FakeLedger(application(AFTER + 60)),
        FakeLedger(rolled_back(application(BEFORE + 60))),
    ],
)
def test_a_patch_of_another_time_or_one_undone_is_not_matched(tmp_path: Path, ledger: FakeLedger) -> None:
    found = verified(tmp_path, Made(), Made(end=AFTER, seed=2), ledger=ledger)
    assert found["application"] is None
    assert ledger.realised == []


def test_no_record_leaves_the_ledger_alone(tmp_path: Path) -> None:
    ledger = FakeLedger(application(BEFORE + 3600))
    found = verified(tmp_path, Made(), Made(end=AFTER, seed=2), Wish(record=False), ledger=ledger)
    assert not found["application"]["recorded"]
    assert ledger.realised == []


def test_a_ledger_that_cannot_be_written_is_said_and_costs_nothing_else(tmp_path: Path) -> None:
    ledger = FakeLedger(application(BEFORE + 3600), broken=True)
    found = verified(tmp_path, Made(), Made(end=AFTER, latency=0.004, seed=2), ledger=ledger)
    assert found["verdict"]["state"] == "improved"
    assert not found["application"]["recorded"]
    assert "No space left" in found["said"][0]
