"""Many callers share one wait for the disk; each learns whether its notification is there."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from engram_diagnose.history.incidents import Accepted, Grouping, IncidentStore, Search, StoreError, open_incidents
from engram_diagnose.history.model import Alert, Notification
from engram_diagnose.service.commit import Full, GroupCommit

T0 = 1_790_000_000.0
GROUPING = Grouping((), window=600)


def notification(name: str, instance: str = "db1") -> Notification:
    labels = {"alertname": name, "instance": instance}
    return Notification((Alert(f"{name}/{instance}", "firing", labels, {}, T0),))


class Store:
    """A database that can be held up, and made to fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = 0
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.failure: Exception | None = None

    def open(self) -> IncidentStore:
        self.opened += 1
        store = open_incidents(self.path)
        usual = store.accept_many

        def accept_many(batch, grouping, *, source="webhook"):  # type: ignore[no-untyped-def]
            self.go.wait(30)
            self.batches.append(len(batch))
            if self.failure is not None:
                raise self.failure
            return usual(batch, grouping, source=source)

        store.accept_many = accept_many  # type: ignore[method-assign]
        return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "history.db")


@pytest.fixture
def commit(store: Store) -> Iterator[GroupCommit]:
    commit = GroupCommit(store.open, GROUPING, waiting=300)
    commit.start()
    yield commit
    store.go.set()
    commit.stop()


def held_up(store: Store, commit: GroupCommit) -> Future[Accepted]:
    """A notification that the writing thread is busy with."""
    store.go.clear()
    first = commit.submit(notification("first"), T0)
    until = time.monotonic() + 10
    while commit.depth and time.monotonic() < until:
        time.sleep(0.001)
    return first


def names(path: Path) -> set[str]:
    with open_incidents(path) as store:
        return {name for one in store.search(Search(limit=500)).items for name in one.names}


def test_a_done_future_means_that_it_is_on_the_disk(store: Store, commit: GroupCommit) -> None:
    accepted = commit.submit(notification("A"), T0).result(10)
    assert (accepted.new, accepted.opened) == (1, 1)
    assert names(store.path) == {"A"}


def test_what_waits_is_written_together_and_each_gets_its_own_answer(store: Store, commit: GroupCommit) -> None:
    first = held_up(store, commit)
    futures = [commit.submit(notification("A", f"db{number}"), T0) for number in range(300)]
    assert commit.depth == 300
    store.go.set()
    answers = [future.result(10).incidents for future in futures]
    assert first.result().opened == 1
    assert len(set(answers)) == 300
    assert store.batches == [1, 256, 44]


def test_reconciled_alerts_say_so(store: Store, commit: GroupCommit) -> None:
    held_up(store, commit)
    futures = [commit.submit(notification("A"), T0, source="reconciled"), commit.submit(notification("B"), T0)]
    store.go.set()
    ((incident,), _) = [future.result(10).incidents for future in futures]
    with open_incidents(store.path) as reader:
        sources = {moment.alert.name: moment.source for moment in reader.timeline(incident) if moment.alert}
    assert sources == {"first": "webhook", "A": "reconciled", "B": "webhook"}


def test_when_too_much_waits_the_sender_is_told_at_once(store: Store, commit: GroupCommit) -> None:
    held_up(store, commit)
    futures = [commit.submit(notification("A"), T0) for _ in range(300)]
    with pytest.raises(Full, match="300 notifications wait"):
        commit.submit(notification("B"), T0)
    store.go.set()
    assert [future.result(10).new for future in futures].count(1) == 1
    commit.submit(notification("B"), T0).result(10)


def test_who_gave_up_waiting_is_left_out(store: Store, commit: GroupCommit) -> None:
    held_up(store, commit)
    given_up, other = commit.submit(notification("A"), T0), commit.submit(notification("B"), T0)
    assert given_up.cancel()
    store.go.set()
    other.result(10)
    assert names(store.path) == {"first", "B"}


