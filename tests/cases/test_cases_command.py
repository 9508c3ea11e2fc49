"""`cases list`, `score` and `fit`, as somebody types them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.cases.made import label, moved

from engram_diagnose.cases.corpus import keep
from engram_diagnose.cases.label import HEALTHY
from engram_diagnose.cli import group, main
from engram_diagnose.collectors.bundle import content_digest
from engram_diagnose.engine.language.loader import load
from engram_diagnose.incidents import example_incident
from engram_diagnose.rulebase import builtin_files

FAMILIES = ("log", "tiers", "threads", "completion", "disk", "index search", "locks", "simd")


def ran(*arguments: str) -> Result:
    """What the command does."""
    return CliRunner().invoke(group, ["cases", *arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight cases of the example incident, a third of them labelled with what it does not show."""
    place = tmp_path_factory.mktemp("corpus")
    bundle = example_incident()
    for number in range(48):
        own = replace(bundle, time=bundle.time + 1e-3 * number)
        family, shape = FAMILIES[number % 8], ("1-core", "2-cores", "4-cores")[number // 8 % 3]
        causes = (("host.noisy-neighbour",),) if number % 3 == 0 else (("storage.wal-write-amplification",),)
        name = f"case-{number:03d}"
        made = moved(label(name, causes=causes, families=(family,), shape=shape), digest=content_digest(own))
        if number == 47:
            made = moved(made, causes=(), families=(HEALTHY,), faults=())
        keep(place, made, own)
    return place


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The limits as they are shipped, but that a dozen cases are enough."""
    shipped = builtin_files()["rules/catalogue/cases.yaml"].decode()
    assert "    is: 60\n" in shipped
    place = tmp_path_factory.mktemp("limits") / "cases.yaml"
    place.write_text(shipped.replace("    is: 60\n", "    is: 12\n"))
    return place


def test_the_list_says_on_which_side_each_case_stands(folder: Path) -> None:
    found = ran("list", str(folder))
    assert found.exit_code == 0
    assert "48 cases" in found.output
    places = {row["place"] for row in json.loads(ran("list", str(folder), "--format", "json").output)}
    assert places == {"train", "new family", "new host", "new family and host"}


def test_the_score_tells_shares_with_counts_and_intervals(folder: Path) -> None:
    found = ran("score", str(folder), "--format", "json")
    assert found.exit_code == 0
    document = json.loads(found.stdout)
    held = document["sides"]["held-out"]
    assert held["first"]["part"] / held["first"]["whole"] == pytest.approx(2 / 3, abs=0.1)
    assert held["first"]["low"] < held["first"]["share"] < held["first"]["high"]
    assert document["confidence"] == "uncalibrated"
    assert sum(side["cases"] for name, side in document["sides"].items() if name != "all") == 48
    assert all(len(line) <= 100 for line in ran("score", str(folder)).stdout.splitlines() if "first:" not in line)


def test_a_score_is_the_same_each_time(folder: Path) -> None:
    assert ran("score", str(folder), "--format", "markdown").stdout == ran(
        "score", str(folder), "--format", "markdown"
    ).stdout  # fmt: skip


def test_a_fit_is_a_file_that_the_engine_reads_with_where_it_comes_from(
    folder: Path, lenient: Path, tmp_path: Path
) -> None:
    path = tmp_path / "calibration.yaml"
    found = ran("fit", str(folder), "--date", "2026-11-22", "--output", str(path), "--rules", str(lenient))
    assert found.exit_code == 0, found.output
    loaded = load(builtin_files(), [{"calibration.yaml": path.read_bytes()}])
    assert loaded.warnings == ()
    calibration = loaded.scales.calibration
    assert calibration is not None
    assert calibration.told == f"calibrated on {calibration.cases} lab cases"
    told = yaml.safe_load(path.read_text())["fit"]["provenance"]
    assert told["corpus"].startswith("sha256:")
    assert told["train"]["cases"] == calibration.cases
    assert told["held_out"]["after"]["brier"] < told["held_out"]["before"]["brier"]
    assert not set(told["train"]["hosts"]) & {"2-cores"}
    again = tmp_path / "again.yaml"
    ran("fit", str(folder), "--date", "2026-11-22", "--output", str(again), "--rules", str(lenient))
    assert again.read_bytes() == path.read_bytes()
    scored = json.loads(ran("score", str(folder), "--format", "json", "--rules", str(path)).stdout)
    assert scored["confidence"] == calibration.told
    brier = scored["sides"]["held-out"]["brier"]["score"]
    assert brier == pytest.approx(told["held_out"]["after"]["brier"], abs=1e-3)


def test_a_fit_wants_a_day_and_enough_cases(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--date is a day" in ran("fit", str(folder), "--date", "today").output
    few = tmp_path / "few"
    keep(few, moved(label("one"), digest=content_digest(example_incident())), example_incident())
    with pytest.raises(SystemExit) as ended:
        main(["cases", "fit", str(few), "--date", "2026-11-22"])
    assert ended.value.code == 2
    assert "are needed" in capsys.readouterr().err


@pytest.mark.parametrize("made", ["nothing", "file"])
def test_a_folder_without_cases_says_how_to_make_some(
    made: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if made == "file":
        (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SystemExit) as ended:
        main(["cases", "score", str(tmp_path)])
    assert ended.value.code == 2
    assert "engram-diagnose cases make" in capsys.readouterr().err


def test_a_case_that_no_rule_could_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = moved(
        label("lost", causes=(("storage.wal-write-amplificaton",),)), digest=content_digest(example_incident())
    )
    keep(tmp_path, lost, example_incident())
    with pytest.raises(SystemExit):
        main(["cases", "score", str(tmp_path)])
    assert "there is no rule storage.wal-write-amplificaton" in capsys.readouterr().err


def test_hosts_are_numbers_of_this_machines_cores(tmp_path: Path) -> None:
    found = ran("make", str(tmp_path), "--hosts", "0,99999")
    assert found.exit_code == 2
    assert "--hosts lists numbers of cores between 1 and" in found.output
