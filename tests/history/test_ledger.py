"""The ledger gives back exactly what was put in, loses nothing when it is killed, and says what is wrong with it."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.engine.advice.record import VERDICTS, Application, KeyChange, Prediction, Realised, State
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.facts.scope import DIMENSIONS, INSTANCE, Scope, scope_of
from engram_diagnose.history import Ledger, LedgerError, open_ledger
from engram_diagnose.history.schema import STEPS

STORES = scope_of({"operation": "store", "space": 'a"b\n😀'})
CHANGE = KeyChange("config.wal.sync_mode", "wal.sync_mode", "immediate", "batch", "storage.wal-write-amplification")
BUFFER = KeyChange("config.wal.buffer_size", "wal.buffer_size_mb", None, (67108864.0, 67108864.0), "fit.wal")
PREDICTION = Prediction("op.latency.p99", STORES, "ms", "lower", 0.093, 0.004, 0.02, "storage.wal-write-amplification")
APPLICATION = Application(1_790_000_000.25, "a:7432", "/etc/engram/engram.toml", "sha256:00", "sha256:01", "guide",
                          (CHANGE, BUFFER), (PREDICTION,), "intended", "# a patch\r\n\0\n")  # fmt: skip
FOUND = Realised(0, 1_790_001_000.0, "a:7432", "op.latency.p99", STORES, "storage.wal-write-amplification", "improved",
                 0.093, 0.012, -0.085, -0.078, 0.004, 0.02)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with open_ledger(path) as opened:
        yield opened


# What is kept


def test_an_application_comes_back_as_it_was_with_its_id(ledger: Ledger, path: Path) -> None:
    number = ledger.intend(APPLICATION)
    ledger.close()
    with open_ledger(path) as again:
        assert again.applications() == (replace(APPLICATION, id=number),)


def test_an_intended_patch_is_marked_as_applied_and_rolled_back(ledger: Ledger) -> None:
    number = ledger.intend(replace(APPLICATION, state="applied"))
    states, marks = [ledger.applications()[0].state], get_args(State)
    for state in marks[1:]:
        ledger.mark(number, state)
        states.append(ledger.applications()[0].state)
    assert states == ["intended", "applied", "rolled back"]


def test_findings_come_back_as_they_were_by_rule_and_instance(ledger: Ledger) -> None:
    number = ledger.intend(APPLICATION)
    items = (replace(FOUND, application=number), replace(FOUND, rule=""), replace(FOUND, instance="b:7432"),
             replace(FOUND, verdict="not comparable", before=None, after=None, low=None, high=None,
                     predicted_low=None, predicted_high=None))  # fmt: skip
    ledger.add_realised(items)
    assert ledger.realised() == items
    assert ledger.realised(rule=FOUND.rule, instance="a:7432") == (items[0], items[3])


def test_applications_of_one_instance_are_told_apart(ledger: Ledger) -> None:
    ledger.intend(APPLICATION)
    other = ledger.intend(replace(APPLICATION, instance="b:7432", changes=(), predictions=()))
    assert [one.id for one in ledger.applications("b:7432")] == [other]
    assert len(ledger.applications()) == 2


floats = st.floats(allow_nan=False)
texts = st.text(st.characters())
scopes = st.dictionaries(st.sampled_from(DIMENSIONS), texts).map(scope_of)
values: st.SearchStrategy[Value] = st.tuples(floats, floats) | texts
changes = st.builds(KeyChange, texts, texts, values | st.none(), values, texts)
predictions = st.builds(Prediction, texts, scopes, texts, st.sampled_from(["lower", "higher"]), floats, floats, floats,
                        texts)  # fmt: skip
applications = st.builds(Application, floats, texts, texts, texts, texts, texts,
                         st.lists(changes, max_size=3).map(tuple), st.lists(predictions, max_size=3).map(tuple),
                         st.just("intended"), texts)  # fmt: skip
maybe = floats | st.none()
findings = st.builds(Realised, st.just(0), floats, texts, texts, scopes, texts, st.sampled_from(VERDICTS), maybe, maybe,
                     maybe, maybe, maybe, maybe)  # fmt: skip


@given(st.lists(applications, max_size=3), st.lists(findings, max_size=3))
@settings(max_examples=60, deadline=None)
def test_whatever_is_put_in_comes_out_to_the_last_bit(entries: list[Application], found: list[Realised]) -> None:
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder, "history.db")) as ledger:
        numbers = [ledger.intend(entry) for entry in entries]
        ledger.add_realised(found)
        out = ledger.applications(), ledger.realised()
    wanted = tuple(replace(entry, id=number) for entry, number in zip(entries, numbers, strict=True)), tuple(found)
    assert repr(out) == repr(wanted)  # which tells -0.0 from 0.0


def test_nan_is_refused_since_it_would_come_back_as_unknown(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="NaN"):
        ledger.add_realised([FOUND, replace(FOUND, after=float("nan"))])
    assert ledger.realised() == ()


@pytest.mark.parametrize(
    "application",
    [
        replace(APPLICATION, state="applied", predictions=(replace(PREDICTION, better="sideways"),)),
        replace(APPLICATION, changes=(CHANGE, replace(CHANGE, after=(float("nan"), 1.0)))),
    ],
)
def test_an_application_is_kept_whole_or_not_at_all(ledger: Ledger, application: Application) -> None:
    with pytest.raises(LedgerError, match="nothing was recorded"):
        ledger.intend(application)
    assert ledger.applications() == ()


def test_what_belongs_to_no_application_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="nothing was recorded"):
        ledger.add_realised([replace(FOUND, application=7)])
    for number in (7, 2**70):
        with pytest.raises(LedgerError):
            ledger.mark(number, "applied")


# The file


def test_the_file_is_the_owners_alone_and_durable(ledger: Ledger, path: Path) -> None:
    ledger.intend(APPLICATION)
    for name in os.listdir(path.parent):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600, name
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    connection.close()


def test_the_usual_place_is_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "here"))
    with open_ledger() as ledger:
        assert ledger.path == tmp_path / "here" / "history.db"


def test_a_state_folder_that_cannot_be_made_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(LedgerError, match="ENGRAM_DIAGNOSE_STATE"):
        open_ledger()


def test_a_closed_ledger_leaves_one_file(ledger: Ledger, path: Path) -> None:
    ledger.intend(APPLICATION)
    ledger.close()
    assert os.listdir(path.parent) == ["history.db"]


# Several processes, and an end at any moment

WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from engram_diagnose.engine.advice.record import Application, KeyChange
from engram_diagnose.history import open_ledger
changes = tuple(KeyChange(f"p{n}", f"k{n}", None, (float(n), float(n)), "r") for n in range(20))
entry = Application(1.0, sys.argv[2], "f", "b", "r", "guide", changes, (), "intended", "x" * 5000)
for number in range(int(sys.argv[3])):
    with open_ledger(Path(sys.argv[1]), busy_seconds=60) as ledger:
        ledger.mark(ledger.intend(entry), "applied")
"""


