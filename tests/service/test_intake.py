"""Alertmanager's webhook: what it sends is understood whole, and what is no notification is refused by its place."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.history.model import Notification
from engram_diagnose.service.intake import MOST_MALFORMED, PayloadError, identity_of, parse_notification

RECORDINGS = Path(__file__).parents[2] / "../shared/recordings/alertmanager"
FIRING = {
    "status": "firing",
    "labels": {"alertname": "RecallLatencyHigh", "instance": "db1:7432", "severity": "critical", "replica": "a"},
    "annotations": {"summary": "recalls are slow", "runbook_url": "https://example.org/runbook"},
    "startsAt": "2026-11-22T06:57:24.624Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
    "fingerprint": "3a90e20ca6ffd58d",
}
RESOLVED = FIRING | {"status": "resolved", "endsAt": "2026-11-22T07:02:24.624Z"}
NOTIFICATION = {
    "receiver": "engram-diagnose",
    "status": "firing",
    "alerts": [FIRING],
    "notification_reason": "first notification",
    "groupLabels": {"alertname": "RecallLatencyHigh"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}:{alertname="RecallLatencyHigh"}',
    "truncatedAlerts": 0,
}
STARTED = 1795330644.624
LABELS = st.dictionaries(st.text(max_size=8), st.text(min_size=1, max_size=8), min_size=1, max_size=6)


def body(**changes: Any) -> bytes:
    return json.dumps(NOTIFICATION | changes).encode()


def one(**changes: Any) -> bytes:
    """A notification of one alert with these changes; a key that is changed to `...` is left out."""
    return body(alerts=[{key: value for key, value in (FIRING | changes).items() if value is not ...}])


def notification_of(sent: bytes, *, replica_labels: frozenset[str] = frozenset()) -> Notification:
    """What is read of a body that is wholly well-formed."""
    parsed = parse_notification(sent, replica_labels=replica_labels)
    assert parsed.malformed == ()
    return parsed.notification


def refusal(sent: bytes) -> str:
    with pytest.raises(PayloadError) as error:
        parse_notification(sent)
    return str(error.value)


# What Alertmanager sends


def test_everything_that_is_told_of_an_alert_is_kept() -> None:
    found = notification_of(body(), replica_labels=frozenset({"replica"}))
    assert (found.receiver, found.group_key) == ("engram-diagnose", '{}:{alertname="RecallLatencyHigh"}')
    assert (found.external_url, found.truncated, found.version) == ("http://alertmanager:9093", 0, "4")
    (alert,) = found.alerts
    assert (alert.name, alert.status, alert.starts_at, alert.ends_at) == ("RecallLatencyHigh", "firing", STARTED, None)
    assert (alert.labels, alert.annotations) == (FIRING["labels"], FIRING["annotations"])
    assert (alert.fingerprint, alert.generator) == (FIRING["fingerprint"], FIRING["generatorURL"])


def test_firing_and_resolved_alerts_come_in_one_notification_in_their_order() -> None:
    found = notification_of(body(alerts=[FIRING, RESOLVED]))
    assert [(alert.status, alert.ends_at) for alert in found.alerts] == [("firing", None), ("resolved", STARTED + 300)]


def test_a_notification_that_was_cut_says_how_many_alerts_it_lacks() -> None:
    assert notification_of(body(truncatedAlerts=17)).truncated == 17


def test_fields_of_earlier_and_later_versions_do_not_matter() -> None:
    smallest = {"alerts": [{key: FIRING[key] for key in ("status", "labels", "startsAt")}]}
    found = notification_of(json.dumps(smallest).encode())
    assert (found.alerts[0].name, found.alerts[0].annotations, found.receiver) == ("RecallLatencyHigh", {}, "")
    later = body(mute_reason={"by": ["silence"]}, alerts=[FIRING | {"labelsV2": [1, None, {"deep": []}]}])
    assert notification_of(later).alerts == notification_of(body()).alerts


def test_null_where_there_may_be_nothing_is_nothing() -> None:
    found = notification_of(one(annotations=None, endsAt=None, generatorURL=None, fingerprint=None))
    assert (found.alerts[0].annotations, found.alerts[0].generator) == ({}, "")


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not on this machine")
@pytest.mark.parametrize("version", ["0.25", "0.28", "0.33"])
def test_what_real_alertmanagers_sent_is_read(version: str) -> None:
    (recording,) = RECORDINGS.glob(f"webhook-{version}-*.json")
    found = notification_of(recording.read_bytes(), replica_labels=frozenset({"replica"}))
    assert {alert.name for alert in found.alerts} == {"EngramHighRecallLatency"}
    assert all(STARTED - 1 < alert.starts_at < STARTED + 1 and alert.ends_at is None for alert in found.alerts)
    operations = {alert.labels["operation"] for alert in found.alerts}
    assert len({alert.identity for alert in found.alerts}) == len(operations) == len(found.alerts)


# Times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22T06:57:24Z", 1795330644.0),
        ("2026-11-22T06:57:24.5Z", 1795330644.5),
        ("2026-11-22T06:57:24.624123456Z", 1795330644.624123),
        ("2026-11-22T12:27:24+05:30", 1795330644.0),
        ("2026-11-21T18:57:24-12:00", 1795330644.0),
        ("2026-11-22T06:57:24-00:00", 1795330644.0),
    ],
)
def test_a_time_is_read_with_every_offset_and_fraction(text: str, seconds: float) -> None:
    assert notification_of(one(startsAt=text)).alerts[0].starts_at == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "2026-11-22T09:00:00Z"])
def test_an_alert_that_fires_has_no_end_whatever_its_end_says(end: str) -> None:
    assert notification_of(one(endsAt=end)).alerts[0].ends_at is None


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "2026-11-22T06:00:00Z", None, ...])
def test_a_resolved_alert_without_a_sensible_end_ended_as_it_began(end: Any) -> None:
    assert notification_of(one(status="resolved", endsAt=end)).alerts[0].ends_at == STARTED


# Identity


def test_replicas_of_one_alert_have_one_identity() -> None:
    twin = FIRING | {"labels": FIRING["labels"] | {"replica": "b"}}  # type: ignore[operator]
    first, second = notification_of(body(alerts=[FIRING, twin]), replica_labels=frozenset({"replica"})).alerts
    assert first.identity == second.identity
    assert first.labels != second.labels
    first, second = notification_of(body(alerts=[FIRING, twin])).alerts
    assert first.identity != second.identity


@given(LABELS, st.randoms())
def test_the_order_of_labels_and_empty_ones_do_not_tell_alerts_apart(labels: dict[str, str], random: Any) -> None:
    shuffled = list(labels.items())
    random.shuffle(shuffled)
    assert identity_of(dict(shuffled)) == identity_of(labels) == identity_of(labels | {"never a label": ""})


@given(LABELS, LABELS)
def test_different_labels_are_different_alerts(first: dict[str, str], second: dict[str, str]) -> None:
    assert (identity_of(first) == identity_of(second)) == (first == second)


def test_an_identity_does_not_change_between_releases() -> None:
    identity = identity_of({"alertname": "EngramDown", "instance": "db1:7432"})
    assert identity == "b69042649f53022aee322ef6ee1d4923a12611a583eb31cafe8415985a8597ea"


# What is no notification


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"alerts=1", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b'{"alerts": []} {"alerts": []}', "trailing"),
        (b"[]", "expected object, got array, at $"),
        (b"null", "got null, at $"),
        (b"{}", "missing required field alerts"),
        (body(alerts=None), "at $.alerts"),
        (body(alerts=[]), "$.alerts is empty"),
        (body(alerts={}), "expected array, got object, at $.alerts"),
        (body(alerts=[7, 7]), "at $.alerts[0]"),
        (body(alerts=[FIRING, 7], version="5"), "$.version is not '4'"),
        (body(version="5"), "$.version is not '4'"),
        (body(version=4), "at $.version"),
        (body(truncatedAlerts=-1), "at $.truncatedAlerts"),
        (body(truncatedAlerts=1.5), "at $.truncatedAlerts"),
        (body(truncatedAlerts=10**40), "at $.truncatedAlerts"),
        (b'{"alerts": [], "truncatedAlerts": NaN}', "not JSON"),
        (b'{"alerts": [], "truncatedAlerts": 1e999}', "out of range"),
        (one(status="pending"), 'not "firing" or "resolved", at $.alerts[0].status'),
        (one(status=...), "missing required field status, at $.alerts[0]"),
        (one(labels={}), "$.alerts[0].labels is empty"),
        (one(labels=...), "missing required field labels"),
        (one(labels=[["alertname", "X"]]), "at $.alerts[0].labels"),
        (one(labels={"alertname": 7}), "expected str, got int, at $.alerts[0].labels"),
        (one(labels={"alertname": None}), "at $.alerts[0].labels"),
        (one(annotations={"summary": {}}), "at $.alerts[0].annotations"),
        (one(startsAt=...), "missing required field startsAt"),
        (one(startsAt=None), "at $.alerts[0].startsAt"),
        (one(startsAt=1795330644), "at $.alerts[0].startsAt"),
        (one(startsAt="yesterday"), "at $.alerts[0].startsAt"),
        (one(startsAt="2026-11-22T06:57:24"), "timezone"),
        (one(startsAt="2026-13-22T06:57:24Z"), "at $.alerts[0].startsAt"),
        (one(startsAt="0001-01-01T00:00:00Z"), "$.alerts[0].startsAt is before 1970"),
        (one(startsAt="0001-01-01T00:00:00+14:00"), "$.alerts[0].startsAt is before 1970"),
        (one(startsAt="9999-12-31T23:59:59-14:00"), "$.alerts[0].startsAt is before 1970 or after 9999"),
        (one(labels={"alertname": "\ud800"}), "not JSON"),
    ],
)
def test_what_is_no_notification_is_refused_by_its_place(sent: bytes, said: str) -> None:
    assert said in refusal(sent)


# What is malformed beside what is not


MALFORMED: list[tuple[Any, str]] = [
    (7, "expected object, got int, at $.alerts[1]"),
    (None, "at $.alerts[1]"),
    ([], "at $.alerts[1]"),
    ({}, "missing required field status, at $.alerts[1]"),
    ({"status": "firing", "labels": ["a"], "startsAt": FIRING["startsAt"]}, "at $.alerts[1].labels"),
    (FIRING | {"labels": {}}, "$.alerts[1].labels is empty"),
    (FIRING | {"labels": {"alertname": 1}}, "at $.alerts[1].labels[...]"),
    ({key: value for key, value in FIRING.items() if key != "startsAt"}, "missing required field startsAt"),
    (FIRING | {"startsAt": "0001-01-01T00:00:00Z"}, "$.alerts[1].startsAt is before 1970"),
    (FIRING | {"startsAt": "soon"}, "at $.alerts[1].startsAt"),
    (FIRING | {"status": "pending"}, 'not "firing" or "resolved", at $.alerts[1].status'),
]


@pytest.mark.parametrize(("malformed", "said"), MALFORMED)
def test_one_malformed_alert_costs_no_other(malformed: Any, said: str) -> None:
    other = RESOLVED | {"labels": {"alertname": "EngramDown"}}
    parsed = parse_notification(body(alerts=[FIRING, malformed, other], truncatedAlerts=3))
    assert [alert.name for alert in parsed.notification.alerts] == ["RecallLatencyHigh", "EngramDown"]
    assert (parsed.notification.truncated, parsed.notification.receiver) == (3, "engram-diagnose")
    (problem,) = parsed.malformed
    assert said in problem


def test_bytes_that_are_no_text_spoil_their_alert_alone() -> None:
    sent = body(alerts=[FIRING, FIRING | {"labels": {"alertname": "SPOILT"}}]).replace(b"SPOILT", b"\xff\xfe")
    parsed = parse_notification(sent)
    assert len(parsed.notification.alerts) == 1
    assert parsed.malformed == ("$.alerts[1] is not JSON: it is not UTF-8",)


@given(st.lists(st.sampled_from([None, *(one for one, _ in MALFORMED)]), min_size=1, max_size=12))
def test_whatever_is_malformed_the_others_are_read_as_if_it_were_not_there(kinds: list[Any]) -> None:
    sent = [FIRING | {"labels": {"alertname": f"A{n}"}} if kind is None else kind for n, kind in enumerate(kinds)]
    good = [one for one, kind in zip(sent, kinds, strict=True) if kind is None]
    if not good:
        assert "$.alerts[0]" in refusal(body(alerts=sent))
        return
    parsed = parse_notification(body(alerts=sent))
    assert parsed.notification == notification_of(body(alerts=good))
    assert len(parsed.malformed) == len(sent) - len(good)


def test_a_body_of_nothing_but_rubbish_is_not_looked_through_to_its_end() -> None:
    said = refusal(b'{"version": "4", "alerts": [' + b"7," * 500_000 + json.dumps(FIRING).encode() + b"]}")
    assert f"more than {MOST_MALFORMED:,} alerts are malformed" in said


@pytest.mark.parametrize(
    "sent",
    [
        b"[" * 300_000,
        b'{"alerts": [], "deep": ' + b"[" * 300_000,
        b'{"alerts": [{"labels": {"a": ' + b'{"a": ' * 300_000,
    ],
)
def test_no_depth_of_nesting_is_more_than_a_refusal(sent: bytes) -> None:
    assert refusal(sent)


def test_nothing_of_what_is_wrong_is_quoted() -> None:
    secret = "Bearer\x1b[31m<script>"
    for sent in (one(status=secret), one(startsAt=secret), body(version=secret), one(labels={secret: 1})):
        assert "script" not in refusal(sent)


def test_labels_may_be_long_many_and_in_any_writing() -> None:
    labels = {"alertname": "Höhe", "": "empty name", "nul": "\0", "long": "x" * 1_000_000, "emoji": "😀\u202e"}
    labels |= {f"label{number}": "value" for number in range(2_000)}
    (alert,) = notification_of(one(labels=labels)).alerts
    assert alert.labels == labels


def calls(do: Callable[[], object]) -> int:
    """How many functions are called: work that no other load of the machine changes."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


def test_an_alert_of_a_storm_is_as_much_work_as_one_of_a_few() -> None:
    few, storm = (
        body(alerts=[FIRING | {"labels": {"alertname": "A", "instance": f"db{n}:7432"}} for n in range(count)])
        for count in (100, 1_000)
    )
    assert len({alert.identity for alert in notification_of(storm).alerts}) == 1_000
    assert calls(lambda: notification_of(storm)) < 11 * calls(lambda: notification_of(few))


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["alerts", "labels", "status", "startsAt", "endsAt", "annotations", "version", "x"]), inner),
))  # fmt: skip
def test_any_json_is_read_or_refused(value: Any) -> None:
    for sent in (value, NOTIFICATION | {"alerts": value}, NOTIFICATION | {"alerts": [FIRING | {"labels": value}]}):
        try:
            found = parse_notification(json.dumps(sent).encode("utf-8", "surrogatepass"))
        except PayloadError:
            continue
        assert found.notification.alerts


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(sent: bytes) -> None:
    assert refusal(sent)