def on_a_loop(
    commit: GroupCommit, store: Store, *notifications: Notification, leaving: int | None = None
) -> list[Accepted | BaseException]:
    """What callers on one event loop are told, whose notifications wait together; one may leave before that."""

    async def told() -> list[Accepted | BaseException]:
        held_up(store, commit)
        kept = [commit.keep(one, T0) for one in notifications]
        if leaving is not None:
            kept[leaving].cancel()
        store.go.set()
        async with asyncio.timeout(10):
            return await asyncio.gather(*kept, return_exceptions=True)

    return asyncio.run(told())


def test_callers_on_an_event_loop_are_told_each_of_their_own(store: Store, commit: GroupCommit) -> None:
    told = on_a_loop(commit, store, *(notification("A", f"db{number}") for number in range(100)))
    assert len({one.incidents for one in told if isinstance(one, Accepted)}) == 100
    assert store.batches == [1, 100]


def test_a_caller_on_an_event_loop_who_left_takes_nothing_back(store: Store, commit: GroupCommit) -> None:
    left, other = on_a_loop(commit, store, notification("A"), notification("B"), leaving=0)
    assert isinstance(left, asyncio.CancelledError)
    assert isinstance(other, Accepted)
    assert names(store.path) == {"first", "A", "B"}


def test_a_caller_on_an_event_loop_is_told_what_failed(store: Store, commit: GroupCommit) -> None:
    store.failure = StoreError("the disk is full")
    (told,) = on_a_loop(commit, store, notification("A"))
    assert isinstance(told, StoreError)
    store.failure = None
    assert commit.submit(notification("B"), T0).result(10).new == 1


def test_an_event_loop_that_has_closed_holds_nobody_up(store: Store, commit: GroupCommit) -> None:
    async def leave() -> None:
        held_up(store, commit)
        commit.keep(notification("A"), T0)

    asyncio.run(leave())
    store.go.set()
    assert commit.submit(notification("B"), T0).result(10).new == 1
    assert names(store.path) == {"first", "A", "B"}


def test_one_that_cannot_be_kept_takes_no_other_with_it(store: Store, commit: GroupCommit) -> None:
    held_up(store, commit)
    (alert,) = notification("bad").alerts
    never = Notification((replace(alert, starts_at=float("nan")),))
    wrong = Notification((replace(alert, labels={"alertname": object()}),))  # type: ignore[dict-item]
    futures = [commit.submit(one, T0) for one in (notification("A"), never, wrong, notification("B"))]
    store.go.set()
    assert isinstance(futures[1].exception(10), StoreError)
    assert futures[2].exception(10) is not None
    assert [futures[number].result(10).new for number in (0, 3)] == [1, 1]
    assert names(store.path) == {"first", "A", "B"}


def test_a_failing_disk_fails_those_who_wait_and_the_database_is_opened_again(
    store: Store, commit: GroupCommit
) -> None:
    held_up(store, commit)
    store.failure = StoreError("history.db: the disk is full; make room, and try again")
    futures = [commit.submit(notification(name), T0) for name in "AB"]
    store.go.set()
    for future in futures:
        with pytest.raises(StoreError, match="disk is full"):
            future.result(10)
    store.failure = None
    assert commit.submit(notification("A"), T0).result(10).new == 1
    assert store.opened > 1


def test_a_database_that_goes_away_and_comes_back_is_found_again(store: Store, commit: GroupCommit) -> None:
    lock = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN IMMEDIATE")
    try:
        future = commit.submit(notification("A"), T0)
        with pytest.raises(StoreError, match="another process is writing"):
            future.result(30)
    finally:
        lock.close()
    assert commit.submit(notification("A"), T0).result(10).new == 1


def test_a_stop_writes_what_waits_and_takes_no_more(store: Store, commit: GroupCommit) -> None:
    held_up(store, commit)
    futures = [commit.submit(notification("A", f"db{number}"), T0) for number in range(100)]
    threading.Timer(0.05, store.go.set).start()
    commit.stop()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(Full, match="stopping"):
        commit.submit(notification("B"), T0)
    commit.stop()


def test_a_database_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"certainly no database" * 100)
    commit = GroupCommit(lambda: open_incidents(tmp_path / "history.db"), GROUPING)
    with pytest.raises(StoreError, match="mv "):
        commit.start()
    with pytest.raises(Full):
        commit.submit(notification("A"), T0)
    commit.stop()


