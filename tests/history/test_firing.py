"""Replicas tell of one alert, each under a fingerprint of its own: it is over when the last one is done."""

import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_alerts import DOCUMENT, GROUPING, T0, alert, found, told

from engram_diagnose.history.incidents import Accepted, IncidentStore, Search, Source, open_incidents
from engram_diagnose.history.model import Alert, AlertStatus, Incident
from engram_diagnose.history.schema import STEPS


def fires(sender: str, *, starts: float = 0.0) -> Alert:
    return alert(starts=starts, fingerprint=sender)


def over(sender: str, *, starts: float = 0.0, ends: float = 100.0) -> Alert:
    return alert(status="resolved", starts=starts, ends=ends, fingerprint=sender)


def accept(store: IncidentStore, *alerts: Alert, at: float = 5.0, source: Source = "webhook") -> Accepted:
    return store.accept(told(*alerts), T0 + at, GROUPING, source=source)


def only(store: IncidentStore) -> Incident:
    (listed,) = store.search(Search()).items
    assert store.check() == ()
    incident = store.incident(listed.incident.id)
    assert incident is not None
    return incident


def senders(store: IncidentStore) -> int:
    (number,) = store._database.connection.execute("SELECT count(*) FROM senders").fetchone()
    return int(number)


# The end


def test_an_alert_is_over_when_the_last_replica_says_so_in_whatever_notification(store: IncidentStore) -> None:
    (id,) = accept(store, fires("a"), fires("b")).incidents
    assert accept(store, over("a"), at=105) == Accepted((id,), new=0, duplicates=1, opened=0)
    assert (only(store).state, only(store).alerts[0].ends_at) == ("open", None)
    assert accept(store, over("b", ends=110), at=115) == Accepted((id,), new=1, duplicates=0, opened=0, closed=(id,))
    assert (only(store).state, only(store).closed_at) == ("closed", T0 + 110)


def test_replicas_that_are_told_of_one_after_the_other_are_known_as_well(store: IncidentStore) -> None:
    (id,) = accept(store, fires("a")).incidents
    assert accept(store, fires("b", starts=12), at=20).duplicates == 1
    assert accept(store, over("b", starts=12), at=105).closed == ()
    assert accept(store, over("a"), at=106).closed == (id,)


def test_the_end_is_that_of_the_last_replica_whichever_is_told_first(store: IncidentStore) -> None:
    accept(store, fires("a"), fires("b"))
    accept(store, over("b", ends=125), at=130)
    accept(store, over("a", ends=100), at=130)
    assert only(store).closed_at == T0 + 125


def test_the_end_at_a_replica_that_nobody_saw_firing_ends_no_other(store: IncidentStore) -> None:
    accept(store, fires("a"))
    assert accept(store, over("b"), at=105).closed == ()
    assert only(store).state == "open"


def test_a_replica_whose_end_overtook_its_firing_does_not_keep_the_alert_open(store: IncidentStore) -> None:
    (id,) = accept(store, fires("a")).incidents
    accept(store, over("b"), at=105)
    assert accept(store, fires("b"), at=110).duplicates == 1
    assert accept(store, over("a"), at=115).closed == (id,)


def test_a_replica_that_is_first_heard_of_when_the_other_is_done_keeps_the_alert_open(store: IncidentStore) -> None:
    accept(store, fires("a"))
    (id,) = accept(store, over("a"), at=105).closed
    assert accept(store, fires("b"), at=110) == Accepted((id,), new=1, duplicates=0, opened=0)
    assert only(store).state == "open"
    assert accept(store, over("b"), at=120).closed == (id,)


def test_what_is_told_again_changes_nothing(store: IncidentStore) -> None:
    accept(store, fires("a"), fires("b"))
    accept(store, over("a"), at=105)
    before = only(store)
    for _ in range(3):
        assert accept(store, fires("a"), over("a"), fires("b"), at=110).duplicates == 3
    assert only(store) == before


def test_what_alertmanager_has_no_more_is_over_at_every_replica(store: IncidentStore) -> None:
    """A replica that dies never tells of an end."""
    (id,) = accept(store, fires("a"), fires("b")).incidents
    assert accept(store, over("a", ends=300), at=300, source="reconciled").closed == (id,)
    assert only(store).closed_at == T0 + 300
    assert accept(store, over("b", ends=90), at=301).duplicates == 1
    assert only(store).closed_at == T0 + 300


