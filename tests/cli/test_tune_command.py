"""`tune` as an operator runs it: preview, apply, keep, roll back, look back, and what it refuses."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from engram_diagnose.collectors.bundle import read_bundle, write_bundle

EXAMPLE = "src/engram_diagnose/incidents/wal-write-amplification.bundle"
PROGRAM = (sys.executable, "-c", "from engram_diagnose.cli import main; main()")
BEFORE = """\
# my server
[storage]
hot_tier_size_mb = 512   # small

[wal]
buffer_size_mb = 4
flush_interval_ms = 10
sync_mode = "immediate"  # safe
"""
AFTER = (
    BEFORE.replace("buffer_size_mb = 4", "buffer_size_mb = 64")
    .replace("flush_interval_ms = 10", "flush_interval_ms = 1000")
    .replace('"immediate"', '"batch"')
)
Done = subprocess.CompletedProcess[str]
Tune = Callable[..., Done]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "engram.toml"
    path.write_text(BEFORE, encoding="utf-8")
    return path


@pytest.fixture
def bundle(root: Path) -> str:
    return str(root / EXAMPLE)


@pytest.fixture
def tune(tmp_path: Path) -> Tune:
    environment = {
        **os.environ,
        "ENGRAM_DIAGNOSE_SETTINGS": "",
        "ENGRAM_DIAGNOSE_STATE": str(tmp_path / "state"),
        "COLUMNS": "80",
    }

    def run(*arguments: object, stdin: str = "") -> Done:
        done = subprocess.run([*PROGRAM, "tune", *map(str, arguments)], capture_output=True, text=True, timeout=60,
                              env=environment, check=False, input=stdin, cwd=tmp_path)  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    return run


def backups(folder: Path) -> list[Path]:
    return sorted(folder.glob("engram.toml.backup-*"))


def test_a_preview_shows_the_patch_and_writes_nothing(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    done = tune("--bundle", bundle, "--config", config)
    assert done.returncode == 0
    assert '-sync_mode = "immediate"  # safe' in done.stdout
    assert '+sync_mode = "batch"  # safe' in done.stdout
    assert config.read_text(encoding="utf-8") == BEFORE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engram.toml"]


def test_a_preview_fits_eighty_columns_but_for_queries(tune: Tune, bundle: str, config: Path) -> None:
    printed = tune("--bundle", bundle, "--config", config).stdout.splitlines()
    wide = [line for line in printed if len(line) > 80]
    assert all("engram_" in line or "up{" in line or line[:3] in ("---", "+++") for line in wide)


def test_applied_and_rolled_back_the_file_is_what_it_was(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    config.chmod(0o640)
    done = tune("--bundle", bundle, "--config", config, "--apply")
    assert done.returncode == 0
    assert "nothing was restarted" in done.stderr
    assert config.read_text(encoding="utf-8") == AFTER
    assert config.stat().st_mode & 0o777 == 0o640
    assert [path.read_text(encoding="utf-8") for path in backups(tmp_path)] == [BEFORE]
    assert tune("--rollback", "--config", config).returncode == 0
    assert config.read_text(encoding="utf-8") == BEFORE
    assert config.stat().st_mode & 0o777 == 0o640


def test_a_kept_patch_is_applied_later(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    kept = tmp_path / "store.patch"
    assert tune("--bundle", bundle, "--config", config, "--output", kept).returncode == 0
    assert config.read_text(encoding="utf-8") == BEFORE
    assert tune("--apply", "--patch", kept).returncode == 0
    assert config.read_text(encoding="utf-8") == AFTER
    again = tune("--apply", "--patch", kept)
    assert (again.returncode, "nothing was written" in again.stderr) == (0, True)


def test_a_kept_patch_is_one_that_patch_understands(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    kept = tmp_path / "store.patch"
    tune("--bundle", bundle, "--config", config, "--output", kept)
    tool = subprocess.run(["patch", "--quiet", str(config), str(kept)], check=False, capture_output=True)
    assert tool.returncode == 0
    assert config.read_text(encoding="utf-8") == AFTER


def test_the_history_tells_what_was_applied_and_undone(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    assert "empty" in tune("--history").stdout
    kept = tmp_path / "store.patch"
    tune("--bundle", bundle, "--config", config, "--output", kept)
    tune("--apply", "--patch", kept, "--config", config)
    assert "wal.flush_interval_ms: 10 ms -> 1,000 ms" in tune("--history").stdout
    tune("--rollback", "--config", config)
    found = json.loads(tune("--history", "--format", "json").stdout)
    assert [entry["state"] for entry in found["applications"]] == ["rolled back"]


def test_what_was_applied_and_not_measured_since_is_not_advised_again(tune: Tune, bundle: str, config: Path) -> None:
    tune("--bundle", bundle, "--config", config, "--apply")
    again = tune("--bundle", bundle, "--config", config)
    assert "HELD BACK" in again.stdout
    assert "PATCH" not in again.stdout


def test_the_document_keeps_its_schema(tune: Tune, bundle: str, config: Path, root: Path) -> None:
    schema = json.loads((root / "rules/schema/patch-v1.json").read_text(encoding="utf-8"))
    for extra in ((), ("--size", "--workload", "write-heavy"), ("--without", "wal.sync_mode")):
        printed = tune("--bundle", bundle, "--config", config, "--format", "json", *extra).stdout
        jsonschema.Draft202012Validator(schema).validate(json.loads(printed))


def test_keys_can_be_chosen_and_left_out(tune: Tune, bundle: str, config: Path) -> None:
    only = tune("--bundle", bundle, "--config", config, "--only", "wal.sync_mode").stdout
    assert "+sync_mode" in only
    assert "+buffer_size_mb" not in only
    rest = tune("--bundle", bundle, "--config", config, "--without", "config.wal.sync_mode").stdout
    assert "+buffer_size_mb" in rest
    assert "+sync_mode" not in rest
    wrong = tune("--bundle", bundle, "--config", config, "--only", "wal.sync")
    assert (wrong.returncode, "neither a parameter nor a key" in wrong.stderr) == (2, True)


def test_a_bundle_without_secrets_makes_a_preview_and_no_patch(tune: Tune, bundle: str, tmp_path: Path) -> None:
    original = read_bundle(bundle)
    answers = tuple(one if one.collector != "config" else _masked(one) for one in original.answers)
    masked = tmp_path / "masked.bundle"
    write_bundle(str(masked), type(original)(**{**_fields(original), "answers": answers}))
    assert "without its secrets" in tune("--bundle", masked).stdout
    kept = tune("--bundle", masked, "--output", "x.patch")
    assert (kept.returncode, "give the file itself with --config" in kept.stderr) == (2, True)


def _fields(value: object) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}  # type: ignore[attr-defined]


def _masked(answer: object) -> object:
    fields = _fields(answer)
    return type(answer)(**{**fields, "body": f'{fields["body"]}\n[security]\ntoken = "***"\n'})  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[wal\nbuffer_size_mb = 4\n", "engram.toml:1:5"),
        ("[wal]\nbuffer_size_mb = 4\nbuffer_size_mb = 5\n", "buffer_size_mb"),
        ("wal = 3\n", "engram.toml:1:1"),
    ],
    ids=["broken", "twice", "no table"],
)
def test_a_configuration_that_cannot_be_edited_is_said_with_its_place(
    tune: Tune, bundle: str, config: Path, text: str, said: str
) -> None:
    config.write_text(text, encoding="utf-8")
    done = tune("--bundle", bundle, "--config", config, "--apply", "--size", "--only", "wal.segment_size_mb")
    assert done.returncode == 2
    assert said in done.stderr
    assert config.read_text(encoding="utf-8") == text


def test_a_file_that_is_not_there_is_said(tune: Tune, bundle: str, tmp_path: Path) -> None:
    done = tune("--bundle", bundle, "--config", tmp_path / "none.toml")
    assert (done.returncode, "none.toml" in done.stderr) == (2, True)


def test_a_link_to_elsewhere_is_refused(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    link = folder / "engram.toml"
    link.symlink_to(config)
    done = tune("--bundle", bundle, "--config", link, "--apply")
    assert (done.returncode, str(config) in done.stderr) == (2, True)
    assert config.read_text(encoding="utf-8") == BEFORE


def test_a_file_that_moved_on_is_not_overwritten(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    kept = tmp_path / "store.patch"
    tune("--bundle", bundle, "--config", config, "--output", kept)
    config.write_text(BEFORE + "# mine\n", encoding="utf-8")
    done = tune("--apply", "--patch", kept, "--config", config)
    assert (done.returncode, "moved on" in done.stderr) == (2, True)
    assert config.read_text(encoding="utf-8") == BEFORE + "# mine\n"
    assert json.loads(tune("--history", "--format", "json").stdout)["applications"] == []


def test_an_expired_patch_is_refused(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    kept = tmp_path / "store.patch"
    tune("--bundle", bundle, "--config", config, "--output", kept)
    old = re.sub(r"# expires: \d{4}", "# expires: 2001", kept.read_text(encoding="utf-8"))
    kept.write_text(re.sub(r"# made: \d{4}", "# made: 2001", old), encoding="utf-8")
    done = tune("--apply", "--patch", kept, "--config", config)
    assert (done.returncode, "expired" in done.stderr) == (2, True)


def test_a_patch_that_was_edited_is_refused(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    kept = tmp_path / "store.patch"
    tune("--bundle", bundle, "--config", config, "--output", kept)
    kept.write_text(kept.read_text(encoding="utf-8").replace("+buffer_size_mb = 64", "+buffer_size_mb = 65"),
                    encoding="utf-8")  # fmt: skip
    done = tune("--apply", "--patch", kept, "--config", config)
    assert done.returncode == 2
    assert config.read_text(encoding="utf-8") == BEFORE


@pytest.mark.parametrize(
    "options",
    [
        ("--rollback",),
        ("--rollback", "--history"),
        ("--patch", "x"),
        ("--history", "--bundle", "x"),
        ("--bundle", "x", "--at", "5m"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(tune: Tune, options: tuple[str, ...]) -> None:
    assert tune(*options).returncode == 2


def test_a_ledger_that_cannot_be_written_stops_no_patch(tune: Tune, bundle: str, config: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder", encoding="utf-8")
    done = tune("--bundle", bundle, "--config", config, "--apply")
    assert done.returncode == 0
    assert "without the record" in done.stderr
    assert config.read_text(encoding="utf-8") == AFTER


def test_nothing_to_roll_back_is_said(tune: Tune, config: Path) -> None:
    done = tune("--rollback", "--config", config)
    assert (done.returncode, "nothing to roll back" in done.stderr) == (2, True)


def test_a_patch_never_takes_the_place_of_what_it_is_made_from(tune: Tune, bundle: str, config: Path) -> None:
    done = tune("--bundle", bundle, "--config", config, "--output", config)
    assert (done.returncode, "--output names the file of --config" in done.stderr) == (2, True)
    assert config.read_text(encoding="utf-8") == BEFORE


@pytest.mark.parametrize(
    "idle",
    [("--without", "wal.sync_mode"), ("--only", "x"), ("--output", "x"), ("--size",), ("--format", "json")],
)
def test_nothing_is_ignored_beside_a_kept_patch(
    tune: Tune, bundle: str, config: Path, tmp_path: Path, idle: tuple[str, ...]
) -> None:
    kept = tmp_path / "store.patch"
    tune("--bundle", bundle, "--config", config, "--output", kept)
    done = tune("--apply", "--patch", kept, "--config", config, *idle)
    assert (done.returncode, "has no effect beside --patch" in done.stderr) == (2, True)
    assert config.read_text(encoding="utf-8") == BEFORE


def test_a_wizard_whose_answers_run_out_writes_nothing(tune: Tune, bundle: str, config: Path) -> None:
    done = tune("--bundle", bundle, "--config", config, "--interactive", "--apply", stdin="n\n")
    assert (done.returncode, "nothing was written" in done.stderr) == (2, True)
    assert config.read_text(encoding="utf-8") == BEFORE


def test_a_relative_name_is_the_same_file_in_the_history(tune: Tune, bundle: str, config: Path) -> None:
    assert tune("--bundle", bundle, "--config", "engram.toml", "--apply").returncode == 0
    assert tune("--rollback", "--config", config).returncode == 0
    found = json.loads(tune("--history", "--format", "json").stdout)
    assert [entry["state"] for entry in found["applications"]] == ["rolled back"]
    assert "PATCH" in tune("--bundle", bundle, "--config", config).stdout


def test_another_server_s_file_of_the_same_name_holds_nothing_back(
    tune: Tune, bundle: str, config: Path, tmp_path: Path
) -> None:
    tune("--bundle", bundle, "--config", config, "--apply")
    original = read_bundle(bundle)
    answers = tuple(
        one if one.collector != "config" else type(one)(**{**_fields(one), "name": str(config), "host": "far away"})
        for one in original.answers
    )
    other = tmp_path / "other.bundle"
    write_bundle(str(other), type(original)(**{**_fields(original), "answers": answers, "instance": "db2:7432"}))
    assert "PATCH" in tune("--bundle", other).stdout


def test_a_record_that_was_edited_leaves_the_patch_as_good_as_it_was(
    tune: Tune, bundle: str, config: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "store.patch"
    tune("--bundle", bundle, "--config", config, "--output", kept)
    text = re.sub(r"# record: .*", '# record: ["i","guide",[[1,2,null,"[4.0, 4.0]",null]],[]]', kept.read_text("utf-8"))
    kept.write_text(text, encoding="utf-8")
    assert tune("--apply", "--patch", kept, "--config", config).returncode == 0
    assert config.read_text(encoding="utf-8") == AFTER


@pytest.mark.parametrize("place", ["/dev/zero", "pipe"])
def test_what_is_no_file_is_no_configuration(tune: Tune, bundle: str, tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = tune("--bundle", bundle, "--config", place)
    assert (done.returncode, "is no file" in done.stderr) == (2, True)


def test_a_name_that_would_steer_the_terminal_is_shown_and_does_nothing(tune: Tune, tmp_path: Path) -> None:
    hostile = tmp_path / "esc.patch"
    hostile.write_text("# engram-diagnose patch 1\n", encoding="utf-8")
    assert "\x1b" not in tune("--apply", "--patch", f"{hostile}\x1b]0;x\x07").stderr


def test_values_that_cannot_be_read_are_said(tune: Tune, bundle: str, tmp_path: Path) -> None:
    original = read_bundle(bundle)
    body = '[wal]\nbuffer_size_mb = "4"\nflush_interval_ms = 99999999\n'
    answers = tuple(one if one.collector != "config" else type(one)(**{**_fields(one), "body": body, "detail": ""})
                    for one in original.answers)  # fmt: skip
    wrong = tmp_path / "wrong.bundle"
    write_bundle(str(wrong), type(original)(**{**_fields(original), "answers": answers}))
    printed = " ".join(tune("--bundle", wrong).stdout.split())
    assert "wal.buffer_size_mb: '4' is not a number" in printed
    assert "wal.flush_interval_ms is" in printed
    assert "beyond what advice would set it to" in printed
