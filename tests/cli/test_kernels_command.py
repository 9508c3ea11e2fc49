"""What a host attains, as an operator asks for it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from engram_diagnose.attaining.record import read_record, write_record
from engram_diagnose.cli import group, main
from engram_diagnose.collectors.capture.machine import host_identity
from engram_diagnose.kernels.measure import noise, suite
from engram_diagnose.kernels.measure.measurement import Measurement

sys.path.append(str(Path(__file__).parent.parent / "attaining"))
from made_record import whole
from tiny import tiny_pack

Json = dict[str, Any]
HERE = host_identity().id


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ENGRAM_DIAGNOSE_SETTINGS", "")
    return tmp_path / "state"


@pytest.fixture
def pack(tmp_path: Path) -> str:
    return str(tiny_pack(tmp_path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["kernels", *arguments])


def code_of(*arguments: str) -> int:
    """The exit code where errors are printed, as the installed program prints them."""
    with pytest.raises(SystemExit) as left:
        main(["kernels", *arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


def kept() -> Json:
    found = read_record(HERE)
    assert found is not None
    return found


def kept_here() -> None:
    write_record({**whole(), "host": HERE})


# --- A real run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Result, Json]:
    """One real run of three parts, in a fraction of a second once they are compiled."""
    folder = tmp_path_factory.mktemp("measured")
    environment = {"ENGRAM_DIAGNOSE_STATE": str(folder / "state"), "ENGRAM_DIAGNOSE_SETTINGS": ""}
    done = CliRunner(env=environment).invoke(
        group, ["kernels", "sharing", "peak", "wal", "--data-dir", str(folder), "--although-busy", "--format", "json",
                "--rules", str(tiny_pack(folder))],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return done, json.loads(done.stdout)


@pytest.mark.slow
def test_what_was_measured_is_printed_as_the_schema_says(measured: tuple[Result, Json], root: Path) -> None:
    _, record = measured
    schema = json.loads((root / "rules" / "schema" / "attained-v1.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(record)
    assert [part["name"] for part in record["parts"]] == ["noise", "peak", "sharing", "wal"]
    assert all(part["measurements"] or part["unmeasured"] for part in record["parts"])
    assert all(part["expires_at"] - part["measured_at"] == pytest.approx(30 * 86400) for part in record["parts"])


@pytest.mark.slow
def test_nothing_but_the_record_is_left_in_the_data_directory(pack: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    assert run("wal", "--data-dir", str(data), "--although-busy", "--rules", pack).exit_code == 0
    assert list(data.iterdir()) == []
    assert [part["name"] for part in kept()["parts"]] == ["noise", "wal"]


@pytest.mark.slow
def test_without_a_data_directory_durable_writes_say_what_they_need(pack: str) -> None:
    done = run("wal", "--although-busy", "--rules", pack)
    assert done.exit_code == 3  # of what was asked for, nothing could be measured
    assert "no folder was named to write in" in " ".join(done.stdout.split())
    assert "--data-dir" in done.stdout


@pytest.mark.slow
def test_a_later_run_of_one_part_keeps_the_figures_of_the_others(pack: str) -> None:
    kept_here()
    assert run("wal", "--although-busy", "--rules", pack, "--data-dir", os.fspath(Path.cwd())).exit_code == 0
    names = [part["name"] for part in kept()["parts"]]
    assert sorted(names) == sorted(part["name"] for part in whole()["parts"])
    shown = run("--show").stdout
    assert "SIMILARITY" in shown
    assert "append fsync" in shown


# --- What ends it early ---------------------------------------------------------------------------


def quick(monkeypatch: pytest.MonkeyPatch, measure: Callable[[suite.Part, Any], list[Any]]) -> None:
    """Parts that measure nothing, on a host of which the gate says nothing."""
    monkeypatch.setattr(noise, "gate", lambda *_, **__: noise.Gate("", (), ()))
    monkeypatch.setattr(suite.Part, "measure", measure)


def test_what_was_measured_before_ctrl_c_is_kept(monkeypatch: pytest.MonkeyPatch, pack: str) -> None:
    def measure(part: suite.Part, _: object) -> list[Measurement]:
        if part.name == "latency":
            raise KeyboardInterrupt
        return [Measurement("stream.copy", "B/s", (1e9,), "higher", "stable")]

    quick(monkeypatch, measure)
    done = run("--rules", pack)
    assert done.exit_code == 1
    assert "interrupted; kept is what was measured until then: stream" in done.stderr
    assert [part["name"] for part in kept()["parts"]] == ["noise", "stream"]


def test_a_busy_host_is_refused_and_its_record_stays(monkeypatch: pytest.MonkeyPatch, pack: str,
                                                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    kept_here()
    monkeypatch.setattr(noise, "gate", lambda *_, **__: noise.Gate("others use 40 % of the CPUs", (), ()))
    assert code_of("cores", "--rules", pack) == 3
    assert capsys.readouterr().err == (
        "engram-diagnose: not measured: others use 40 % of the CPUs; wait until it is idle, or give --although-busy\n"
    )
    assert kept()["parts"] == whole()["parts"]


def test_without_a_compiler_there_is_a_sentence_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert code_of("stream") == 3
    said = capsys.readouterr().err
    assert said.startswith("engram-diagnose: cannot measure: numba cannot be imported")
    assert "install engram-diagnose on such a system" in said
    assert said.count("\n") == 1


def test_a_record_that_cannot_be_kept_is_said_and_printed(
    monkeypatch: pytest.MonkeyPatch, pack: str, state: Path
) -> None:
    state.write_text("a file where the folder should be")
    quick(monkeypatch, lambda *_: [Measurement("cores.typical", "s", (1e-7,), "lower", "stable")])
    done = run("cores", "--rules", pack)
    assert done.exit_code == 0
    assert "note: cannot" in done.stderr
    assert "typical" in done.stdout


# --- Usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sream"], "'stream'"),
        (["hnsw", "--recall", "95"], "write 95% or 0.95"),
        (["--recall", "95%"], "engram-diagnose kernels hnsw"),
        (["stream", "--vectors", "v.npy"], "engram-diagnose kernels hnsw"),
        (["hnsw", "--vectors", "v.npy", "-o", "v.npy"], "would be lost"),
    ],
)
def test_wrong_usage_is_said_with_what_to_write(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_a_data_directory_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("wal", "--data-dir", str(tmp_path / "gone")) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_help_lists_every_part() -> None:
    said = run("--help").output
    assert all(f"  {part.name}  " in said for part in suite.PARTS)


@pytest.mark.parametrize("arguments", [["--help"], ["--show"], ["--show", "--format", "html"]])
def test_neither_help_nor_show_imports_a_compiler(arguments: list[str]) -> None:
    kept_here()
    code = f"""
