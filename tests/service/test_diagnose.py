"""One incident is diagnosed at its time, with its alerts, and in spite of a Prometheus that cannot be asked."""

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import replayed
from replayed import CAUSE, Recording, replaying

from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.history.model import Alert, Incident
from engram_diagnose.rulebase import load_rules
from engram_diagnose.service.announce import alert_of
from engram_diagnose.service.diagnose import Diagnosed, Retry, _foremost, diagnose_incident
from engram_diagnose.service.settings import Login, Prometheus, Settings
from engram_diagnose.session import diagnose_bundle

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def ready() -> Expert:
    return expert(load_rules())


@pytest.fixture
def playing() -> Iterator[tuple[str, Recording]]:
    with replaying() as found:
        yield found


def alert(labels: Mapping[str, str] | None = None, *, at: float = NOW - 600, status: str = "firing") -> Alert:
    named = {"alertname": "WALLagHigh", "severity": "warning", **(labels or {})}
    return Alert(repr(sorted(named.items())), "resolved" if status == "resolved" else "firing", named, {}, at)


def incident(*alerts: Alert, instance: str = "", at: float = NOW - 600) -> Incident:
    return Incident("one", "key", instance, at, at + 5, alerts=alerts or (alert({"instance": instance}, at=at),))


def settings(url: str = "", **more: object) -> Settings:
    return Settings(prometheus=replace(Prometheus(url), **more))


def diagnosed(asked: Incident, to: Settings, ready: Expert, *, last: bool = False, now: float = NOW) -> Diagnosed:
    return diagnose_incident(asked, to, ready, now=now, last=last)


