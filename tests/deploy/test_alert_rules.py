"""The alert rules that come with the service: they fire when they should, and their limits are those of the tool."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import load_rules
from engram_diagnose.service.announce import OURS
from engram_diagnose.service.metrics import Metrics, Running, Stored
from engram_diagnose.session import diagnose_bundle

HERE = Path(__file__).resolve().parent
PROMETHEUS = HERE.parent.parent / "templates" / "deploy" / "prometheus"
DIALECTS = {"engram-guide": "guide", "engram-0.1": "engram-0.1"}
FILES = [*DIALECTS, "engram-diagnose"]
LIMIT = re.compile(r"(?P<kind>target|floor|baseline|rule) (?P<name>[\w.-]+)(\{operation=(?P<operation>\w+)\})?"
                   r"( (?P<parameter>\w+))?")  # fmt: skip
METRIC = re.compile(r"\b(?:engram|activation)_\w+")


def alerts_of(name: str) -> list[dict[str, Any]]:
    content = yaml.safe_load((PROMETHEUS / f"{name}.rules.yml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


ENGRAM = [pytest.param(name, alert, id=f"{name}-{alert['alert']}") for name in DIALECTS for alert in alerts_of(name)]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load_rules()


def figure(text: str, loaded: Loaded) -> float:
    """What a `limit_from` comes to, in base units."""
    found = LIMIT.fullmatch(text)
    assert found, text
    if found["kind"] != "rule":
        scope = scope_of({"operation": found["operation"]} if found["operation"] else {})
        (spec,) = (one for one in loaded.catalogue.targets if one.name == found["name"] and one.scope == scope)
        value = getattr(spec, found["kind"])
        assert value is not None
        return float(value)
    rule = loaded.rules.rules[found["name"]]
    if found["parameter"]:
        return float(getattr(rule.params[found["parameter"]].value, "value"))  # noqa: B009 -- text has none, and fails
    source = next(text for text in loaded.texts.values() if f"- id: {rule.id}\n" in text)
    condition = re.search(rf"- id: {re.escape(rule.id)}\n.*?\n    when: (.*?)\n", source, re.DOTALL)
    assert condition
    return float(condition[1].rpartition(" ")[2])


def compared(text: str) -> float:
    """The figure that an expression ends with."""
    tree = promql_parser.parse(text)
    assert isinstance(tree, promql_parser.BinaryExpr)
    assert isinstance(tree.rhs, promql_parser.NumberLiteral)
    return float(tree.rhs.val)


# They fire when they should


@pytest.mark.server
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", [["check", "rules"], ["test", "rules"]])
def test_promtool_accepts_them_and_their_tests_pass(name: str, command: list[str]) -> None:
    file = f"{name}.{'rules' if command[0] == 'check' else 'test'}.yml"
    done = subprocess.run(["promtool", *command, file], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.server
def test_prometheus_can_be_configured_with_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    for path in PROMETHEUS.glob("*.rules.yml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (PROMETHEUS / "scrape.yml").read_text(encoding="utf-8")
    (tmp_path / "scrape.yml").write_text(text.replace("/etc/prometheus/engram-diagnose.token", "token"))
    done = subprocess.run(["promtool", "check", "config", "scrape.yml"], cwd=tmp_path, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rules found") == 2


@pytest.mark.parametrize("name", FILES)
def test_each_has_a_test_in_which_it_fires_for_one_and_not_for_the_other(name: str) -> None:
    content = yaml.safe_load((PROMETHEUS / f"{name}.test.yml").read_text(encoding="utf-8"))
    (case,) = content["tests"]
    fired = {one["alertname"]: one["exp_alerts"] for one in case["alert_rule_test"] if one["exp_alerts"]}
    assert set(fired) == {alert["alert"] for alert in alerts_of(name)}
    assert all(len(instances) == 1 for instances in fired.values())


# What they say


@pytest.mark.parametrize(("name", "alert"), ENGRAM)
def test_the_limit_is_the_one_it_says_it_is_from(name: str, alert: dict[str, Any], loaded: Loaded) -> None:
    if alert["alert"] == "EngramDown":
        assert "limit_from" not in alert["annotations"]
        return
    assert compared(alert["expr"]) == pytest.approx(figure(alert["annotations"]["limit_from"], loaded), rel=1e-9)


def test_a_limit_that_changed_is_noticed(loaded: Loaded) -> None:
    assert figure("target op.latency.p99{operation=recall}", loaded) == 0.01
    assert figure("floor op.latency.p99{operation=recall}", loaded) == 0.05
    assert figure("rule symptom.consolidation-stale age_max", loaded) == 900
    assert compared('rate(a{b="c"}[5m]) / d > 0.02') != figure("target op.latency.p99{operation=recall}", loaded)


@pytest.mark.parametrize(("name", "alert"), ENGRAM)
def test_every_metric_is_one_that_the_dialect_has(name: str, alert: dict[str, Any], root: Path) -> None:
    dialect = (root / "rules" / "dialects" / f"{DIALECTS[name]}.yaml").read_text(encoding="utf-8")
    named = set(METRIC.findall(re.sub(r'"[^"]*"|by \([^)]*\)', "", alert["expr"])))
    assert named or alert["alert"] == "EngramDown"
    assert {metric for metric in named if not re.search(rf"\b{metric}\b", dialect)} == set()


@pytest.mark.parametrize("alert", alerts_of("engram-0.1"), ids=lambda alert: alert["alert"])
def test_the_released_server_s_sums_of_five_minutes_are_not_taken_for_counters(alert: dict[str, Any]) -> None:
    assert not re.search(r"rate\(|increase\(|histogram_quantile|_bucket", alert["expr"])


@pytest.mark.parametrize(("name", "alert"), ENGRAM)
def test_each_says_which_server_it_is_about_and_goes_to_the_service(name: str, alert: dict[str, Any]) -> None:
    assert alert["labels"]["service"] == "engram"
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert alert["alert"] == "EngramDown" or "by (instance, job" in alert["expr"] or "by (le, instance" in alert["expr"]


def test_each_name_tells_the_rules_what_the_alert_speaks_of(loaded: Loaded, root: Path) -> None:
    """An alert that the rules cannot place would be the symptom `alert-other`."""
    known = expert(loaded)
    recorded = read_bundle(root / "src/engram_diagnose/incidents/wal-write-amplification.bundle")
    for name in sorted({alert["alert"] for file in DIALECTS for alert in alerts_of(file)}):
        fired = {"name": name, "severity": "warning", "labels": {}, "starts_at": 1.0, "status": "firing"}
        told = replace(recorded, answers=(), options={**recorded.options, "alerts": [fired]})
        found = document(diagnose_bundle(told, known))["symptoms"]
        assert len(found) == 1, name
        assert found[0]["rule"] != "symptom.alert-other", name


# Those on the service itself


def own_metrics() -> Iterator[str]:
    page = Metrics().page(Stored(), Running(), 0.0).decode()
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            yield from ((name,) if kind != "histogram" else (name, f"{name}_bucket", f"{name}_sum", f"{name}_count"))


def test_those_on_the_service_use_metrics_that_it_has() -> None:
    known = set(own_metrics())
    assert "engram_diagnose_notifications_total" in known
    for alert in alerts_of("engram-diagnose"):
        named = set(METRIC.findall(re.sub(r'"[^"]*"', "", alert["expr"])))
        assert named <= known, alert["alert"]
        assert alert["labels"]["service"] == "engram-diagnose"


@pytest.mark.parametrize("name", FILES)
def test_no_alert_repeats_what_a_diagnosis_is_called(name: str) -> None:
    """It would be taken for one, and left alone."""
    named = [alert["alert"] for alert in alerts_of(name)]
    assert len(set(named)) == len(named)
    assert OURS not in named
