"""What is told of a diagnosis: bounded, harmless, the same each time, and never a diagnosis of itself."""

import dataclasses
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.history.announcing import LeftOut
from engram_diagnose.history.model import Alert, Finding, Incident, Notification
from engram_diagnose.service.announce import (
    alert_of,
    bounded,
    chosen,
    content_of,
    further_alert,
    is_ours,
    link_of,
    messages_for,
    without,
)
from engram_diagnose.service.settings import Alertmanager, Incidents, Settings, Webhook

AT = 1_700_000_000.0
SETTINGS = Settings(
    public_url="https://diagnose.example/engram",
    alertmanager=Alertmanager(urls=("http://user:secret@one:9093", "http://two:9093/am")),
    webhook=Webhook(url="https://chat.example/hooks/token"),
    incidents=Incidents(labels=("cluster",)),
)
ALERT = Alert("0", "firing", {"alertname": "RecallLatencyHigh", "instance": "engram-1", "cluster": "eu"}, {}, AT)
INCIDENT = Incident("20231114T221320000Z-0123456789", "key", "engram-1", AT, AT + 5, alerts=(ALERT,))
FINDING = Finding(INCIDENT.id, AT + 9, "missed", "critical", "1 symptom found", "hot-tier-too-small",
                  "The hot tier is too small", 0.874, "Set storage.hot_tier_size_mb to 2048")  # fmt: skip


def test_the_alert_says_what_was_found_how_sure_it_is_what_to_do_and_where_to_read_on() -> None:
    alert = alert_of(INCIDENT, FINDING, SETTINGS)
    assert alert.labels == {
        "alertname": "EngramDiagnosis",
        "instance": "engram-1",
        "severity": "critical",
        "incident": INCIDENT.id,
        "cluster": "eu",
    }
    link = f"https://diagnose.example/engram/incidents/{INCIDENT.id}"
    assert alert.annotations == {
        "summary": "engram-1: The hot tier is too small (87 %)",
        "verdict": "1 symptom found",
        "cause": "The hot tier is too small",
        "rule": "hot-tier-too-small",
        "confidence": "87 %",
        "action": "Set storage.hot_tier_size_mb to 2048",
        "link": link,
    }
    assert (alert.link, alert.starts_at) == (link, AT)


def test_a_diagnosis_without_a_cause_is_told_too() -> None:
    nothing = Finding(INCIDENT.id, AT + 9, "untested", "", "no target could be tested")
    alert = alert_of(INCIDENT, nothing, SETTINGS)
    assert alert.labels["severity"] == "info"
    assert alert.annotations["summary"] == "engram-1: no target could be tested"
    assert alert.annotations["cause"] == "no cause was concluded"
    assert {"confidence", "action", "rule"}.isdisjoint(alert.annotations)


def test_the_labels_stay_the_same_while_the_incident_grows() -> None:
    """Other labels would be another alert, and the first would never be resolved."""
    other = Alert("1", "firing", {"alertname": "WALLagHigh", "cluster": "eu", "pod": "x"}, {}, AT - 7)
    grown = dataclasses.replace(INCIDENT, alerts=(other, ALERT), state="closed", closed_at=AT + 60)
    assert alert_of(grown, FINDING, SETTINGS).labels == alert_of(INCIDENT, FINDING, SETTINGS).labels


@pytest.mark.parametrize("name", ["alertname", "incident", "severity", "instance"])
def test_no_label_of_an_alert_stands_in_for_one_of_ours(name: str) -> None:
    alert = Alert("0", "firing", {"alertname": "A", name: "planted"}, {}, AT)
    settings = dataclasses.replace(SETTINGS, incidents=Incidents(labels=(name,)))
    labels = alert_of(dataclasses.replace(INCIDENT, alerts=(alert,)), FINDING, settings).labels
    assert labels[name] != "planted"


def test_each_destination_has_its_message_under_a_key_that_stays_and_without_a_secret() -> None:
    messages = messages_for(INCIDENT, FINDING, SETTINGS, AT + 10)
    assert [message.channel for message in messages] == ["alertmanager", "alertmanager", "webhook"]
    assert [message.body.get("to") for message in messages] == ["http://one:9093", "http://two:9093/am", None]
    assert len({message.key for message in messages}) == 3
    assert [one.key for one in messages] == [one.key for one in messages_for(INCIDENT, FINDING, SETTINGS, AT + 99)]
    assert "secret" not in str(messages)
    assert "hooks" not in str(messages)