def writer(path: Path, name: str, entries: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(entries)], stderr=subprocess.PIPE)


def test_several_processes_that_begin_at_once_lose_nothing(path: Path) -> None:
    processes = [writer(path, f"p{number}", 10) for number in range(6)]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    with open_ledger(path) as ledger:
        found = ledger.applications()
    assert sorted(one.instance for one in found) == sorted(f"p{number}" for number in range(6) for _ in range(10))
    assert {one.state for one in found} == {"applied"}


@pytest.mark.slow
def test_killed_at_any_moment_every_entry_is_whole(path: Path) -> None:
    for round_ in range(12):
        process = writer(path, "a", 100_000)
        until = time.monotonic() + 30
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.05 + 0.013 * round_)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with open_ledger(path) as ledger:
            assert all(len(one.changes) == 20 and one.patch == "x" * 5000 for one in ledger.applications())
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_a_reader_sees_what_another_process_wrote(ledger: Ledger, path: Path) -> None:
    with open_ledger(path) as other:
        number = other.intend(APPLICATION)
        assert [one.id for one in ledger.applications()] == [number]


# What can be wrong with it


def refusal(path: Path) -> str:
    with pytest.raises(LedgerError) as raised:
        open_ledger(path, busy_seconds=0.1)
    said = str(raised.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said


def test_a_file_that_is_no_database_is_refused_with_a_next_step(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"certainly no database" * 100)
    assert f"mv '{path}' '{path}.broken'" in refusal(path)
    assert path.read_bytes().startswith(b"certainly")


def test_a_damaged_database_is_an_error_with_a_next_step(ledger: Ledger, path: Path) -> None:
    for _ in range(50):
        ledger.intend(APPLICATION)
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with pytest.raises(LedgerError, match="mv "), open_ledger(path) as again:
        again.applications()


def test_a_damaged_entry_is_an_error_with_a_next_step(ledger: Ledger, path: Path) -> None:
    ledger.intend(APPLICATION)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE changes SET after = '{'")
    connection.close()
    with pytest.raises(LedgerError, match="cannot be read"):
        ledger.applications()


def test_the_database_of_a_newer_version_is_refused_and_left_alone(ledger: Ledger, path: Path) -> None:
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    connection.close()
    before = path.read_bytes()
    assert "written by a newer version" in refusal(path)
    assert path.read_bytes() == before


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    assert "of another program" in refusal(path)
    assert path.read_bytes() == before


def test_a_locked_database_is_an_error_after_a_while(ledger: Ledger, path: Path) -> None:
    ledger.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        with open_ledger(path, busy_seconds=0.1) as waiting, pytest.raises(LedgerError, match="another process"):
            waiting.intend(APPLICATION)
    finally:
        connection.close()


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    assert "cannot be opened" in refusal(tmp_path)


def test_a_file_in_the_place_of_its_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert "ENGRAM_DIAGNOSE_STATE" in refusal(tmp_path / "state" / "history.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "ENGRAM_DIAGNOSE_STATE" in refusal(tmp_path / "history.db")


def test_a_database_that_cannot_be_written_is_an_error(ledger: Ledger, path: Path) -> None:
    ledger._database.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerError, match="cannot be written"):
        ledger.intend(APPLICATION)


FILLER = """
import resource, sys
from pathlib import Path
from engram_diagnose.engine.advice.record import Application
from engram_diagnose.history import LedgerError, open_ledger
entry = Application(1.0, "a", "f", "b", "r", "guide", (), (), "intended", "x" * 100_000)
ledger = open_ledger(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    for number in range(100):
        ledger.intend(entry)
except LedgerError as error:
    print(number, error)
"""


def test_a_full_disk_is_an_error_and_what_was_kept_is_kept(path: Path) -> None:
    command = [sys.executable, "-c", FILLER, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    number, _, problem = said.partition(" ")
    assert "disk is full" in problem
    with open_ledger(path) as ledger:
        assert len(ledger.applications()) == int(number)


@pytest.mark.parametrize("at", [0, 1])
def test_a_migration_happens_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    with open_ledger(path) as ledger:
        ledger.intend(APPLICATION)
    step = ["CREATE TABLE later (x)", "INSERT INTO later VALUES (1)"]
    step.insert(at + 1, "this is no SQL")
    monkeypatch.setattr("engram_diagnose.history.schema.STEPS", (*STEPS, tuple(step)))
    refusal(path)
    monkeypatch.setattr("engram_diagnose.history.schema.STEPS", (*STEPS, ("CREATE TABLE later (x)",)))
    with open_ledger(path) as ledger:
        assert len(ledger.applications()) == 1


def test_scopes_are_told_apart_whatever_the_order_of_their_labels(ledger: Ledger) -> None:
    one = Scope((("operation", "store"), ("space", "a")))
    ledger.add_realised([replace(FOUND, scope=one), replace(FOUND, scope=INSTANCE)])
    assert [item.scope for item in ledger.realised()] == [scope_of({"space": "a", "operation": "store"}), INSTANCE]
