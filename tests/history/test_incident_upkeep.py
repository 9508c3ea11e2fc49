"""Old incidents go and the file shrinks; a copy is whole while others write; a damaged database is told."""

import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
from made_alerts import DOCUMENT, GROUPING, T0, alert, found, told

from engram_diagnose.history import open_ledger
from engram_diagnose.history.incidents import IncidentStore, NewMessage, Search, StoreError, open_incidents

DAY = 86400.0


def an_incident(
    store: IncidentStore, number: int, *, day: float = 0, closed: bool = True, diagnosed: bool = True
) -> str:
    labels, at = {"instance": f"db{number}"}, T0 + day * DAY
    (id,) = store.accept(told(alert(starts=day * DAY, **labels)), at, GROUPING).incidents
    if diagnosed:
        taken = store.take_job(at)
        assert taken is not None
        assert store.finish(id, taken[0].token, found(id), DOCUMENT, b"\xa5" * 20_000, (), at)
    if closed:
        over = alert(status="resolved", starts=day * DAY, ends=day * DAY + 10, **labels)
        store.accept(told(over), at + 10, GROUPING)
    return id


def kept(store: IncidentStore) -> set[str]:
    return {one.incident.id for one in store.search(Search(limit=500)).items}


# Removing


def test_closed_incidents_go_when_nothing_was_learnt_of_them_for_long_enough(store: IncidentStore) -> None:
    old, new = an_incident(store, 0, day=0), an_incident(store, 1, day=5)
    store.add_note(old, "ada", "x", T0)
    assert store.prune(T0 + 10 * DAY, older_than=7 * DAY) == 1
    assert kept(store) == {new}
    assert (store.finding(old), store.bundle(old), store.notes(old), store.timeline(old)) == (None, None, (), ())
    assert store.check() == ()
    assert store.prune(T0 + 10 * DAY, older_than=7 * DAY) == 0


def test_what_is_open_waits_or_is_to_be_sent_stays_however_old_and_large(store: IncidentStore) -> None:
    ids = {
        an_incident(store, 0, closed=False),
        an_incident(store, 2),
        an_incident(store, 3, diagnosed=False),
    }
    message = NewMessage("webhook", min(ids), "k", {}, T0)
    sending = [NewMessage("webhook", id, id, {}, T0) for id in ids]
    assert store.enqueue([message, *sending]) == 4
    assert store.prune(T0 + 1000 * DAY, older_than=DAY, larger_than_bytes=0) == 0
    assert kept(store) == ids
    for one in store.due(T0):
        store.sent(one.id, T0)
    assert store.prune(T0 + 1000 * DAY, older_than=DAY) == 1
    assert len(kept(store)) == 2


def test_the_oldest_go_until_the_database_is_small_enough_and_the_file_shrinks(
    store: IncidentStore, database: Path
) -> None:
    ids = [an_incident(store, number, day=number) for number in range(100)]
    assert store.prune(T0 + 200 * DAY, larger_than_bytes=1_000_000) > 40
    left = kept(store)
    assert left == set(ids[-len(left) :])
    assert store.counts().bytes <= 1_000_000
    assert database.stat().st_size <= 1_010_000
    assert database.with_name("history.db-wal").stat().st_size == 0


def test_alerts_that_nobody_saw_firing_go_too(store: IncidentStore) -> None:
    store.accept(told(alert(status="resolved", ends=5)), T0, GROUPING)
    assert store.prune(T0 + 5 * DAY, older_than=7 * DAY) == 0
    assert store.counts().alerts == 1
    store.prune(T0 + 8 * DAY, older_than=7 * DAY)
    assert store.counts().alerts == 0


def test_alerts_that_nobody_saw_firing_go_before_any_incident(store: IncidentStore) -> None:
    ids = {an_incident(store, number) for number in range(3)}
    before = store.counts().bytes
    for start in range(0, 400, 100):
        ended = [alert(instance=f"x{number}", status="resolved", starts=start, ends=start + 5) for number in range(500)]
        store.accept(told(*ended), T0 + start, GROUPING)
    assert store.counts().bytes > before + 500_000
    assert store.prune(T0 + DAY, larger_than_bytes=before + 100_000) == 0
    assert kept(store) == ids
    assert store.counts().bytes <= before + 100_000


def test_a_ledger_that_was_begun_without_it_can_shrink(database: Path) -> None:
    database.parent.mkdir()
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA auto_vacuum = 0")
        connection.execute("PRAGMA application_id = 1164207921")
        connection.execute("CREATE TABLE filler (x)")
        connection.execute("DROP TABLE filler")
    connection.close()
    with open_ledger(database) as ledger:
        assert ledger.applications() == ()
    with open_incidents(database) as store:
        for number in range(20):
            an_incident(store, number)
        full = store.counts().bytes
        store.prune(T0 + DAY, older_than=0)
        assert database.stat().st_size < full / 2


def test_what_is_told_to_stop_leaves_the_rest_for_another_time(store: IncidentStore) -> None:
    for number in range(40):
        an_incident(store, number)
    assert 0 < store.prune(T0 + 10 * DAY, older_than=DAY, pause=lambda _: True) <= 40
    store.prune(T0 + 10 * DAY, older_than=DAY)
    assert kept(store) == set()
    assert store.check() == ()


