"""A storm's incident is told a part at a time, and the parts make up the whole."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.history.incidents import Grouping, IncidentStore, Mark, open_incidents
from engram_diagnose.history.model import Alert, Finding, Notification

GROUPING = Grouping(labels=(), window=600)
T0 = 1_700_000_000.0


def alert(number: int, at: float, ends_at: float | None = None) -> Alert:
    labels = {"alertname": f"A{number:03}", "instance": "db1"}
    return Alert(json.dumps(labels), "firing" if ends_at is None else "resolved", labels, {}, at, ends_at)


def storm(store: IncidentStore, alerts: list[tuple[int, bool]]) -> str:
    """An incident of alerts, each with its start in seconds and whether it ended, diagnosed after the first."""
    (id,) = store.accept(Notification((alert(0, T0),)), T0 + 1, GROUPING).incidents
    taken = store.take_job(T0 + 2)
    assert taken is not None
    store.finish(id, taken[0].token, Finding(id, T0 + 3, "met", "", "fine"), {}, b"", [], T0 + 3)
    for number, (at, ended) in enumerate(alerts, 1):
        store.accept(Notification((alert(number, T0 + at),)), T0 + 10, GROUPING)
        if ended:
            store.accept(Notification((alert(number, T0 + at, T0 + at + 60),)), T0 + 99, GROUPING)
    return id


@given(alerts=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12), size=st.integers(1, 9))
def test_parts_of_any_size_make_up_the_whole(
    tmp_path_factory: pytest.TempPathFactory, alerts: list[tuple[int, bool]], size: int
) -> None:
    with open_incidents(tmp_path_factory.mktemp("parts") / "history.db") as store:
        id = storm(store, alerts)
        incident, outline, whole = store.incident(id), store.outline(id), list(store.timeline(id))
        assert incident is not None
        assert outline is not None
        found, happened = [], []
        after: Mark | None = None
        while True:
            some, after = store.alerts_part(id, size, after)
            found += some
            assert 0 < len(some) <= size
            if after is None:
                break
        while True:
            moments, after = store.timeline_part(id, size, after)
            happened += moments
            assert 0 < len(moments) <= size
            if after is None:
                break
    assert tuple(found) == incident.alerts
    assert sorted(map(repr, happened)) == sorted(map(repr, whole))
    assert [(one.at, one.what) for one in happened] == [(one.at, one.what) for one in whole]
    assert (outline.alerts, outline.moments) == (len(found), len(whole))
    assert outline.names == tuple(sorted({one.name for one in found}))


def test_what_is_not_there_has_no_outline_and_no_parts(tmp_path: Path) -> None:
    with open_incidents(tmp_path / "history.db") as store:
        assert store.outline("gone") is None
        assert store.alerts_part("gone", 5) == ([], None)
        assert store.timeline_part("gone", 5) == ([], None)
