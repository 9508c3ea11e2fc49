"""Which job is next: the most severe, unless another has waited long for its turn."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_alerts import GROUPING, T0, alert, told

from engram_diagnose.history.database import open_database
from engram_diagnose.history.incidents import IncidentStore, StoreError, open_incidents
from engram_diagnose.history.jobs import NEXT_RANK, OLDEST, PATIENCE_SECONDS
from engram_diagnose.history.model import Alert

WORDS = ("critical", "page", "error", "warning", "info")
SEVERE = replace(GROUPING, severities=WORDS)


def queued(store: IncidentStore, severity: str, *, at: float, instance: str = "") -> str:
    """The incident of one alert, of an instance of its own unless it is named."""
    labels = {"severity": severity} if severity else {}
    one = alert(instance=instance or f"{severity}.{at}", **labels)
    (id,) = store.accept(told(one), T0 + at, SEVERE).incidents
    return id


def taken(store: IncidentStore, at: float) -> list[str]:
    """All that may run at a time, in its order."""
    found = []
    while (one := store.take_job(T0 + at)) is not None:
        found.append(one[0].incident)
    return found


def test_the_more_severe_goes_first_however_late_it_came(store: IncidentStore) -> None:
    words = ["", "info", "other", "warning", "ERROR", "page", "Critical"]
    ids = {word: queued(store, word, at=number) for number, word in enumerate(words)}
    order = ["Critical", "page", "ERROR", "warning", "info", "", "other"]
    assert taken(store, 100) == [ids[word] for word in order]


def test_of_one_severity_the_one_that_waits_longest_goes_first(store: IncidentStore) -> None:
    late, early = queued(store, "warning", at=20), queued(store, "warning", at=10)
    assert taken(store, 30) == [early, late]


def test_an_alert_that_joins_makes_the_job_as_severe_as_it_is(store: IncidentStore) -> None:
    first = queued(store, "info", at=0, instance="db1")
    other = queued(store, "warning", at=1)
    assert queued(store, "critical", at=2, instance="db1") == first
    assert queued(store, "info", at=3, instance="db1") == first
    assert taken(store, 10) == [first, other]


def test_a_job_that_is_tried_again_is_as_severe_as_before(store: IncidentStore) -> None:
    critical = queued(store, "critical", at=0)
    store.take_job(T0)
    assert store.fail(critical, 1, "away", not_before=T0 + 60, park=False)
    other = queued(store, "warning", at=1)
    assert taken(store, 59) == [other]
    assert taken(store, 60) == [critical]


def test_what_is_put_off_lets_the_less_severe_run(store: IncidentStore) -> None:
    critical = queued(store, "critical", at=50)
    other = queued(store, "info", at=1)
    assert taken(store, 49) == [other]
    assert taken(store, 50) == [critical]


def test_nothing_waits_for_ever_while_more_severe_ones_keep_coming(store: IncidentStore) -> None:
    waiting = queued(store, "info", at=0)
    steps = WORDS.index("info")
    for number in range(1, 100):
        at = number * PATIENCE_SECONDS / 10
        queued(store, "critical", at=at)
        one = store.take_job(T0 + at)
        assert one is not None
        if one[0].incident == waiting:
            break
    assert at == pytest.approx(steps * PATIENCE_SECONDS, rel=0.1)


def test_a_job_that_somebody_released_is_next(store: IncidentStore) -> None:
    info = queued(store, "info", at=0)
    store.take_job(T0)
    assert store.fail(info, 1, "away", not_before=T0, park=True)
    critical = queued(store, "critical", at=1)
    assert store.release(info)
    assert taken(store, 10) == [info, critical]


def test_without_words_for_severities_the_one_that_waits_longest_goes_first(store: IncidentStore) -> None:
    first, second = alert(instance="a", severity="info"), alert(instance="b", severity="critical")
    ids = [store.accept(told(one), T0 + at, GROUPING).incidents[0] for at, one in enumerate((first, second))]
    assert taken(store, 10) == ids


SEVERITY = st.sampled_from((*WORDS, ""))
MOMENT = st.sampled_from((0.0, 100.0, 600.0, 700.0, 1200.0, 5000.0))


@settings(max_examples=25, deadline=None)
@given(waiting=st.lists(st.tuples(SEVERITY, MOMENT), max_size=12))
def test_jobs_are_taken_as_if_all_that_wait_were_sorted(
    tmp_path_factory: pytest.TempPathFactory, waiting: Sequence[tuple[str, float]]
) -> None:
    with open_incidents(tmp_path_factory.mktemp("order") / "history.db") as store:
        turns = []
        for number, (severity, at) in enumerate(waiting):
            id = queued(store, severity, at=at, instance=f"db{number}")
            rank = WORDS.index(severity) if severity else len(WORDS)
            turns.append((T0 + at + rank * PATIENCE_SECONDS, rank, id))
        assert taken(store, 5000) == [id for _, _, id in sorted(turns)]


def storm(number: int) -> Alert:
    severity = random.Random(number).choice((*WORDS, "other"))
    return alert(instance=f"db{number}", severity=severity)


def test_among_ten_thousand_jobs_the_next_is_found_by_an_index(store: IncidentStore) -> None:
    alerts = [storm(number) for number in range(10_000)]
    store.accept_many([(told(*alerts[start : start + 100]), T0 + start) for start in range(0, 10_000, 100)], SEVERE)
    assert store.counts().queued == 10_000
    connection = open_database(store.path, StoreError).connection
    for query, values in ((NEXT_RANK, (-1,)), (OLDEST, (0, T0))):
        (plan,) = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
        assert plan.startswith("SEARCH jobs USING COVERING INDEX jobs_by_rank")
    steps = []
    connection.set_progress_handler(lambda: steps.append(1), 100)
    for query, values in ((NEXT_RANK, (-1,)), (OLDEST, (0, T0))):
        connection.execute(query, values).fetchall()
    assert not steps  # a search of all jobs takes thousands
    connection.close()
    one = store.take_job(T0 + 20_000)
    assert one is not None
    assert one[1].alerts[0].labels["severity"] == "critical"