def test_alerts_are_accepted_without_a_long_wait_while_much_is_removed(store: IncidentStore, database: Path) -> None:
    for number in range(600):
        an_incident(store, number)
    longest, over = 0.0, threading.Event()

    def remove() -> None:
        with open_incidents(database) as other:
            assert other.prune(T0 + 10 * DAY, older_than=DAY) == 600
        over.set()

    removing = threading.Thread(target=remove)
    removing.start()
    number = 0
    while not over.is_set():
        number, begun = number + 1, time.monotonic()
        store.accept(told(alert(instance=f"new{number}", starts=100 * DAY)), T0 + 100 * DAY, GROUPING)
        longest = max(longest, time.monotonic() - begun)
    removing.join()
    assert number > 10
    assert longest < 1.0, "100 ms on an idle machine"
    assert len(kept(store)) == min(number, 500)


def a_storm(store: IncidentStore, number: int, alerts: int) -> str:
    """A closed and diagnosed incident of many alerts."""
    named = [{"instance": f"storm{number}", "shard": str(shard)} for shard in range(alerts)]
    (id,) = store.accept(told(*(alert(**labels) for labels in named)), T0, GROUPING).incidents
    taken = store.take_job(T0)
    assert taken is not None
    assert store.finish(id, taken[0].token, found(id), DOCUMENT, b"\xa5" * 20_000, (), T0)
    store.accept(told(*(alert(status="resolved", ends=10, **labels) for labels in named)), T0 + 10, GROUPING)
    return id


def test_a_storm_goes_in_small_steps_each_of_which_leaves_a_sound_database(
    store: IncidentStore, database: Path
) -> None:
    a_storm(store, 0, 1500)
    left: list[int] = []

    def look(_: float) -> bool:
        with open_incidents(database) as other:
            left.append(other.counts().alerts)
            assert other.check() == ()
        return False

    assert store.prune(T0 + 10 * DAY, older_than=DAY, pause=look) == 1
    assert left[0] == 1500 - 64
    assert left == sorted(left, reverse=True)
    assert len(set(left)) >= 5
    assert store.counts().alerts == 0


def test_a_storm_that_was_begun_is_removed_to_the_end_though_the_database_is_small_enough(store: IncidentStore) -> None:
    a_storm(store, 0, 600)
    later = an_incident(store, 1, day=1)
    assert store.prune(T0 + 10 * DAY, larger_than_bytes=store.counts().bytes - 10_000) == 1
    assert kept(store) == {later}


def test_a_storm_whose_removal_was_cut_short_is_removed_the_next_time(store: IncidentStore) -> None:
    id = a_storm(store, 0, 600)
    pauses = iter([False, True])
    assert store.prune(T0 + 10 * DAY, older_than=DAY, pause=lambda _: next(pauses, True)) == 0
    incident = store.incident(id)
    assert incident is not None
    assert (incident.state, 0 < len(incident.alerts) < 600) == ("closed", True)
    assert store.check() == ()
    assert store.prune(T0 + 10 * DAY, older_than=DAY) == 1


# Copying


def test_a_copy_holds_everything_in_one_file_for_its_owner_alone(store: IncidentStore, tmp_path: Path) -> None:
    id = an_incident(store, 0)
    copy = tmp_path / "copy.db"
    copy.write_text("an older copy")
    store.backup(copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "state"]
    with open_incidents(copy) as restored:
        assert restored.incident(id) == store.incident(id)
        assert restored.bundle(id) == store.bundle(id)
        assert restored.check() == ()


def test_a_copy_is_whole_while_others_write(store: IncidentStore, database: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with open_incidents(database) as other:
            number = 0
            while not stop.is_set():
                an_incident(other, number)
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            store.backup(tmp_path / f"{number}.db")
    finally:
        stop.set()
        writer.join()
    for number in range(10):
        with open_incidents(tmp_path / f"{number}.db") as copy:
            assert copy.check() == ()


def test_the_database_cannot_be_its_own_copy(store: IncidentStore, database: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(database)
    for path in (database, tmp_path / "link.db"):
        with pytest.raises(StoreError, match="name another file"):
            store.backup(path)
    assert store.check() == ()


def test_a_copy_that_cannot_be_made_leaves_nothing_behind(store: IncidentStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        store.backup(tmp_path / "nowhere" / "copy.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="folder"):
        store.backup(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "state"]


# Checking


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DELETE FROM jobs", "without a job"),
        ("DELETE FROM alerts", "without an alert"),
        ("UPDATE incidents SET state = 'open'", "open while none does"),
        ("DELETE FROM diagnoses", "done without a diagnosis"),
        ("UPDATE notes SET incident = 'no such'", "belongs to nothing in incidents"),
    ],
)
def test_what_does_not_fit_together_is_told(store: IncidentStore, database: Path, change: str, problem: str) -> None:
    store.add_note(an_incident(store, 0), "ada", "x", T0)
    assert store.check() == ()
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(change)
    connection.close()
    assert problem in " ".join(store.check())


def test_damaged_pages_are_told(store: IncidentStore, database: Path) -> None:
    for number in range(20):
        an_incident(store, number)
    store.close()
    whole = database.read_bytes()
    half = len(whole) // 2
    database.write_bytes(whole[:half] + b"\xa5" * 8192 + whole[half + 8192 :])
    with open_incidents(database) as damaged:
        assert damaged.check() != ()