def test_without_destinations_there_are_no_messages() -> None:
    assert messages_for(INCIDENT, FINDING, Settings(), AT) == []


def test_our_own_alerts_and_ignored_ones_are_taken_out_of_a_notification() -> None:
    ours = Alert("1", "firing", alert_of(INCIDENT, FINDING, SETTINGS).labels, {}, AT)
    watchdog = Alert("2", "firing", {"alertname": "Watchdog"}, {}, AT)
    notification = Notification((ours, ALERT, watchdog), receiver="r", truncated=2)
    kept = without(notification, ["Watchdog"])
    assert kept == Notification((ALERT,), receiver="r", truncated=2)
    assert is_ours(ours.labels)
    assert not is_ours(ALERT.labels)
    assert not is_ours({})


def test_as_many_incidents_are_announced_as_anybody_reads_the_most_severe_and_oldest_of_them() -> None:
    findings = [
        (dataclasses.replace(INCIDENT, id=f"{severity}-{number:03}", opened_at=AT + number),
         dataclasses.replace(FINDING, severity=severity))
        for severity in ("info", "warning", "critical") for number in range(60)
    ]  # fmt: skip
    ids = [incident.id for incident, _ in chosen(findings, 100)]
    assert len(ids) == 100
    assert ids[0] == "critical-000"
    assert ids[59:61] == ["critical-059", "warning-000"]
    assert not any(id.startswith("info") for id in ids)


def test_incidents_without_an_alert_of_their_own_are_told_in_one_whose_labels_stay() -> None:
    few, many = (further_alert(LeftOut("warning", number, AT), SETTINGS) for number in (1, 4900))
    assert few.labels == many.labels == {"alertname": "EngramDiagnosis", "severity": "warning", "incident": "further"}
    assert is_ours(many.labels)
    assert few.annotations["summary"].startswith("1 more incident is open, of severity warning")
    assert many.annotations["summary"].startswith("4,900 more incidents are open, of severity warning")
    assert "nothing is lost" in many.annotations["verdict"]
    assert many.link == many.annotations["link"] == "https://diagnose.example/engram/incidents?state=open"


texts = st.text(max_size=3000) | st.text(alphabet="\x1b\n\r\u202e\u0000\ud800<>\"'\\{}%", max_size=300)


@given(instance=texts, title=texts, value=texts, name=texts)
def test_whatever_a_label_holds_what_is_told_is_bounded_printable_and_utf_8(
    instance: str, title: str, value: str, name: str
) -> None:
    alert = Alert("0", "firing", {"alertname": value, "cluster": value, name: value}, {}, AT)
    incident = dataclasses.replace(INCIDENT, instance=instance, alerts=(alert,) * 60)
    finding = dataclasses.replace(FINDING, title=title, action=value, sentence=value)
    told = alert_of(incident, finding, SETTINGS)
    content = content_of(incident, finding, SETTINGS)
    assert all(0 < len(text) <= 128 and text.isprintable() and text.encode() for text in told.labels.values())
    assert all(0 < len(text) <= 1000 and text.isprintable() for text in told.annotations.values())
    assert len(content["alerts"]) == 50
    labels = [text for one in content["alerts"] for pair in one["labels"].items() for text in pair]
    assert all(len(text) <= 128 and text.isprintable() and text.encode().decode() == text for text in labels)


@given(st.text(), st.integers(2, 300))
def test_a_text_that_is_short_and_prints_stays_as_it_is(text: str, most: int) -> None:
    plain = "".join(letter for letter in text if letter in string.ascii_letters)[:most]
    assert bounded(plain, most) == plain
    assert len(bounded(text, most)) <= most


def test_without_a_public_address_the_link_leads_to_where_the_service_listens() -> None:
    assert link_of("x", Settings(listen="127.0.0.1:7433")) == "http://127.0.0.1:7433/incidents/x"