import sys
from engram_diagnose.cli import main
try:
    main({["kernels", *arguments]!r})
except SystemExit as left:
    assert left.code == 0
print("IMPORTED", *sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not set(printed.rpartition("IMPORTED")[2].split()) & {"numba", "numpy", "llvmlite"}


# --- What was kept --------------------------------------------------------------------------------


def test_nothing_to_show_is_said_with_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--show") == 3
    assert "run `engram-diagnose kernels`" in capsys.readouterr().err


def test_a_damaged_record_is_said_with_the_next_step(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = state / "kernels" / f"{HERE}.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": "engram-diagnose/attained/v1", "host": "f00d", "parts": [{}]}')
    assert code_of("--show") == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert "remove it, and measure again" in said


def test_what_was_kept_is_shown_in_every_format(tmp_path: Path) -> None:
    kept_here()
    assert json.loads(run("--show", "--format", "json").stdout) == {**whole(), "host": HERE}
    assert run("--show").stdout.startswith("WHAT THIS HOST ATTAINS  Made-up CPU 9000")
    page = tmp_path / "attained.html"
    assert run("--show", "--format", "html", "-o", str(page)).output == ""
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_parts_that_are_named_are_shown_alone() -> None:
    kept_here()
    document = json.loads(run("--show", "peak", "--format", "json").stdout)
    assert [part["name"] for part in document["parts"]] == ["noise", "peak"]
    assert run("--show", "wal").exit_code == 3  # nothing of it was measured


def test_a_terminal_without_utf_8_gets_ascii() -> None:
    kept_here()
    done = subprocess.run(
        [sys.executable, "-c", "from engram_diagnose.cli import main; main()", "kernels", "--show"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}, check=True,
    )  # fmt: skip
    assert done.stdout.isascii()
    assert re.search(rb"[-_']{20}", done.stdout)
