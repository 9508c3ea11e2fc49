"""Alerts of one instance and time become one incident, with one job and one diagnosis."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from made_alerts import DOCUMENT, GROUPING, T0, alert, found, told

from engram_diagnose.history import open_ledger
from engram_diagnose.history.accepting import incident_id, incident_key
from engram_diagnose.history.incidents import (
    Accepted,
    IncidentStore,
    NewMessage,
    Search,
    Source,
    StoreError,
    open_incidents,
)
from engram_diagnose.history.model import Alert, Incident, Job


def accept(store: IncidentStore, *alerts: Alert, at: float = 5.0, source: Source = "webhook") -> Accepted:
    return store.accept(told(*alerts), T0 + at, GROUPING, source=source)


def only(store: IncidentStore) -> Incident:
    (listed,) = store.search(Search()).items
    incident = store.incident(listed.incident.id)
    assert incident is not None
    return incident


def diagnosed(store: IncidentStore, incident: str, messages: tuple[NewMessage, ...] = ()) -> None:
    taken = store.take_job(T0 + 1e6)
    assert taken is not None
    assert taken[0].incident == incident
    assert store.finish(incident, taken[0].token, found(incident), DOCUMENT, b"\x1f\x8b bundle", messages, T0 + 30)


DOWN = alert()
DOWN_RESOLVED = alert(status="resolved", ends=100)
SLOW = alert("RecallLatencyHigh", starts=200)
SLOW_RESOLVED = alert("RecallLatencyHigh", status="resolved", starts=200, ends=300)


# What belongs together


def test_an_alert_opens_an_incident_at_its_start_and_queues_its_job(store: IncidentStore) -> None:
    accepted = accept(store, DOWN)
    incident = only(store)
    assert accepted == Accepted((incident.id,), new=1, duplicates=0, opened=1)
    assert (incident.at, incident.opened_at, incident.state) == (T0, T0 + 5, "open")
    assert (incident.instance, incident.alerts) == ("db1:7432", (DOWN,))
    assert store.job(incident.id) == Job(incident.id, "queued", 0, T0 + 5)


def test_another_alert_of_the_instance_within_the_window_joins(store: IncidentStore) -> None:
    first = accept(store, DOWN)
    assert accept(store, SLOW, at=205) == Accepted(first.incidents, new=1, duplicates=0, opened=0)
    assert only(store).alerts == (DOWN, SLOW)


@pytest.mark.parametrize(
    "other",
    [
        alert("RecallLatencyHigh", instance="db2:7432"),
        alert("RecallLatencyHigh", cluster="eu"),
        alert("RecallLatencyHigh", starts=601),
    ],
)
def test_an_alert_of_elsewhere_or_later_opens_its_own(store: IncidentStore, other: Alert) -> None:
    accept(store, DOWN)
    assert accept(store, other).opened == 1


def test_without_an_instance_the_pod_is_the_instance(store: IncidentStore) -> None:
    labels = {"alertname": "EngramDown", "pod": "engram-0"}
    accept(store, replace(DOWN, labels=labels), replace(SLOW, labels=labels))
    assert only(store).instance == "engram-0"


@pytest.mark.parametrize("name", ["instance", "cluster"])
def test_a_label_that_is_empty_is_one_that_the_alert_does_not_have(store: IncidentStore, name: str) -> None:
    labels = {"alertname": "EngramDown", "pod": "engram-0"}
    (id,) = accept(store, replace(DOWN, labels={**labels, name: ""})).incidents
    assert only(store).instance == "engram-0"
    assert accept(store, replace(SLOW, labels=labels)).incidents == (id,)


def test_the_first_of_several_alerts_gives_the_time(store: IncidentStore) -> None:
    accept(store, SLOW, DOWN, at=300)
    assert only(store).at == T0


def test_the_same_told_twice_is_a_duplicate(store: IncidentStore) -> None:
    accept(store, DOWN)
    assert accept(store, DOWN).duplicates == 1
    (fired, _) = store.timeline(only(store).id)
    assert (fired.what, fired.times) == ("firing", 2)


def test_members_of_a_pair_that_differ_in_the_start_tell_of_one_alert(store: IncidentStore) -> None:
    accept(store, alert(starts=30))
    assert accept(store, alert(starts=0)).duplicates == 1
    assert accept(store, alert(starts=85)).duplicates == 1
    assert accept(store, alert(starts=91)).new == 1


def test_an_alert_that_fires_again_shortly_after_its_end_is_another(store: IncidentStore) -> None:
    accept(store, DOWN)
    accept(store, alert(status="resolved", ends=20))
    again = accept(store, alert(starts=40))
    assert (again.new, again.opened) == (1, 1)
    assert accept(store, alert(status="resolved", starts=40, ends=50)).closed == again.incidents


# The end


def test_an_incident_closes_when_its_last_alert_is_resolved(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN, SLOW).incidents
    assert accept(store, DOWN_RESOLVED, at=110).closed == ()
    assert only(store).state == "open"
    assert accept(store, SLOW_RESOLVED, at=310).closed == (id,)
    assert (only(store).state, only(store).closed_at) == ("closed", T0 + 300)


def test_what_fires_after_the_end_is_a_new_incident(store: IncidentStore) -> None:
    (first,) = accept(store, DOWN).incidents
    accept(store, DOWN_RESOLVED)
    (second,) = accept(store, SLOW).incidents
    assert first < second


def test_news_that_come_late_open_the_incident_they_belong_to(store: IncidentStore) -> None:
    (first,) = accept(store, DOWN).incidents
    accept(store, DOWN_RESOLVED, at=105)
    late = accept(store, alert("RecallLatencyHigh", starts=50), at=310)
    assert (late.incidents, late.opened) == ((first,), 0)
    assert (only(store).state, only(store).closed_at) == ("open", None)


def test_in_one_notification_what_fires_comes_before_what_is_resolved(store: IncidentStore) -> None:
    (first,) = accept(store, DOWN).incidents
    mixed = accept(store, DOWN_RESOLVED, SLOW)
    assert (mixed.incidents, mixed.opened, mixed.closed) == ((first,), 0, ())


def test_a_resolved_alert_that_nobody_saw_firing_is_kept_and_opens_nothing(store: IncidentStore) -> None:
    assert accept(store, DOWN_RESOLVED) == Accepted((), new=1, duplicates=0, opened=0)
    assert accept(store, DOWN_RESOLVED).duplicates == 1
    assert store.counts().alerts == 1
    assert store.search(Search()).items == ()


def test_a_resolution_that_overtakes_its_firing_leaves_a_closed_incident_to_be_diagnosed(store: IncidentStore) -> None:
    accept(store, DOWN_RESOLVED)
    late = accept(store, DOWN)
    assert (late.new, late.opened, late.closed) == (1, 1, late.incidents)
    incident = only(store)
    assert (incident.state, incident.closed_at, incident.alerts) == ("closed", T0 + 100, (DOWN_RESOLVED,))
    assert store.take_job(T0 + 200) is not None


@pytest.mark.parametrize("source", ["webhook", "reconciled"])
def test_what_fires_with_its_old_start_fires_again_unless_it_may_be_a_late_copy(
    store: IncidentStore, source: Source
) -> None:
    accept(store, DOWN)
    accept(store, DOWN_RESOLVED, at=105)
    assert accept(store, DOWN, at=150, source=source).duplicates == 1
    assert only(store).state == "closed"
    assert accept(store, DOWN, at=200, source=source).new == 1
    assert (only(store).state, only(store).alerts[0].ends_at) == ("open", None)
    assert accept(store, DOWN_RESOLVED, at=300).closed == (only(store).id,)


def test_an_alert_that_begins_again_has_ended_before_though_nobody_said_so(store: IncidentStore) -> None:
    (first,) = accept(store, DOWN).incidents
    flapped = accept(store, alert(starts=200), at=210)
    assert (flapped.incidents, flapped.closed) == ((first,), ())
    assert [(one.status, one.ends_at) for one in only(store).alerts] == [("resolved", T0 + 200), ("firing", None)]
    assert accept(store, alert(status="resolved", starts=200, ends=300), at=310).closed == (first,)
    assert only(store).closed_at == T0 + 300


def test_an_incident_closes_when_its_only_alert_begins_again_in_another(store: IncidentStore) -> None:
    (first,) = accept(store, DOWN).incidents
    again = accept(store, alert(starts=5000), at=5005)
    assert (again.opened, again.closed) == (1, (first,))
    assert len(again.incidents) == 1
    assert again.incidents > (first,)
    ended = store.incident(first)
    assert ended is not None
    assert (ended.state, ended.closed_at) == ("closed", T0 + 5000)


def test_an_alert_that_began_and_ended_again_unseen_ends_the_one_before(store: IncidentStore) -> None:
    (first,) = accept(store, DOWN).incidents
    unseen = accept(store, alert(status="resolved", starts=200, ends=250), at=310)
    assert (unseen.incidents, unseen.closed) == ((), (first,))
    assert only(store).closed_at == T0 + 200


def test_the_end_that_is_told_late_replaces_the_one_that_was_inferred(store: IncidentStore) -> None:
    (first,) = accept(store, DOWN).incidents
    accept(store, alert(starts=5000), at=5005)
    accept(store, DOWN_RESOLVED, at=5010)
    ended = store.incident(first)
    assert ended is not None
    assert (ended.state, ended.closed_at) == ("closed", T0 + 100)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_firings_in_any_order_end_each_other_at_the_next_start(store: IncidentStore, order: tuple[int, ...]) -> None:
    for number in order:
        accept(store, alert(starts=number * 200), at=500)
    assert [(one.status, one.ends_at) for one in only(store).alerts] == [
        ("resolved", T0 + 200), ("resolved", T0 + 400), ("firing", None)]  # fmt: skip


def test_a_firing_told_after_a_later_one_of_another_incident_opens_and_closes_its_own(store: IncidentStore) -> None:
    accept(store, alert(starts=5000), at=5005)
    late = accept(store, DOWN, at=5010)
    assert (late.opened, late.closed) == (1, late.incidents)
    assert store.check() == ()


def test_what_fires_a_while_after_a_resolution_that_came_alone_is_open(store: IncidentStore) -> None:
    accept(store, DOWN_RESOLVED, at=105)
    late = accept(store, DOWN, at=200)
    assert (late.opened, late.closed) == (1, ())
    assert only(store).state == "open"
    assert accept(store, DOWN_RESOLVED, at=300).closed == late.incidents


def test_a_late_copy_of_a_firing_that_was_followed_by_another_is_a_duplicate(store: IncidentStore) -> None:
    accept(store, DOWN)
    accept(store, alert(starts=200), at=210)
    assert accept(store, DOWN, at=10_000).duplicates == 1
    accept(store, alert(status="resolved", starts=200, ends=300), at=11_000)
    assert accept(store, DOWN, at=11_030).duplicates == 1
    assert only(store).state == "closed"


def test_the_start_at_one_replica_does_not_end_what_another_has_firing(store: IncidentStore) -> None:
    accept(store, replace(DOWN, fingerprint="a"))
    accept(store, replace(alert(starts=200), fingerprint="b"), at=210)
    assert {one.status for one in only(store).alerts} == {"firing"}
    assert accept(store, replace(alert(status="resolved", starts=200, ends=300), fingerprint="b"), at=310).closed == ()


def test_while_one_replica_fires_the_other_does_not_end_the_alert(store: IncidentStore) -> None:
    accept(store, replace(DOWN, fingerprint="a"), replace(DOWN, fingerprint="b"))
    over = replace(DOWN_RESOLVED, fingerprint="a")
    assert accept(store, over, replace(DOWN, fingerprint="b")).closed == ()
    assert only(store).state == "open"
    assert accept(store, over, replace(DOWN_RESOLVED, fingerprint="b")).closed == (only(store).id,)


# Names


def test_ids_are_in_the_order_of_time_and_safe_in_a_url() -> None:
    key = incident_key("db1:7432", {})
    assert incident_id(key, T0) == incident_id(key, T0) != incident_id(key, T0, 1)
    times = [-62135596800.0, 0.0, T0, T0 + 0.002, T0 + 1]
    ids = [incident_id(key, time) for time in times]
    assert sorted(ids) == ids
    assert all(set(id) <= set("0123456789abcdefTZ-") for id in ids)


def test_two_incidents_of_one_key_and_time_have_different_ids(store: IncidentStore) -> None:
    (first,) = accept(store, DOWN).incidents
    accept(store, alert(status="resolved", ends=-1))
    (second,) = accept(store, alert("RecallLatencyHigh")).incidents
    assert first != second


def test_keys_of_different_instances_differ_however_they_are_spelled() -> None:
    assert incident_key('a","b', {}) != incident_key("a", {"b": ""})


# Jobs


def test_a_job_is_taken_once_until_it_is_given_back(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    assert store.take_job(T0) is None
    taken = store.take_job(T0 + 5)
    assert taken == (Job(id, "running", 1, T0 + 5, token=1), only(store))
    assert store.take_job(T0 + 5) is None
    assert store.fail(id, 1, "Prometheus is away", not_before=T0 + 60, park=False)
    assert store.take_job(T0 + 59) is None
    again = store.take_job(T0 + 60)
    assert again is not None
    assert (again[0].attempts, again[0].token, again[0].error) == (2, 2, "Prometheus is away")


def test_jobs_are_taken_in_the_order_in_which_they_wait(store: IncidentStore) -> None:
    late = accept(store, DOWN, at=20).incidents
    early = accept(store, alert(instance="db2:7432"), at=10).incidents
    taken = [store.take_job(T0 + 30), store.take_job(T0 + 30)]
    assert [(one[0].incident,) for one in taken if one] == [early, late]


def test_the_diagnosis_comes_back_byte_for_byte(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    assert (store.finding(id), store.document(id), store.bundle(id)) == (None, None, None)
    diagnosed(store, id)
    assert store.finding(id) == found(id)
    assert store.document(id) == DOCUMENT
    assert store.bundle(id) == b"\x1f\x8b bundle"
    assert store.job(id) == Job(id, "done", 1, T0 + 5, token=1)


def test_a_stale_token_writes_nothing(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    store.take_job(T0 + 5)
    (queued,) = store.reclaim(T0 + 10)
    assert (queued.state, queued.not_before) == ("queued", T0 + 10)
    assert not store.finish(id, 1, found(id), {}, b"", (), T0 + 11)
    taken = store.take_job(T0 + 12)
    assert taken is not None
    assert not store.finish(id, 1, found(id), {}, b"", (), T0 + 13)
    assert not store.fail(id, 1, "late", not_before=0, park=True)
    assert store.finding(id) is None
    assert store.finish(id, taken[0].token, found(id), {}, b"", (), T0 + 14)
    assert not store.finish(id, taken[0].token, found(id, sentence="Another."), {}, b"", (), T0 + 15)
    assert store.finding(id) == found(id)


def test_a_job_that_was_tried_too_often_is_put_aside_and_can_be_released(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    for _ in range(2):
        store.take_job(T0 + 100)
        store.reclaim(T0 + 6, park_after=3)
    store.take_job(T0 + 100)
    (parked,) = store.reclaim(T0 + 7, park_after=3, error="it killed its worker")
    assert (parked.state, parked.attempts, parked.error) == ("parked", 3, "it killed its worker")
    assert [(one.incident.id, one.job) for one in store.search(Search(state="parked")).items] == [(id, parked)]
    assert store.take_job(T0 + 1e6) is None
    assert store.release(id)
    assert not store.release(id)
    taken = store.take_job(T0 + 8)
    assert taken is not None
    assert taken[0].attempts == 1


def test_an_attempt_that_was_not_the_jobs_fault_does_not_count(store: IncidentStore) -> None:
    accept(store, DOWN)
    for _ in range(5):
        store.take_job(T0 + 100)
        (job,) = store.reclaim(T0 + 6, park_after=2, counted=False)
        assert (job.state, job.attempts) == ("queued", 0)


# Messages


def message(incident: str, key: str = "k", wait: float = 0.0) -> NewMessage:
    return NewMessage("webhook", incident, key, {"text": "é\ud800"}, T0 + wait)


def test_a_message_is_due_until_it_is_sent(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    diagnosed(store, id, (message(id, "a", 20), message(id, "b", 10)))
    assert store.due(T0 + 9) == []
    first, second = store.due(T0 + 20)
    assert (first.key, second.key, first.body) == ("b", "a", {"text": "é\ud800"})
    assert store.due(T0 + 20, 1) == [first]
    store.sent(first.id, T0 + 21)
    store.failed(second.id, "it answers 500", not_before=T0 + 50, give_up=False)
    assert store.due(T0 + 49) == []
    (again,) = store.due(T0 + 50)
    assert (again.attempts, again.error) == (1, "it answers 500")
    store.failed(again.id, "it answers 500", not_before=T0 + 60, give_up=True)
    assert store.due(T0 + 1e6) == []
    assert (store.counts().sent, store.counts().given_up, store.counts().pending) == (1, 1, 0)


def test_messages_of_one_channel_stand_in_no_others_way(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    store.enqueue([NewMessage("webhook", id, f"w{number}", {}, T0 + number) for number in range(5)])
    store.enqueue([NewMessage("alertmanager", id, "a", {}, T0 + 9)])
    found = store.due(T0 + 20, 2)
    assert [one.key for one in found] == ["w0", "w1", "a"]
    assert [one.key for one in store.due(T0 + 20, 2, besides=[one.id for one in found])] == ["w2", "w3"]


def test_of_two_messages_with_one_key_the_first_is_kept(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    assert store.enqueue([message(id), message(id), message(id, "other"), message("no such", "third")]) == 2
    assert store.enqueue([message(id)]) == 0
    assert [one.key for one in store.due(T0)] == ["k", "other"]


def test_a_message_that_was_sent_does_not_fail_afterwards(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    store.enqueue([message(id)])
    (one,) = store.due(T0)
    store.sent(one.id, T0)
    store.failed(one.id, "late", not_before=T0, give_up=False)
    assert store.due(T0) == []


# Reading


def test_the_timeline_tells_what_happened_in_its_order(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    diagnosed(store, id)
    accept(store, DOWN_RESOLVED, at=110)
    moments = store.timeline(id)
    assert [(one.what, one.at - T0) for one in moments] == [
        ("firing", 0), ("opened", 5), ("diagnosed", 30), ("resolved", 100), ("closed", 100)]  # fmt: skip
    assert moments[3].received == T0 + 110
    assert moments[2].text == "The WAL syncs too often."
    assert store.timeline("no such") == ()


def test_notes_are_kept_in_their_order(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    note = store.add_note(id, "ada", "Restarted.\n<b>", T0 + 50)
    assert store.add_note("no such", "ada", "x", T0) is None
    store.add_note(id, "bob", "Thanks.", T0 + 60)
    assert store.notes(id)[0] == note
    assert [one.text for one in store.notes(id)] == ["Restarted.\n<b>", "Thanks."]


@pytest.fixture
def three(store: IncidentStore) -> list[str]:
    """Incidents of db0 (closed, diagnosed), db1 and db2 (open), oldest first."""
    ids = [accept(store, alert(instance=f"db{n}:7432", starts=n * 1000, rack=f"r_{n}"), at=n).incidents[0]
           for n in range(3)]  # fmt: skip
    diagnosed(store, ids[0])
    accept(store, alert(instance="db0:7432", rack="r_0", status="resolved", ends=50))
    return ids


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (Search(), [2, 1, 0]),
        (Search(text="wal SYNCS"), [0]),
        (Search(text="r_1"), [1]),
        (Search(text="r%1"), []),
        (Search(text="alertname"), []),
        (Search(text="db2"), [2]),
        (Search(text="down FIRES"), [2, 1, 0]),
        (Search(state="open"), [2, 1]),
        (Search(state="closed"), [0]),
        (Search(state="queued"), [2, 1]),
        (Search(instance="db1:7432"), [1]),
        (Search(since=T0 + 1000), [2, 1]),
        (Search(until=T0 + 1000), [0]),
        (Search(severity="critical"), [0]),
        (Search(severity="warning"), []),
        (Search(text="'; DROP TABLE incidents; --"), []),
        (Search(limit=-5), [2]),
    ],
)
def test_a_search_finds_what_was_asked_for(
    store: IncidentStore, three: list[str], search: Search, expected: list[int]
) -> None:
    assert [one.incident.id for one in store.search(search).items] == [three[number] for number in expected]


def test_pages_follow_each_other_without_a_gap(store: IncidentStore, three: list[str]) -> None:
    first = store.search(Search(limit=2))
    second = store.search(Search(limit=2, cursor=first.cursor))
    assert [one.incident.id for one in (*first.items, *second.items)] == three[::-1]
    assert second.cursor == ""
    assert store.search(Search(limit=3)).cursor == ""


def test_the_findings_of_open_incidents_are_told_and_not_those_of_closed_ones(
    store: IncidentStore, three: list[str]
) -> None:
    assert store.open_findings() == ()
    diagnosed(store, three[1])
    ((incident, finding),) = store.open_findings()
    assert (incident.id, finding) == (three[1], found(three[1]))


def test_what_is_listed_reads_no_alert_but_its_name(store: IncidentStore) -> None:
    (id,) = accept(store, DOWN, alert("WALLagHigh"), alert("WALLagHigh", mount="/data")).incidents
    diagnosed(store, id)
    store._database.connection.execute("UPDATE alerts SET labels = 'unreadable', annotations = 'unreadable'")
    (listed,) = store.search(Search()).items
    ((incident, _),) = store.open_findings()
    assert (listed.incident.id, listed.names) == (id, (DOWN.name, "WALLagHigh"))
    assert (incident.id, incident.alerts, listed.incident.alerts) == (id, (), ())


def test_the_alerts_that_fire_are_known_by_number(store: IncidentStore) -> None:
    accept(store, DOWN, alert("WALLagHigh"))
    before = store.firing()
    assert sorted(before.values()) == sorted([DOWN.identity, alert("WALLagHigh").identity])
    accept(store, DOWN_RESOLVED, at=150)
    assert list(store.firing().values()) == [alert("WALLagHigh").identity]
    assert [one.name for one in store.still_firing(list(before))] == ["WALLagHigh"]


def test_counts_say_how_much_there_is(store: IncidentStore, three: list[str]) -> None:
    counts = store.counts()
    assert (counts.open, counts.closed, counts.alerts, counts.done, counts.queued) == (2, 1, 3, 1, 2)
    assert counts.oldest_waiting == T0 + 1
    assert counts.bytes > 0


# What can be wrong


def test_what_cannot_be_kept_takes_nothing_else_with_it(store: IncidentStore) -> None:
    with pytest.raises(StoreError, match="nothing was recorded") as raised:
        accept(store, SLOW, replace(DOWN, starts_at=float("nan")))
    assert raised.value.by_entry
    assert store.counts().alerts == 0


def test_labels_that_are_no_text_come_back_as_they_were(store: IncidentStore) -> None:
    odd = alert(instance="db\ud800:1", path="\udcff\x00'\"", ok="é😀")
    (id,) = accept(store, odd).incidents
    incident = store.incident(id)
    assert incident is not None
    assert incident.alerts == (odd,)
    assert incident.instance == "db\\ud800:1"


def test_who_only_reads_makes_and_changes_nothing(database: Path, store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    with open_incidents(database, read_only=True) as reader:
        assert reader.incident(id) == store.incident(id)
        with pytest.raises(StoreError, match="cannot be written"):
            accept(reader, SLOW)
    with pytest.raises(StoreError, match="cannot be opened"):
        open_incidents(database.with_name("other.db"), read_only=True)
    assert not database.with_name("other.db").exists()


def test_who_only_reads_says_what_to_do_about_an_older_schema(tmp_path: Path) -> None:
    path = tmp_path / "older.db"
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(StoreError, match="older version"):
        open_incidents(path, read_only=True)


def test_a_damaged_diagnosis_is_an_error_with_a_next_step(database: Path, store: IncidentStore) -> None:
    (id,) = accept(store, DOWN).incidents
    diagnosed(store, id)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE diagnoses SET document = x'00'")
    connection.close()
    with pytest.raises(StoreError, match="mv "):
        store.document(id)


def test_the_ledger_and_the_incidents_share_a_file(database: Path, store: IncidentStore) -> None:
    accept(store, DOWN)
    with open_ledger(database) as ledger:
        assert ledger.applications() == ()


def test_the_usual_place_is_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "here"))
    with open_incidents() as store:
        assert store.path == tmp_path / "here" / "history.db"


def test_advice_on_another_file_names_the_option_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--database") as raised:
        open_incidents(tmp_path / "file" / "history.db")
    assert "ENGRAM_DIAGNOSE_STATE" not in str(raised.value)
