"""Who is announced: nobody loses a place, the most severe are first, and nobody reads the alerts for it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.history.announcing import LeftOut
from engram_diagnose.history.incidents import Grouping, IncidentStore, NewMessage, open_incidents
from engram_diagnose.history.model import Alert, Finding, Notification

SEVERITIES = ("info", "warning", "critical")
GROUPING = Grouping(labels=(), window=600)
T0 = 1_700_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> IncidentStore:
    return open_incidents(tmp_path / "history.db")


def alert(instance: str, status: str = "firing", at: float = T0, number: int = 0) -> Alert:
    labels = {"alertname": f"A{number}", "instance": instance}
    ends_at = at + 60 if status == "resolved" else None
    return Alert(json.dumps(labels), status, labels, {}, at, ends_at)  # type: ignore[arg-type]


def opened(store: IncidentStore, instance: str, severity: str | None, received: float = T0) -> str:
    """An open incident, diagnosed unless its severity is None, with a message to one Alertmanager."""
    (id,) = store.accept(Notification((alert(instance),)), received, GROUPING).incidents
    taken = store.take_job(received + 1)
    assert taken is not None
    if severity is not None:
        message = NewMessage("alertmanager", id, f"{id}.key", {"made": received, "to": "here"}, received)
        finding = Finding(id, received, "missed", severity, "1 symptom found")
        assert store.finish(id, taken[0].token, finding, {}, b"", [message], received)
    return id


def closed(store: IncidentStore, instance: str, received: float = T0 + 90) -> None:
    store.accept(Notification((alert(instance, "resolved"),)), received, GROUPING)


@dataclass(frozen=True)
class Standing:
    id: str
    severity: str
    opened_at: float


def slow_places(open_: list[Standing], most: int, announced: set[str]) -> tuple[list[str], set[str]]:
    """One after the other takes the next place, if it may have it."""

    def rank(one: Standing) -> int:
        return SEVERITIES.index(one.severity) if one.severity in SEVERITIES else 0

    order = sorted(open_, key=lambda one: (one.id not in announced, -rank(one), one.opened_at, one.id))
    taken: list[Standing] = []
    for one in order:
        room = most if one.severity == "critical" else most - most // 10
        if one.id in announced or len(taken) < room:
            taken.append(one)
    found = sorted(taken, key=lambda one: (-rank(one), one.opened_at, one.id))
    return [one.id for one in found], {one.id for one in taken} & announced


@given(
    kinds=st.lists(st.tuples(st.sampled_from([*SEVERITIES, "", "odd"]), st.integers(0, 3)), max_size=25),
    most=st.integers(1, 24),
    data=st.data(),
)
def test_places_are_given_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[tuple[str, int]], most: int, data: st.DataObject
) -> None:
    with open_incidents(tmp_path_factory.mktemp("places") / "history.db") as store:
        open_ = [
            Standing(opened(store, f"i{number}", severity, T0 + later), severity, T0 + later)
            for number, (severity, later) in enumerate(kinds)
        ]
        announced = set(data.draw(st.lists(st.sampled_from([one.id for one in open_] + ["gone"]), max_size=12)))
        found = store.places(most, announced, SEVERITIES)
    ids, kept = slow_places(open_, most, announced)
    assert (list(found.ids), set(found.kept)) == (ids, kept)
    assert sum(one.number for one in found.left_out) == len(open_) - len(ids)
    assert announced & {one.id for one in open_} == kept, "somebody lost a place"


def test_the_last_places_are_for_the_most_severe(store: IncidentStore) -> None:
    warnings = [opened(store, f"w{number:02}", "warning") for number in range(20)]
    ids = store.places(20, (), SEVERITIES).ids
    assert len(ids) == 18
    assert set(ids) < set(warnings)
    critical = [opened(store, f"c{number}", "critical") for number in range(3)]
    found = store.places(20, ids, SEVERITIES)
    assert set(ids) < set(found.ids)
    assert len(set(critical) & set(found.ids)) == 2
    assert found.left_out == (LeftOut("critical", 1, T0), LeftOut("warning", 2, T0))


def test_closed_incidents_and_those_without_a_diagnosis_have_no_place(store: IncidentStore) -> None:
    opened(store, "open", None)
    over = opened(store, "over", "critical")
    closed(store, "over")
    found = store.places(10, {over}, SEVERITIES)
    assert (found.ids, found.kept, found.left_out) == ((), frozenset(), ())


def test_what_alertmanager_was_told_of_is_known_to_who_begins(store: IncidentStore) -> None:
    ids = [opened(store, f"i{number}", severity) for number, severity in enumerate(["info", "critical", "warning"])]
    assert store.told() == frozenset()
    store.all_sent([message.id for message in store.due(T0 + 9, 10)], T0 + 9)
    assert store.told() == frozenset(ids)
    closed(store, "i1")
    assert store.told() == {ids[0], ids[2]}


def test_ends_are_told_but_of_those_nobody_was_told_of(store: IncidentStore) -> None:
    told, unheard = opened(store, "told", "info"), opened(store, "unheard", "info")
    store.all_sent([message.id for message in store.due(T0 + 9, 10) if message.incident == told], T0 + 9)
    closed(store, "told", T0 + 90)
    closed(store, "unheard", T0 + 91)
    assert store.ended(0) == [told]
    assert store.ended(T0 + 91) == []
    (waiting,) = store.due(T0 + 99, 10)
    store.all_failed({waiting.id: True}, "too late", not_before=0)
    assert store.ended(0) == [told, unheard]


def test_messages_are_held_and_let_go_when_there_is_room_or_nothing_to_announce(store: IncidentStore) -> None:
    first, second, third = (opened(store, f"i{number}", "info") for number in range(3))
    store.hold([message.id for message in store.due(T0 + 9, 10)], "waits for room")
    assert store.is_holding()
    assert store.due(T0 + 1e9, 10) == []
    assert store.counts().oldest_unsent == math.inf
    closed(store, "i1")
    assert store.let_go({third}, T0 + 100) == 2
    found = store.due(T0 + 100, 10)
    assert {message.incident for message in found} == {second, third}
    assert {(message.attempts, message.error) for message in found} == {(0, "")}
    assert [message.body for message in found] == [{"made": T0 + 100, "to": "here"}] * 2
    assert store.let_go({third}, T0 + 100) == 0
    assert store.is_holding()
    assert store.still_open({first, second, third, "gone"}) == {first, third}


def test_of_a_storm_the_first_alert_is_read_alone(store: IncidentStore) -> None:
    id = opened(store, "storm", "critical")
    store.accept(Notification(tuple(alert("storm", at=T0 - 60 + n, number=n + 1) for n in range(20))), T0, GROUPING)
    ((incident, finding),) = store.opened([id, "gone"])
    assert [one.name for one in incident.alerts] == ["A0"]
    assert (incident.id, incident.instance, finding.severity) == (id, "storm", "critical")
    whole = store.incident(id)
    assert whole is not None
    assert len(whole.alerts) == 21
