"""Whatever arrives, in whatever order and however often: nothing is missing, and each incident is diagnosed once."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from made_alerts import DOCUMENT, GROUPING, T0, alert, found

from engram_diagnose.history.incidents import IncidentStore, NewMessage, Search, Source, open_incidents
from engram_diagnose.history.model import Alert, AlertStatus, Incident, Notification

FIRINGS_APART = 400.0
"""Seconds: further than members of a pair may differ, and near enough to share an incident's window."""


@dataclass(frozen=True)
class Told:
    """What one of a pair says of one firing of one alert; without a fingerprint, it may be any of them."""

    instance: int
    name: str
    firing: int
    status: AlertStatus
    skew: float
    sender: str

    @property
    def event(self) -> tuple[int, str, int]:
        return self.instance, self.name, self.firing

    def alert(self) -> Alert:
        starts = self.firing * FIRINGS_APART
        ends = starts + 100 + self.skew if self.status == "resolved" else None
        return alert(self.name, instance=f"db{self.instance}", status=self.status, starts=starts + self.skew, ends=ends,
                     fingerprint=self.sender)  # fmt: skip

    def speaks_for(self, other: "Told") -> bool:
        return self.sender in (other.sender, "") or not other.sender


TOLD = st.builds(Told, st.integers(0, 1), st.sampled_from("AB"), st.integers(0, 2),
                 st.sampled_from(("firing", "resolved")), st.sampled_from((0.0, 0.5, 12.0, 25.0)),
                 st.sampled_from(("", "a", "b")))  # fmt: skip
NOTIFICATIONS = st.lists(TOLD, min_size=1, max_size=4)


def ends(one: Told, other: Told) -> bool:
    """Whether one says that the other is over: by its end, or by its next firing."""
    if one.event[:2] != other.event[:2] or not one.speaks_for(other):
        return False
    return one.firing > other.firing or (one.firing == other.firing and one.status == "resolved")


def notification(told: Sequence[Told]) -> Notification:
    return Notification(tuple(one.alert() for one in told))


def whole(store: IncidentStore) -> list[Incident]:
    """Every incident with its alerts, newest first."""
    found = [store.incident(one.incident.id) for one in store.search(Search(limit=500)).items]
    return [one for one in found if one is not None]