@pytest.mark.parametrize("order", [("", "a"), ("a", "")])
def test_without_a_fingerprint_an_end_is_everybodys(store: IncidentStore, order: tuple[str, str]) -> None:
    first, second = order
    (id,) = accept(store, fires(first)).incidents
    assert accept(store, over(second), at=105).closed == (id,)


def test_an_end_without_a_fingerprint_ends_all(store: IncidentStore) -> None:
    (id,) = accept(store, fires("a"), fires("b"), fires("")).incidents
    assert accept(store, over("c"), at=105).closed == ()
    assert accept(store, over(""), at=106).closed == (id,)


def test_a_replica_that_began_later_and_was_told_first_lets_the_other_end(store: IncidentStore) -> None:
    (id,) = accept(store, fires("b", starts=30)).incidents
    accept(store, fires("a"))
    assert accept(store, over("a", ends=20), at=32).closed == ()
    assert accept(store, over("b", starts=30, ends=50), at=60).closed == (id,)


# Again


def test_a_replica_that_fires_again_has_the_alert_open_when_the_other_is_done(store: IncidentStore) -> None:
    (id,) = accept(store, fires("a"), fires("b")).incidents
    accept(store, over("a"), at=105)
    assert accept(store, fires("a"), at=150).duplicates == 1  # a late copy, it may be
    assert accept(store, fires("a"), at=200).duplicates == 1
    assert accept(store, over("b"), at=205).closed == ()
    assert accept(store, over("a"), at=210).closed == (id,)


def test_a_late_copy_of_a_replicas_firing_does_not_open_the_alert(store: IncidentStore) -> None:
    accept(store, fires("a"), fires("b"))
    accept(store, over("a"), over("b"), at=105)
    assert accept(store, fires("a"), fires("b"), at=150).duplicates == 2
    assert only(store).state == "closed"
    assert accept(store, fires("b"), at=200).new == 1
    assert only(store).state == "open"


def test_a_replica_that_was_away_for_long_opens_no_second_incident_of_what_the_other_has_firing(
    store: IncidentStore,
) -> None:
    accept(store, fires("a"), fires("b"))
    accept(store, over("a", ends=1100), at=1200)
    back = GROUPING.window * 3
    assert accept(store, fires("a", starts=back), at=back + 10).opened == 0
    assert accept(store, over("b", ends=back + 20), at=back + 30).closed == ()
    assert accept(store, over("a", starts=back, ends=back + 40), at=back + 50).closed == (only(store).id,)
    assert accept(store, fires("a", starts=2 * back), at=2 * back + 10).opened == 1


def test_an_alert_that_begins_again_at_both_replicas_has_ended_before(store: IncidentStore) -> None:
    accept(store, fires("a"), fires("b"))
    accept(store, fires("a", starts=200), at=210)
    assert [one.status for one in only(store).alerts] == ["firing", "firing"]
    accept(store, fires("b", starts=205), at=215)
    assert [(one.status, one.ends_at) for one in only(store).alerts] == [("resolved", T0 + 200), ("firing", None)]


def test_a_late_copy_of_what_began_again_at_its_replica_stays_over(store: IncidentStore) -> None:
    accept(store, fires("a"), fires("b"))
    accept(store, fires("a", starts=200), fires("b", starts=200), at=210)
    assert accept(store, fires("a"), at=10_000).duplicates == 1
    assert [one.status for one in only(store).alerts] == ["resolved", "firing"]


def test_what_fires_again_after_the_clock_was_set_back_is_no_late_copy(store: IncidentStore) -> None:
    accept(store, fires("a"), at=7200)
    accept(store, over("a"), at=7205)
    assert accept(store, fires("a"), at=3605).new == 1
    assert only(store).state == "open"


# Upkeep


def test_what_replicas_said_goes_with_the_alert(store: IncidentStore) -> None:
    (id,) = accept(store, fires("a"), fires("b")).incidents
    accept(store, over("a"), over("b"))
    accept(store, replace(over("a", starts=5000), identity="never seen firing"))
    taken = store.take_job(T0 + 100)
    assert taken is not None
    assert store.finish(id, taken[0].token, found(id), DOCUMENT, b"b", (), T0 + 100)
    assert senders(store) == 3
    assert store.prune(T0 + 1000, older_than=100) == 1
    assert senders(store) == 0