def test_an_incident_is_diagnosed_at_the_time_of_its_alert(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    found = diagnosed(incident(instance=recording.instance), settings(url), ready)
    assert read_bundle(found.bundle).time == NOW - 600
    assert found.document["subject"]["time"] == "2027-01-15T07:50:00Z"
    assert found.finding.rule == CAUSE
    assert found.finding.confidence is not None
    assert found.finding.confidence > 0.9
    assert found.finding.severity == "warning"
    assert found.finding.made_at == NOW


def test_the_finding_says_what_was_found_and_what_to_do_first(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    finding = diagnosed(incident(instance=recording.instance), settings(url), ready).finding
    assert "against" in finding.sentence
    assert not finding.sentence.startswith(recording.instance)
    assert finding.title == "The WAL writes far more than the clients store"
    assert "wal.sync_mode: unknown -> batch (next restart)" in finding.action
    assert "\n" not in finding.action


def test_the_document_is_what_its_bundle_gives_anew(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    found = diagnosed(incident(instance=recording.instance), settings(url), ready)
    assert document(diagnose_bundle(read_bundle(found.bundle), ready)) == found.document


def test_the_alerts_are_part_of_the_evidence(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    early, late = alert({"tier": "hot"}, at=NOW - 700), alert({"severity": "critical"}, at=NOW - 600)
    over = alert({"tier": "cold"}, at=NOW - 900, status="resolved")
    bundle = read_bundle(
        diagnosed(incident(late, over, early, instance=recording.instance), settings(url), ready).bundle
    )
    told = bundle.options["alerts"]
    assert [one["status"] for one in told] == ["firing", "firing", "resolved"]
    assert [one["severity"] for one in told] == ["critical", "warning", "warning"]
    assert told[1] == {"name": "WALLagHigh", "severity": "warning", "starts_at": NOW - 700, "status": "firing",
                       "labels": {"alertname": "WALLagHigh", "severity": "warning", "tier": "hot"}}  # fmt: skip


def test_a_storm_of_alerts_does_not_swell_the_bundle(ready: Expert) -> None:
    storm = incident(*(alert({"n": str(number)}, at=NOW - 600 + number) for number in range(500)), instance="db1:1")
    told = read_bundle(diagnosed(storm, settings(), ready).bundle).options["alerts"]
    assert len(told) == 100
    assert told[0]["labels"]["n"] == "0"


# Instances and clocks


def test_prometheus_is_asked_for_the_instance_as_it_calls_it(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    labels = {"pod": "engram-0", "exported_instance": recording.instance}
    found = diagnosed(
        incident(alert(labels), instance="engram-0"), settings(url, instance_label="exported_instance"), ready
    )
    assert found.document["subject"]["instance"] == recording.instance


ENGRAM = "engram_recall_duration_seconds_bucket"


@pytest.mark.parametrize("others", [[], [("up", "10.0.0.7:9100")]])
def test_an_alert_with_a_pod_alone_is_diagnosed_as_the_instance_that_the_pod_is(
    playing: tuple[str, Recording], ready: Expert, others: list[tuple[str, str]]
) -> None:
    """Asked for under the pod's name, Prometheus would have nothing."""
    url, recording = playing
    recording.pods = {"engram-0": [(ENGRAM, recording.instance), ("up", recording.instance), *others]}
    found = diagnosed(incident(alert({"pod": "engram-0"}), instance="engram-0"), settings(url), ready)
    assert found.document["subject"]["instance"] == recording.instance
    assert found.finding.rule == CAUSE
    assert not any('instance="engram-0"' in query for query in recording.queries)


def test_a_pod_whose_server_is_down_is_known_by_its_target(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    recording.pods = {"engram-0": [("up", recording.instance)]}
    found = diagnosed(incident(alert({"pod": "engram-0"}), instance="engram-0"), settings(url), ready)
    assert found.document["subject"]["instance"] == recording.instance


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([], "Prometheus has no series with pod='engram-0' at that time"),
        ([(ENGRAM, "10.0.0.7:7432"), (ENGRAM, "10.0.0.7:7433")], "2 instances have series with pod='engram-0'"),
    ],
)
def test_a_pod_that_is_no_instance_or_several_is_not_guessed_at(
    playing: tuple[str, Recording], ready: Expert, pods: list[tuple[str, str]], said: str
) -> None:
    url, recording = playing
    recording.pods = {"engram-0": pods}
    found = diagnosed(incident(alert({"pod": "engram-0"}), instance="engram-0"), settings(url), ready)
    assert said in found.finding.sentence
    assert "prometheus.instance_label" in found.finding.sentence


def test_a_pod_beside_an_instance_is_not_asked_for(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    late = alert({"instance": recording.instance}, at=NOW - 500)
    found = diagnosed(incident(alert({"pod": "engram-0"}), late, instance="engram-0"), settings(url), ready)
    assert found.document["subject"]["instance"] == recording.instance
    assert not any("pod=" in query for query in recording.queries)


def test_while_prometheus_cannot_be_asked_which_instance_a_pod_is_it_is_tried_again(
    playing: tuple[str, Recording], ready: Expert
) -> None:
    url, recording = playing
    recording.down = True
    asked = incident(alert({"pod": "engram-0"}), instance="engram-0")
    with pytest.raises(Retry, match="503"):
        diagnosed(asked, settings(url), ready)
    assert "503" in diagnosed(asked, settings(url), ready, last=True).finding.sentence


@pytest.mark.parametrize("name", ['x"} or vector(1) or up{a="', "a\\", "a\nb", "\x1b[31m", "\ud800"])
def test_a_pod_that_is_a_query_is_only_a_name(playing: tuple[str, Recording], ready: Expert, name: str) -> None:
    url, recording = playing
    found = diagnosed(incident(alert({"pod": name}), instance=name), settings(url), ready)
    (asked,) = [query for query in recording.queries if "pod=" in query]
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert f'pod="{quoted}"}}[900s]' in asked or "\ud800" in name
    assert "\x1b" not in found.finding.sentence


def test_without_an_instance_the_only_one_is_diagnosed(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    found = diagnosed(incident(alert()), settings(url), ready)
    assert found.document["subject"]["instance"] == recording.instance
    assert found.finding.rule == CAUSE


@pytest.mark.parametrize("at", [NOW + 3600, 0.0, -62135596800.0])
def test_a_time_that_cannot_be_diagnosed_does_not_stop_the_diagnosis(
    playing: tuple[str, Recording], ready: Expert, at: float
) -> None:
    url, recording = playing
    odd = replace(incident(instance=recording.instance, at=at), opened_at=NOW - 2)
    found = diagnosed(odd, settings(url), ready)
    assert NOW - 2 <= read_bundle(found.bundle).time <= NOW
    assert found.finding.rule == CAUSE


@pytest.mark.parametrize("name", ['x"} or vector(1) or up{a="', "a\\", "a\nb", "a|b", "\x1b[31m", "é" * 300, "$.*"])
def test_a_label_that_is_a_query_is_only_a_name(playing: tuple[str, Recording], ready: Expert, name: str) -> None:
    url, recording = playing
    found = diagnosed(incident(instance=name), settings(url), ready)
    asked = [query for query in recording.queries if "last_over_time" not in query]
    for query in asked:
        assert query.count("{") - query.count("\\{") == 1 or "{" in name
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        assert f'instance="{quoted}"' in query or "\x1b" in name
    assert not any(letter in found.finding.sentence + found.finding.title for letter in "\x1b\n")


def test_nothing_is_fetched_from_where_an_alert_points_to(ready: Expert) -> None:
    # An address of its own: other tests look for servers of theirs that are gone, at ports of 127.0.0.1.
    with socket.create_server(("127.83.41.7", 0)) as trap:
        trap.settimeout(0.2)
        address = f"127.83.41.7:{trap.getsockname()[1]}"
        labels = {"instance": address, "url": f"http://{address}/"}
        luring = replace(
            alert(labels), annotations={"runbook_url": f"http://{address}/"}, generator=f"http://{address}"
        )
        diagnosed(incident(luring, instance=address, at=NOW - 1), settings("http://127.0.0.1:9"), ready, last=True)
        with pytest.raises(TimeoutError):
            trap.accept()


def test_no_name_out_of_an_alert_is_looked_up(ready: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *names, **_: looked_up.append(names) or [])
    diagnosed(incident(instance="engram.attacker.example:7432"), settings("http://127.0.0.1:9"), ready, last=True)
    assert "attacker" not in str(looked_up)


# Without Prometheus


def test_while_prometheus_cannot_be_asked_it_is_tried_again(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    recording.down = True
    with pytest.raises(Retry, match="503"):
        diagnosed(incident(instance=recording.instance), settings(url), ready)


def test_the_last_attempt_says_that_prometheus_could_not_be_asked(ready: Expert) -> None:
    found = diagnosed(incident(instance="db1:7432"), settings("http://127.0.0.1:9"), ready, last=True)
    assert "127.0.0.1:9 cannot be connected to" in found.finding.sentence
    assert found.document["subject"]["instance"] == "db1:7432"
    reasons = {missing["reason"] for item in found.document["not_testable"] for missing in item["missing"]}
    assert "SOURCE_UNREACHABLE" in reasons


def test_without_a_prometheus_in_the_settings_the_diagnosis_says_so_at_once(ready: Expert) -> None:
    found = diagnosed(incident(instance="db1:7432"), settings(), ready)
    assert "set prometheus.url" in found.finding.sentence


def test_an_unknown_instance_is_said_to_be_unknown_and_not_tried_again(
    playing: tuple[str, Recording], ready: Expert
) -> None:
    found = diagnosed(incident(instance="db9:7432"), settings(playing[0]), ready)
    assert "no samples of instance 'db9:7432'" in found.finding.sentence


def test_a_missing_secret_is_tried_again_and_then_named(ready: Expert, tmp_path: Path) -> None:
    token = tmp_path / "token"
    asked = settings("http://127.0.0.1:9", login=Login(bearer_token_file=token))
    with pytest.raises(Retry, match="token"):
        diagnosed(incident(instance="db1:7432"), asked, ready)
    assert str(token) in diagnosed(incident(instance="db1:7432"), asked, ready, last=True).finding.sentence


# Without a cause


@pytest.fixture
def fast_disk(playing: tuple[str, Recording], monkeypatch: pytest.MonkeyPatch) -> tuple[str, Recording]:
    """Flushes are as fast as they were, which leaves nothing in the metrics that explains what is slow."""
    monkeypatch.setattr(replayed, "_slowed", lambda metric, figure: figure)
    return playing


def test_a_symptom_without_a_cause_stands_and_says_what_to_collect(
    fast_disk: tuple[str, Recording], ready: Expert
) -> None:
    url, recording = fast_disk
    asked = incident(alert({"alertname": "RecallLatencyHigh", "instance": recording.instance}))
    finding = diagnosed(replace(asked, instance=recording.instance), settings(url), ready).finding
    assert (finding.state, finding.rule, finding.title) == ("missed", "", "")
    assert "what was found stands, and no cause of it could be told" in finding.sentence
    assert finding.action.startswith("run `engram-diagnose collect` on the server's host (bears on ")
    told = alert_of(asked, finding, settings(url)).annotations
    assert "what was found stands" in told["summary"]
    assert told["cause"] == "no cause was concluded"
    assert told["action"] == finding.action


# Time


def test_nobody_waits_long_for_a_diagnosis(playing: tuple[str, Recording], ready: Expert) -> None:
    url, recording = playing
    took = []
    for _ in range(5):
        start = time.perf_counter()
        diagnosed(incident(instance=recording.instance), settings(url), ready)
        took.append(time.perf_counter() - start)
    assert min(took) < 1.5  # a third of a second on an idle machine; tests share theirs


def test_of_a_storm_the_most_severe_alerts_are_part_of_the_evidence_however_late_they_came() -> None:
    early = [alert({"n": str(number)}, at=NOW - 900 + number) for number in range(150)]
    late = alert({"severity": "Critical"}, at=NOW)
    kept = _foremost(incident(*early, late))
    assert len(kept) == 100
    assert kept[0] == late
    assert kept[1:] == early[:99]
