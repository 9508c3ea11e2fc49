"""`verify` and `baseline` as they are typed: what is printed, and how they end."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from made_sides import AFTER, BEFORE, Made, application, interleaved

from engram_diagnose.cli import group
from engram_diagnose.cli import main as run_main
from engram_diagnose.history.ledger import ledger_path, open_ledger

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "rules" / "schema" / "verification-v1.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(folder))
    monkeypatch.setenv("ENGRAM_DIAGNOSE_SETTINGS", "")
    monkeypatch.setenv("COLUMNS", "80")
    return folder


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        run_main(list(arguments))
    out, err = capsys.readouterr()
    return Said(int(end.value.code or 0), out, err)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    made = {
        "before": Made(),
        "better": Made(end=AFTER, latency=0.004, seed=2),
        "worse": Made(end=AFTER, latency=0.02, seed=2),
        "same": Made(end=AFTER, seed=2),
        "idle": Made(end=AFTER, rate=300, latency=0.004, seed=2),
    }
    return {name: one.write(tmp_path / f"{name}.bundle") for name, one in made.items()}


@pytest.mark.parametrize(
    ("after", "label", "codes"),
    [("better", "IMPROVED", {0}), ("worse", "WORSE", {1}), ("idle", "NOT COMPARABLE", {4}),
     ("same", "", {0, 4})],
)  # fmt: skip
def test_the_verdict_stands_first_and_is_the_exit_code(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], after: str, label: str, codes: set[int]
) -> None:
    said = typed(capsys, "verify", "--before", files["before"], "--after", files[after])
    assert said.code in codes, said.err
    assert said.out.startswith(label)
    order = [said.out.index(word) for word in ("LOAD", "FIGURES", "NEXT")]
    assert order == sorted(order)


def test_the_text_fits_a_terminal_of_eighty_columns(capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    said = typed(capsys, "verify", "--before", files["before"], "--after", files["better"])
    plain = [line for line in said.out.splitlines() if "/" not in line]
    assert max(map(len, plain)) <= 80
    assert "op.latency.p99{operation=store}" in said.out
    assert "intervals at" in said.out


@pytest.mark.parametrize("columns", ["20", "40", "59"])
def test_a_narrow_terminal_loses_nothing(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("verify", "--before", files["before"], "--after", files["better"])
    wide = typed(capsys, *arguments).out
    monkeypatch.setenv("COLUMNS", columns)
    narrow = typed(capsys, *arguments).out
    assert max(map(len, narrow.splitlines())) <= int(columns)
    assert "".join(narrow.split()).replace(":", "").count("improved") == "".join(wide.split()).count("improved")


def test_json_is_what_its_schema_says_and_the_same_each_time(
    capsys: pytest.CaptureFixture[str], files: dict[str, str]
) -> None:
    arguments = ("verify", "--before", files["before"], "--after", files["better"], "--format", "json")
    said = typed(capsys, *arguments)
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(json.loads(said.out))
    assert typed(capsys, *arguments).out == said.out


def test_markdown_is_a_table_of_the_figures(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "report.md"
    said = typed(capsys, "verify", "--before", files["before"], "--after", files["worse"], "--format", "markdown",
                 "--output", str(target))  # fmt: skip
    assert (said.code, said.out) == (1, "")
    text = target.read_text(encoding="utf-8")
    assert text.startswith("# WORSE")
    assert "| worse | `op.latency.p99{operation=store}` |" in text


def test_benchmarks_are_told_by_their_content(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "result"
    file.write_text(json.dumps(interleaved(0.010, 0.006)), encoding="utf-8")
    said = typed(capsys, "verify", "--before", str(file), "--after", str(file))
    assert (said.code, said.out[:8]) == (0, "IMPROVED"), said.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--before", "{before}"], 2, "--after"),
        (["--before", "{before}", "--after", "gone"], 3, "cannot read gone"),
        (["--before", "{before}", "--after", "{better}", "--figure", "op.latency.p98"], 2, "did you mean"),
        (["--before", "{better}", "--after", "{before}"], 3, "turned round"),
        (["--before", "90m/60m", "--after", "30m/soon", "--prometheus", "http://127.0.0.1:1"], 2, "is no time"),
        (["--before", "90m/60m", "--after", "30m/10m"], 2, "--prometheus"),
        (["--before", "90m/60m", "--after", "70m/10m", "--prometheus", "http://127.0.0.1:1"], 2, "overlap"),
        (["--before", "60m/90m", "--after", "30m/10m", "--prometheus", "http://127.0.0.1:1"], 2, "ends before"),
        (["--before", "90m/60m", "--after", "{better}", "--prometheus", "http://127.0.0.1:1"], 2, "of one kind"),
        (["--before", "90m/60m", "--after", "30m/10m", "--prometheus", "http://127.0.0.1:1"], 3, "127.0.0.1:1"),
        (["--before", "{before}", "--after", "{better}", "--output", "/nowhere/x"], 2, "cannot write"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], arguments: Sequence[str], code: int, says: str
) -> None:
    said = typed(capsys, "verify", *(text.format(**files) for text in arguments))
    assert said.code == code, said.err
    assert says in said.err
    assert "Traceback" not in said.err


def test_a_patch_in_the_ledger_is_told_and_recorded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, state: Path
) -> None:
    state.mkdir()
    with open_ledger() as ledger:
        ledger.mark(ledger.intend(application(BEFORE + 3600)), "applied")
    before = Made().write(tmp_path / "before.bundle")
    batch = '[wal]\nsync_mode = "batch"\n'
    after = Made(end=AFTER, latency=0.005, config=batch, seed=2).write(tmp_path / "after.bundle")
    said = typed(capsys, "verify", "--before", before, "--after", after)
    assert "predicted 3 ms to 6 ms (storage.wal-write-amplification): as predicted" in " ".join(said.out.split())
    assert "THE PATCH" in said.out
    with open_ledger() as ledger:
        (found,) = ledger.realised(rule="storage.wal-write-amplification")
    assert (found.verdict, found.predicted_high) == ("improved", 0.006)


def test_without_a_ledger_none_is_made(capsys: pytest.CaptureFixture[str], files: dict[str, str], state: Path) -> None:
    said = typed(capsys, "verify", "--before", files["before"], "--after", files["better"])
    assert (said.code, said.err) == (0, "")
    assert not state.exists()


def test_a_ledger_that_cannot_be_opened_costs_nothing_else(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], state: Path
) -> None:
    state.mkdir()
    ledger_path().write_bytes(b"no database at all, and long enough to be looked at " * 100)
    said = typed(capsys, "verify", "--before", files["before"], "--after", files["better"])
    assert (said.code, said.out[:8]) == (0, "IMPROVED")
    assert "the ledger cannot be opened" in said.err


# Baselines


def test_a_baseline_is_saved_listed_compared_and_used_by_run(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], state: Path
) -> None:
    assert typed(capsys, "baseline", "save", "good", "--bundle", files["before"]).code == 0
    assert (state / "baselines" / "good.bundle").is_file()
    listed = typed(capsys, "baseline", "list")
    assert listed.out.split()[0] == "good"
    assert "db1:7432" in listed.out
    worse = typed(capsys, "baseline", "compare", "good", "--bundle", files["worse"])
    assert (worse.code, worse.out[:9]) == (1, "REGRESSED"), worse.err
    assert "may rise by 20 %" in worse.out
    assert typed(capsys, "baseline", "compare", "good", "--bundle", files["same"]).code == 0
    diagnosis = typed(capsys, "run", "--bundle", files["worse"], "--baseline", "good", "--format", "json")
    assert "symptom.p99-regressed" in {one["rule"] for one in json.loads(diagnosis.out)["symptoms"]}


@pytest.mark.parametrize("form", ["json", "markdown"])
def test_a_comparison_with_a_baseline_has_every_format(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], form: str
) -> None:
    said = typed(capsys, "baseline", "compare", files["before"], "--bundle", files["worse"], "--format", form)
    assert said.code == 1
    if form == "json":
        Draft202012Validator(SCHEMA).validate(json.loads(said.out))
    else:
        assert said.out.startswith("# REGRESSED")


def test_a_baseline_is_not_replaced_unless_told(capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    save = ("baseline", "save", "good", "--bundle")
    assert typed(capsys, *save, files["before"]).code == 0
    again = typed(capsys, *save, files["same"])
    assert (again.code, "--replace" in again.err) == (2, True)
    assert typed(capsys, *save, files["same"], "--replace").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["save", "../x", "--bundle", "{before}"], "no name"),
        (["save", "a/b", "--bundle", "{before}"], "no name"),
        (["save", ".x", "--bundle", "{before}"], "no name"),
        (["save", "--bundle", "{before}"], "NAME, or --output"),
        (["save", "x", "--output", "y", "--bundle", "{before}"], "not both"),
        (["compare", "nobody", "--bundle", "{before}"], "no baseline of that name"),
        (["save", "x", "--bundle", "{before}", "--prometheus", "http://x"], "no effect beside --bundle"),
    ],
)
def test_wrong_usage_of_baselines_is_said(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], arguments: Sequence[str], says: str
) -> None:
    said = typed(capsys, "baseline", *(text.format(**files) for text in arguments))
    assert (said.code, says in said.err) == (2, True), said.err


def test_a_state_folder_that_cannot_be_made_is_said(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "file" / "below"))
    said = typed(capsys, "baseline", "save", "good", "--bundle", files["before"])
    assert said.code == 2
    assert "ENGRAM_DIAGNOSE_STATE" in said.err


def test_a_baseline_file_that_is_broken_is_listed_as_such(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    (state / "baselines").mkdir(parents=True)
    (state / "baselines" / "torn.bundle").write_bytes(b"\x1f\x8b torn")
    said = typed(capsys, "baseline", "list")
    assert said.code == 0
    assert "torn" in said.out


def test_every_command_has_its_help() -> None:
    for arguments in (["verify"], ["baseline"], ["baseline", "save"], ["baseline", "compare"], ["baseline", "list"]):
        found: Any = CliRunner().invoke(group, [*arguments, "--help"])
        assert found.exit_code == 0
        assert len(found.output) > 100
    assert BEFORE < AFTER