class Service(RuleBasedStateMachine):
    """Senders that repeat themselves, workers that die and come back from the dead, and a model of what must hold."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = open_incidents(self.folder / "history.db")
        self.now = T0 + 2000
        self.accepted: list[list[Told]] = []
        self.tokens: list[tuple[str, int]] = []
        self.running: dict[str, int] = {}
        self.diagnosed: dict[str, str] = {}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(batch=st.lists(NOTIFICATIONS, min_size=1, max_size=3))
    def tell(self, batch: list[list[Told]]) -> None:
        self.now += 1
        accepted = self.store.accept_many([(notification(one), self.now) for one in batch], GROUPING)
        self.accepted += batch
        for told, one in zip(batch, accepted, strict=True):
            assert one.new + one.duplicates == len(told)

    @rule(data=st.data())
    def tell_again(self, data: st.DataObject) -> None:
        if not self.accepted:
            return
        told = data.draw(st.sampled_from(self.accepted))
        before = whole(self.store)
        again = self.store.accept(notification(told), self.now, GROUPING)
        self.accepted.append(told)
        assert (again.new, again.opened, again.closed) == (0, 0, ())
        assert whole(self.store) == before

    @rule()
    def take(self) -> None:
        taken = self.store.take_job(self.now)
        if taken is not None:
            job, incident = taken
            assert job.incident == incident.id
            assert job.incident not in self.running
            assert job.incident not in self.diagnosed
            assert (job.incident, job.token) not in self.tokens
            self.tokens.append((job.incident, job.token))
            self.running[job.incident] = job.token

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Any worker that ever had a job may say that it is done."""
        if not self.tokens:
            return
        incident, token = data.draw(st.sampled_from(self.tokens))
        may = self.running.get(incident) == token
        sentence = f"by {token}"
        messages = [NewMessage("alertmanager", incident, f"{incident}/finding", {"by": token}, self.now)]
        done = self.store.finish(
            incident, token, found(incident, sentence=sentence), DOCUMENT, b"b", messages, self.now
        )
        assert done == may
        if done:
            del self.running[incident]
            self.diagnosed[incident] = sentence

    @rule(data=st.data(), park=st.booleans())
    def fail(self, data: st.DataObject, park: bool) -> None:
        if not self.tokens:
            return
        incident, token = data.draw(st.sampled_from(self.tokens))
        may = self.running.get(incident) == token
        assert self.store.fail(incident, token, "away", not_before=self.now, park=park) == may
        if may:
            del self.running[incident]

    @rule(park_after=st.sampled_from((None, 2)))
    def every_worker_dies(self, park_after: int | None) -> None:
        assert {job.incident for job in self.store.reclaim(self.now, park_after=park_after)} == set(self.running)
        self.running.clear()

    @rule()
    def somebody_releases_what_was_put_aside(self) -> None:
        for one in self.store.search(Search(state="parked")).items:
            assert self.store.release(one.incident.id)

    @rule()
    def the_service_is_killed(self) -> None:
        self.store.close()
        self.store = open_incidents(self.folder / "history.db")

    @invariant()
    def nothing_that_was_accepted_is_missing(self) -> None:
        told = [one for notification in self.accepted for one in notification]
        query = "SELECT sum(fired_times), sum(resolved_times) FROM alerts"
        (times,) = self.store._database.connection.execute(query).fetchall()
        spoken = Counter(one.status for one in told)
        assert tuple(time or 0 for time in times) == (spoken["firing"], spoken["resolved"])
        assert self.store.counts().alerts == len({one.event for one in told})

    @invariant()
    def every_alert_that_fired_is_in_one_incident_which_is_closed_when_all_are_resolved(self) -> None:
        """One that began again is resolved, whether or not somebody said so; each replica ends its own."""
        told = [one for notification in self.accepted for one in notification]
        fired = {one.event for one in told if one.status == "firing"}
        firing = {one.event for one in told if one.status == "firing" and not any(ends(two, one) for two in told)}
        over = fired - firing
        seen: dict[tuple[int, str, int], str] = {}
        for incident in whole(self.store):
            for one in incident.alerts:
                event = (int(incident.instance[2:]), one.name, int((one.starts_at - T0) // FIRINGS_APART))
                assert event not in seen
                assert one.labels["instance"] == incident.instance
                seen[event] = one.status
            statuses = {one.status for one in incident.alerts}
            assert incident.state == ("open" if "firing" in statuses else "closed")
        assert seen == {event: "resolved" if event in over else "firing" for event in fired}

    @invariant()
    def every_incident_has_one_job_and_at_most_one_diagnosis(self) -> None:
        items = self.store.search(Search(limit=500)).items
        assert {one.incident.id for one in items if one.job.state == "running"} == set(self.running)
        kept = {one.incident.id: one.finding.sentence for one in items if one.finding}
        assert kept == self.diagnosed
        assert {one.incident.id for one in items if one.job.state == "done"} == set(self.diagnosed)
        assert len(self.store.due(self.now, 1000)) == len(self.diagnosed)

    @invariant()
    def the_database_is_sound(self) -> None:
        assert self.store.check() == ()


TestService = Service.TestCase
TestService.pytestmark = [pytest.mark.slow]
TestService.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@settings(max_examples=25, deadline=None)
@given(batch=st.lists(NOTIFICATIONS, max_size=6), data=st.data())
def test_the_order_of_arrival_changes_no_alert(batch: list[list[Told]], data: st.DataObject) -> None:
    orders = [batch, data.draw(st.permutations(batch))]
    outcomes = []
    for order in orders:
        with tempfile.TemporaryDirectory() as folder, open_incidents(Path(folder) / "history.db") as store:
            store.accept_many([(notification(one), T0) for one in order], GROUPING)
            incidents = whole(store)
            outcomes.append(sorted((one.identity, (one.starts_at - T0) // FIRINGS_APART, one.status)
                                   for incident in incidents for one in incident.alerts))  # fmt: skip
    assert outcomes[0] == outcomes[1]


@settings(max_examples=25, deadline=None)
@given(batch=st.lists(NOTIFICATIONS, max_size=8), cut=st.integers(0, 8))
def test_how_notifications_are_committed_together_changes_nothing(batch: list[list[Told]], cut: int) -> None:
    pages = []
    for parts in ([batch], [batch[:cut], batch[cut:]], [[one] for one in batch]):
        with tempfile.TemporaryDirectory() as folder, open_incidents(Path(folder) / "history.db") as store:
            for part in parts:
                store.accept_many([(notification(one), T0) for one in part], GROUPING)
            pages.append((store.search(Search()), whole(store)))
    assert pages[0] == pages[1] == pages[2]


SECONDS = st.floats(-100, 200)
ANY_ALERT = st.builds(alert, st.sampled_from("AB"), status=st.sampled_from(("firing", "resolved")), starts=SECONDS,
                      ends=st.none() | SECONDS, fingerprint=st.sampled_from(("", "a", "b")))  # fmt: skip
ANY_CALLS = st.lists(
    st.tuples(
        st.lists(ANY_ALERT, max_size=4), st.floats(0, 1000), st.sampled_from(("webhook", "reconciled")), st.booleans()
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(calls=ANY_CALLS)
def test_however_odd_the_times_are_the_database_stays_sound(
    calls: list[tuple[list[Alert], float, Source, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, open_incidents(Path(folder) / "history.db") as store:
        for alerts, received, source, work in calls:
            was_open = {one.incident.id for one in store.search(Search(state="open", limit=500)).items}
            accepted = store.accept(Notification(tuple(alerts)), T0 + received, GROUPING, source=source)
            is_open = {one.incident.id for one in store.search(Search(state="open", limit=500)).items}
            assert accepted.new + accepted.duplicates == len(alerts)
            assert was_open - is_open <= set(accepted.closed)
            assert is_open - was_open <= set(accepted.incidents)
            if work and (taken := store.take_job(T0 + received)):
                id = taken[0].incident
                assert store.finish(id, taken[0].token, found(id), DOCUMENT, b"b", (), T0 + received)
            assert store.check() == ()
