"""A clock that is set back leaves nothing waiting for the time that it showed."""

import pytest
from made_alerts import DOCUMENT, GROUPING, T0, alert, found, told

from engram_diagnose.history.incidents import IncidentStore, NewMessage

AHEAD = 86_400.0
"""By how much the clock was ahead, in seconds."""


def opened(store: IncidentStore, instance: str, *, at: float = AHEAD) -> str:
    (id,) = store.accept(told(alert(instance=instance)), T0 + at, GROUPING).incidents
    return id


def test_a_job_that_was_accepted_by_the_clock_as_it_was_runs_at_once(store: IncidentStore) -> None:
    id = opened(store, "db1")
    assert store.take_job(T0) is None
    assert store.clamp(T0, furthest=3600) == 1
    taken = store.take_job(T0)
    assert taken is not None
    assert taken[0].incident == id


@pytest.mark.parametrize(("wait", "moved"), [(3600.0, 0), (3600.5, 1)])
def test_a_job_that_was_put_off_waits_no_longer_than_anything_does(
    store: IncidentStore, wait: float, moved: int
) -> None:
    id = opened(store, "db1", at=0)
    store.take_job(T0)
    assert store.fail(id, 1, "away", not_before=T0 + wait, park=False)
    assert store.clamp(T0, furthest=3600) == moved
    assert (store.take_job(T0) is not None) == bool(moved)


def test_a_message_waits_no_longer_either_unless_it_is_held(store: IncidentStore) -> None:
    id = opened(store, "db1", at=0)
    times = {"new": T0 + AHEAD, "held": float("inf"), "tried": T0, "put off": T0}
    store.enqueue([NewMessage("webhook", id, key, {}, at) for key, at in times.items()])
    wait = {"tried": AHEAD, "put off": 300}
    for one in store.due(T0):
        store.failed(one.id, "it answers 500", not_before=T0 + wait[one.key], give_up=False)
    assert store.due(T0) == []
    assert store.clamp(T0, furthest=3600) == 2
    assert [message.key for message in store.due(T0)] == ["new", "tried"]


def test_what_does_not_wait_stays_as_it_is(store: IncidentStore) -> None:
    done, parked = opened(store, "db1", at=0), opened(store, "db2", at=1)
    for id in (done, parked):
        taken = store.take_job(T0 + AHEAD)
        assert taken is not None
        if id == done:
            store.finish(id, taken[0].token, found(id), DOCUMENT, b"b", (), T0)
        else:
            store.fail(id, taken[0].token, "away", not_before=T0 + AHEAD, park=True)
    before = [store.job(done), store.job(parked)]
    assert store.clamp(T0, furthest=0) == 0
    assert [store.job(done), store.job(parked)] == before
