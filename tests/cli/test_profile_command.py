"""The deep look as an operator types it, at a live process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engram_diagnose.cli import group
from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.profiling import SECTIONS
from engram_diagnose.rulebase import load_rules

BUSY = "import threading\nthreading.Thread(target=lambda: sum(iter(int, 1)), daemon=True).start()\nsum(iter(int, 1))"
COMMAND = (sys.executable, "-c", "from engram_diagnose.cli import main; main()", "profile")


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    yield process
    process.kill()
    process.wait()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["profile", *arguments])


@pytest.mark.slow
def test_a_busy_process_is_looked_at_and_everything_is_written(busy, tmp_path):
    folder = tmp_path / "made" / "here"
    done = subprocess.run([*COMMAND, "--pid", str(busy.pid), "--seconds", "2", "-d", str(folder)],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for title in ("bottlenecks", *SECTIONS, "cost"):
        assert re.search(rf"^{title}\b", done.stdout, re.IGNORECASE | re.MULTILINE), title
    assert re.search(r"^   cpu\.process_cores +\d", done.stdout, re.MULTILINE)
    assert {"profile.bundle", "report.md", "report.html"} <= set(os.listdir(folder))
    again = run("--bundle", str(folder / "profile.bundle"))
    assert again.output == done.stdout
    wide = [line for line in done.stdout.splitlines() if len(line) > 80]
    assert wide == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_look_leaves_nothing_behind(busy, tmp_path, how):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    folder = tmp_path / "files"
    command = [*COMMAND, "--pid", str(busy.pid), "--seconds", "30", "-d", str(folder)]
    looking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "TMPDIR": str(scratch)})  # fmt: skip
    time.sleep(4)
    looking.send_signal(how)
    _, said = looking.communicate(timeout=30)
    assert looking.returncode not in (0, None)
    assert b"Traceback" not in said
    assert os.listdir(scratch) == []
    assert not folder.exists()
    assert not [line for line in _commands() if "perf" in line and str(busy.pid) in line]


def test_who_reads_no_further_still_gets_the_files(busy, tmp_path):
    folder = tmp_path / "files"
    command = [*COMMAND, "--pid", str(busy.pid), "--seconds", "1", "-d", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as looking:
        assert looking.stdout is not None
        looking.stdout.close()
    assert (folder / "profile.bundle").exists()


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def test_a_folder_that_is_not_empty_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "there").write_text("x")
    done = run("--pid", "1", "-d", str(tmp_path))
    assert done.exit_code != 0
    assert "is not empty" in done.output


def test_a_folder_that_cannot_be_made_is_said_with_the_next_step(tmp_path):
    (tmp_path / "file").write_text("x")
    done = run("--pid", "1", "-d", str(tmp_path / "file" / "folder"))
    assert done.exit_code != 0
    assert "name another --directory" in done.output


def test_where_the_process_is_gone_the_files_say_so(tmp_path):
    folder = tmp_path / "files"
    done = run("--pid", "4194304", "-d", str(folder))
    assert done.exit_code == 3
    assert "there is no process 4194304" in done.output
    assert sorted(path.name for path in folder.iterdir()) == ["profile.bundle", "report.html", "report.md"]


def test_wrong_use_leaves_no_folder(tmp_path):
    folder = tmp_path / "files"
    done = run("--config", str(tmp_path / "nowhere.toml"), "-d", str(folder))
    assert done.exit_code == 2
    assert "there is no file" in done.output
    assert not folder.exists()


def test_a_bundle_without_a_profile_shows_what_it_has():
    bundle = Path(__file__).parents[2] / "src/engram_diagnose/incidents/wal-write-amplification.bundle"
    done = run("--bundle", str(bundle))
    assert done.exit_code == 0
    assert "storage.wal-write-amplification" in done.output
    assert "op.rate{operation=store}" in done.output
    assert "op.rate{operation=store, space=default}" not in done.output  # it says the same
    document = json.loads(run("--bundle", str(bundle), "--format", "json").output)
    assert [section["title"] for section in document["sections"]] == list(SECTIONS)
    assert document["functions"] == []
    assert read_bundle(str(bundle)).dialect == document["diagnosis"]["subject"]["dialect"]


def test_every_fact_of_the_sections_is_in_the_catalogue():
    catalogue = load_rules().catalogue
    unknown = [name for names in SECTIONS.values() for name in names if catalogue.spec(name) is None]
    assert unknown == []
