"""The generic webhook's body: JSON whatever is in it, and there also when the template is not."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.history.model import Alert, Finding, Incident
from engram_diagnose.service.announce import content_of
from engram_diagnose.service.settings import Settings
from engram_diagnose.service.webhook import WebhookTemplateError, minimal, rendered, template_of, template_problem

AT = 1_700_000_000.0
SETTINGS = Settings(public_url="https://diagnose.example")


def content(text: str = "engram-1", title: str = "The hot tier is too small") -> dict[str, object]:
    alert = Alert("0", "firing", {"alertname": text, "severity": "critical"}, {}, AT)
    incident = Incident("one", "key", text, AT, AT + 5, alerts=(alert,))
    finding = Finding("one", AT + 9, "missed", "critical", text, "a-rule", title, 0.874, "Set it to 2048")
    return content_of(incident, finding, SETTINGS)


def file(folder: Path, text: str) -> Path:
    path = folder / "body.j2"
    path.write_text(text)
    return path


def test_the_built_in_body_says_what_was_found_and_where_to_read_on() -> None:
    body = json.loads(rendered(template_of(None), content(), "one.webhook"))
    assert body["key"] == "one.webhook"
    assert body["text"] == (
        "engram-1: The hot tier is too small (87 %)\nSet it to 2048\nhttps://diagnose.example/incidents/one"
    )
    assert body["incident"]["id"] == "one"
    assert body["finding"]["confidence"] == 0.874
    assert body["alerts"] == [
        {"name": "engram-1", "status": "firing", "starts_at": "2023-11-14T22:13:20.000Z",
         "labels": {"alertname": "engram-1", "severity": "critical"}}
    ]  # fmt: skip


@given(st.text(max_size=2000), st.text(max_size=2000))
def test_the_built_in_body_is_json_whatever_the_texts_hold(text: str, title: str) -> None:
    body = json.loads(rendered(template_of(None), content(text, title), text[:100]))
    assert body["key"] == text[:100]
    assert json.loads(minimal(content(text, title), text))["key"] == text


def test_a_template_of_the_operator_is_used(tmp_path: Path) -> None:
    path = file(tmp_path, '{"text": {{ finding.title | tojson }}, "channel": "#engram"}')
    assert template_problem(path, SETTINGS) == ""
    assert json.loads(rendered(template_of(path), content(), "k")) == {
        "text": "The hot tier is too small",
        "channel": "#engram",
    }


@pytest.mark.parametrize(("text", "said"), [
    ('{"text": {{ finding.title | tojson }', "line 1"),
    ('{"a": 1,\n"text": {{ finding.nonsense | tojson }}}', "'nonsense'"),
    ('{"text": "{{ finding.title }}"}', "pass each value through `tojson`"),
    ("plain text", "not JSON"),
    ("", "not JSON"),
    ('{"figure": NaN}', "NaN is not JSON"),
    ("[" * 100_000, "not JSON"),
    ('{{ 1 / 0 }}', "ZeroDivisionError"),
    ('{% for _ in range(10 ** 9) %}{% endfor %}', "OverflowError"),
    ('"{% for _ in range(99999) %}0123456789abc{% endfor %}"', "1,048,576 are allowed"),
    ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    ("{% include '/etc/passwd' %}", "TypeError"),
])  # fmt: skip
def test_a_template_that_breaks_is_said_to_with_its_name_and_the_reason(tmp_path: Path, text: str, said: str) -> None:
    path = file(tmp_path, text)
    problem = template_problem(path, SETTINGS)
    assert problem.startswith(str(path))
    assert said in problem
    assert "\n" not in problem


def test_a_template_that_cannot_be_read_is_said_to(tmp_path: Path) -> None:
    assert "cannot read" in template_problem(tmp_path / "none.j2", SETTINGS)
    (tmp_path / "latin.j2").write_bytes(b'"\xe9"')
    assert "not UTF-8" in template_problem(tmp_path / "latin.j2", SETTINGS)


def test_the_built_in_template_has_no_problem() -> None:
    assert template_problem(None, SETTINGS) == ""


def test_a_template_cannot_change_what_later_messages_are_made_of(tmp_path: Path) -> None:
    path = file(tmp_path, '{% set _ = incident.update({"id": "x"}) %}{}')
    with pytest.raises(WebhookTemplateError, match="SecurityError"):
        rendered(template_of(path), content(), "k")