def test_what_was_written_to_a_deleted_database_is_not_accepted(store: Store, commit: GroupCommit) -> None:
    commit.submit(notification("A"), T0).result(10)
    store.path.unlink()
    with pytest.raises(StoreError, match="deleted, moved or replaced while it was in use") as raised:
        commit.submit(notification("B"), T0).result(10)
    assert str(store.path) in str(raised.value)
    assert commit.submit(notification("B"), T0).result(10).new == 1
    assert names(store.path) == {"B"}


def test_a_moved_database_is_begun_anew_though_others_still_have_it_open(store: Store, commit: GroupCommit) -> None:
    commit.submit(notification("A"), T0).result(10)
    with open_incidents(store.path) as other:
        other.search(Search())
        store.path.rename(store.path.with_name("moved.db"))
        with pytest.raises(StoreError, match="moved"):
            commit.submit(notification("B"), T0).result(10)
        assert commit.submit(notification("B"), T0).result(10).new == 1
        assert other.search(Search()).items
    assert names(store.path) == {"B"}
    log = store.path.with_name("history.db-wal.left")
    log.rename(store.path.with_name("moved.db-wal"))
    assert names(store.path.with_name("moved.db")) == {"A", "B"}


def test_what_was_written_to_a_replaced_database_is_not_accepted(store: Store, commit: GroupCommit) -> None:
    copy = store.path.with_name("copy.db")
    with open_incidents(store.path) as other:
        other.backup(copy)
    copy.replace(store.path)
    with pytest.raises(StoreError, match=r"stop the service, remove .*-wal"):
        commit.submit(notification("A"), T0).result(10)


def damaged(path: Path) -> None:
    """A database whose tables are not what its schema says, as when a log of another one is played into it."""
    with open_incidents(path) as store:
        for number in range(400):
            store.accept(notification(f"A{number}", f"db{number}"), T0, GROUPING)
    content = bytearray(path.read_bytes())
    for page in range(len(content) // 4096 // 2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)


def test_a_damaged_database_stops_the_start_with_the_way_back(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    damaged(path)
    commit = GroupCommit(lambda: open_incidents(path), GROUPING)
    with pytest.raises(StoreError, match=r"it is damaged .*restore a backup: stop the service, remove") as raised:
        commit.start()
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(Full):
        commit.submit(notification("A"), T0)


def test_a_backup_under_a_log_of_later_stops_the_start(tmp_path: Path) -> None:
    """What is left when a service is killed, a backup copied over its database, and the log beside it forgotten."""
    path, copy = tmp_path / "history.db", tmp_path / "copy.db"
    running = open_incidents(path)
    running.accept(notification("first"), T0, GROUPING)
    running.backup(copy)
    for number in range(600):
        running.accept(notification(f"A{number}", f"db{number}"), T0, GROUPING)
    log = path.with_name("history.db-wal").read_bytes()
    running.close()
    copy.replace(path)
    path.with_name("history.db-wal").write_bytes(log)
    commit = GroupCommit(lambda: open_incidents(path), GROUPING)
    with pytest.raises(StoreError, match="damaged"):
        commit.start()


def test_another_grouping_holds_from_then_on(store: Store, commit: GroupCommit) -> None:
    (first,) = commit.submit(notification("A"), T0).result(10).incidents
    commit.grouping = Grouping(("alertname",), window=600)
    assert commit.submit(notification("B"), T0).result(10).incidents != (first,)


@pytest.mark.slow
def test_thirty_two_callers_get_two_thousand_notifications_a_second_written(store: Store, commit: GroupCommit) -> None:
    """A quarter of what is measured on an idle machine is asked for: others may be at work on this one."""
    amount = 6_000

    def send(number: int) -> None:
        commit.submit(notification(f"A{number}", f"db{number % 100}"), T0).result(30)

    with ThreadPoolExecutor(32) as callers:
        begun = time.perf_counter()
        list(callers.map(send, range(amount)))
        elapsed = time.perf_counter() - begun
    assert amount / elapsed > 800