def older(path: Path) -> None:
    """A database of the step before, with an alert that fires, one that was over, and one that began again."""
    with sqlite3.connect(path) as connection:
        for statement in (statement for step in STEPS[:2] for statement in step):
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 2")
        connection.execute("INSERT INTO incidents VALUES ('i', 'k', 'db1:7432', ?, ?, ?, NULL, 'open')", (T0, T0, T0))
        connection.execute("INSERT INTO jobs (incident, state, not_before) VALUES ('i', 'queued', ?)", (T0,))
        rows: list[tuple[str, float, float | None, str, str, float | None, int]] = [
            (fires("a").identity, 0, None, "firing", "a", None, 0),
            ("over", 0, 100, "resolved", "b", 105, 1),
            ("inferred", 0, 200, "resolved", "", 210, 0),
        ]
        for identity, start, end, status, fingerprint, received, times in rows:
            connection.execute(
                "INSERT INTO alerts (incident, identity, starts_at, ends_at, status, name, labels, annotations,"
                " fingerprint, generator, source, fired_received, resolved_received, fired_times, resolved_times)"
                " VALUES ('i', ?, ?, ?, ?, 'EngramDown', '{}', '{}', ?, '', 'webhook', ?, ?, 1, ?)",
                (identity, T0 + start, None if end is None else T0 + end, status, fingerprint, T0 + 5,
                 None if received is None else T0 + received, times),
            )  # fmt: skip
    connection.close()


def test_in_a_database_of_before_the_one_who_told_is_the_one_who_fires(tmp_path: Path) -> None:
    older(tmp_path / "older.db")
    with open_incidents(tmp_path / "older.db") as store:
        assert store.check() == ()
        assert accept(store, over("b"), at=300).closed == ()
        told_late = replace(over("", ends=150), identity="inferred")
        assert accept(store, told_late, at=301).new == 1
        again = replace(over("b", ends=170), identity="over")
        assert accept(store, again, at=302).duplicates == 1
        assert accept(store, over("a", ends=310), at=310).closed == ("i",)
        ends = {one.identity: one.ends_at for one in only(store).alerts}
        assert ends == {fires("a").identity: T0 + 310, "over": T0 + 100, "inferred": T0 + 150}
        taken = store.take_job(T0 + 400)
        assert taken is not None
        assert taken[0].incident == "i"


# Laws

WORD = st.builds(
    lambda sender, status, skew: (sender, status, skew),
    st.sampled_from("abc"),
    st.sampled_from(("firing", "resolved")),
    st.sampled_from((0.0, 5.0, 25.0)),
)


def spoken(words: Sequence[tuple[str, AlertStatus, float]]) -> list[Alert]:
    return [
        fires(sender, starts=skew) if status == "firing" else over(sender, starts=skew, ends=100 + skew)
        for sender, status, skew in words
    ]


@settings(max_examples=40, deadline=None)
@given(calls=st.lists(st.lists(WORD, min_size=1, max_size=3), min_size=1, max_size=5), data=st.data())
def test_the_order_in_which_replicas_are_heard_changes_neither_state_nor_end(
    calls: list[list[tuple[str, AlertStatus, float]]], data: st.DataObject
) -> None:
    words = [word for call in calls for word in call]
    firing = {sender for sender, status, _ in words if status == "firing"}
    done = {sender for sender, status, _ in words if status == "resolved"}
    # Each replica has one end: what it is told of twice counts as it was told first.
    first = {sender: skew for sender, status, skew in reversed(words) if status == "resolved"}
    calls = [[(sender, status, first[sender] if status == "resolved" else skew) for sender, status, skew in call]
             for call in calls]  # fmt: skip
    for order in (calls, data.draw(st.permutations(calls))):
        with tempfile.TemporaryDirectory() as folder, open_incidents(Path(folder) / "history.db") as store:
            for call in order:
                store.accept(told(*spoken(call)), T0 + 130, GROUPING)
            before = store.search(Search())
            for call in order:
                assert store.accept(told(*spoken(call)), T0 + 130, GROUPING).new == 0
            assert store.search(Search()) == before
            assert store.check() == ()
            assert len(before.items) == bool(firing)
            if before.items:
                (one,) = only(store).alerts
                assert one.status == ("firing" if firing - done else "resolved")
                assert one.ends_at == (None if firing - done else T0 + 100 + max(first.values()))
