"""A redacted bundle names nobody, and still says the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.bundle import Bundle, encode_bundle, read_bundle, redact
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.configuration import facts_of_configuration
from engram_diagnose.collectors.parse.engram_json import parse_engram_metrics
from engram_diagnose.collectors.redaction import Pseudonyms
from engram_diagnose.engine.facts.catalogue import Catalogue, ConfigKey, Dialect
from engram_diagnose.engine.facts.unit import UNITS

PROMETHEUS = json.dumps(
    {
        "data": {
            "result": [
                {
                    "metric": {
                        "instance": "db1.corp.example:7432",
                        "memory_space": "tenant-acme",
                        "operation": "recall",
                        "pod": "engram-acme-0",
                        "node": "0",
                    },
                    "value": [1, "0.25"],
                }
            ]
        }
    }
)
EXPOSITION = 'engram_ops_total{operation="store",memory_space="tenant-acme"} 5\n'
ENGRAM = json.dumps({"snapshot": {"five_minutes": {"x{memory_space=tenant-acme}": {"p99": 0.5}}}})
CONFIG = """\
[server]
http_bind = "10.20.30.40:7432"
[memory_spaces]
default_space = "tenant-acme"
bootstrap_spaces = ["tenant-acme", "default"]
[persistence]
data_root = "/srv/acme/engram"
[wal]
buffer_size_mb = 64
"""
QUERY = 'rate(x{instance="db1.corp.example:7432",memory_space="tenant-acme"}[5m]) / rate(y[5m])'
SECRETS = ("acme", "corp.example", "db1", "10.20.30.40", "2001:db8::77", "cafe0123cafe0123")

BUNDLE = Bundle(
    time=1.0,
    instance="db1.corp.example:7432",
    host="cafe0123cafe0123",
    host_name="db1",
    options={
        "prometheus": "http://metrics.corp.example:9090/prom",
        "data_dir": "/srv/acme/engram",
        "instance": "db1.corp.example:7432",
        "spaces": ["x"],
    },
    answers=(
        Answer("prometheus", QUERY, 1.0, "", PROMETHEUS),
        Answer("http", "/metrics", 1.0, "cafe0123cafe0123", ENGRAM),
        Answer("http", "/metrics/prometheus", 1.0, "cafe0123cafe0123", EXPOSITION),
        Answer("config", "/srv/acme/config.toml", 1.0, "cafe0123cafe0123", CONFIG),
        Answer("http", "/health", 1.0, "", None, "SOURCE_UNREACHABLE",
               "no route to 10.20.30.40 or [2001:db8::77]:7432"),
        Answer("target", "target", 1.0, "", None, "OTHER_HOST", "db1 is not db2"),
        Answer("process", "/proc/PID/cmdline", 1.0, "", "/srv/acme/bin/engram\0start\0"),
    ),
)  # fmt: skip


def test_nothing_that_identifies_the_site_is_left() -> None:
    redacted = redact(BUNDLE)
    text = json.dumps([repr(redacted), [answer.body for answer in redacted.answers]])
    for secret in SECRETS:
        assert secret not in text, secret


def test_the_same_name_has_the_same_pseudonym_everywhere() -> None:
    query, metrics, exposition, config, *_ = redact(BUNDLE).answers
    labels = json.loads(query.body or "")["data"]["result"][0]["metric"]
    space = labels["memory_space"]
    assert space.startswith("space-")
    for answer in (query, metrics, exposition, config):
        assert space in (answer.body or "")
    assert space in query.name
    assert labels["instance"] == redact(BUNDLE).instance
    assert labels["instance"].endswith(":7432")
    assert labels["instance"] in query.name


def test_what_identifies_nobody_stays() -> None:
    query, _, exposition, config, *_ = redact(BUNDLE).answers
    metric = json.loads(query.body or "")["data"]["result"][0]["metric"]
    assert (metric["operation"], metric["node"]) == ("recall", "0")
    assert (exposition.name, exposition.collector) == ("/metrics/prometheus", "http")
    assert '"default"' in (config.body or "")
    assert redact(BUNDLE).answers[-1].name == "/proc/PID/cmdline"


def test_a_redacted_bundle_can_still_be_read_and_parsed() -> None:
    redacted = redact(BUNDLE)
    assert read_bundle(encode_bundle(redacted)) == redacted
    (series,) = parse_engram_metrics(redacted.answers[1].body or "").windows["five_minutes"]
    assert series.labels["memory_space"].startswith("space-")
    key = ConfigKey("config.wal.buffer_size", "wal.buffer_size_mb", UNITS["MiB"])
    known = Dialect("guide", "", (), "", "prometheus", (), {}, {"w": key}, ("*",))
    facts = facts_of_configuration(redacted.answers[3], known, Catalogue({}, {}, ()))
    assert facts[0].value == (2.0**26, 2.0**26)


def test_redacting_twice_changes_nothing() -> None:
    once = redact(BUNDLE)
    assert redact(once) == once
    assert redact(read_bundle(encode_bundle(once))) == once


def test_bundles_of_one_host_use_the_same_pseudonyms_and_others_do_not() -> None:
    later = Bundle(2.0, instance=BUNDLE.instance, host=BUNDLE.host, host_name="db1")
    assert redact(later).instance == redact(BUNDLE).instance
    elsewhere = Bundle(2.0, instance=BUNDLE.instance, host="other", host_name="db1")
    assert redact(elsewhere).instance != redact(BUNDLE).instance
    assert redact(later, key="k").instance == redact(elsewhere, key="k").instance


@pytest.mark.parametrize(
    "text",
    [
        "Linux version 6.1.0-18-amd64 #1 SMP",
        "12:34:56 up 3 days",
        "rate(a[5m])/rate(b[5m])",
        "MemTotal: 5 kB",
        "127.0.0.1:7432 and [::1]:7432 and localhost",
        "20 GB/s of 40 GB/s",
        "/proc/self/io /sys/block/sda/queue /api/v1/query",
        "cpu0/cache/index0/size:48K",
    ],
)
def test_what_only_looks_like_a_name_stays(text: str) -> None:
    assert Pseudonyms("k", hosts=["db1"]).text(text) == text


@given(st.text(alphabet='ab1.:/"{}=,\\ \n[]spacehot-', max_size=60))
def test_redacting_text_twice_is_redacting_it_once(text: str) -> None:
    names = Pseudonyms("k", hosts=["ab1"])
    once = names.text(text)
    assert names.text(once) == once


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
def test_redacting_never_fails(text: str) -> None:
    Pseudonyms(text, hosts=[text]).text(text)


@given(
    st.from_regex(r"tenant[a-z0-9_]{0,20}", fullmatch=True),
    st.text(
        st.characters(codec="utf-8", exclude_characters='\n\r\x00"\\{}', exclude_categories=["Cs", "Cc"]), min_size=6
    ),
)
def test_no_value_of_a_label_that_was_named_is_left(name: str, value: str) -> None:
    names = Pseudonyms("key", labels=["tenant.*"])
    secret = f"Zq{value}qZ"
    texts = (
        f'ops{{shard="1",{name}="{secret}"}} 5\n',
        json.dumps({"metric": {"a": "b", name: secret}}),
        json.dumps({"metric": {name: secret}}, ensure_ascii=False),
        f"{name} = '{secret.replace(chr(39), '')}'\n",
        json.dumps({"body": f'ops{{{name}="{secret}"}} 5'}),
    )
    for text in texts:
        said = names.text(text)
        assert "Zq" not in said
        assert names.text(said) == said, "a pseudonym stands for itself"
    assert names.text('ops{shard="Zq1qZ"} 5') == 'ops{shard="Zq1qZ"} 5'


def test_json_stays_json_when_labels_are_replaced() -> None:
    names = Pseudonyms("key", labels=["tenant.*"])
    body = {"tenant": 'a"b\\c', "tenant_id": "é", "other": "tenant", "tenants": ["x"], "n": {"tenantless": 5}}
    found = json.loads(names.text(json.dumps(body)))
    assert found["tenant"].startswith("label-")
    assert (found["other"], found["tenants"], found["n"]) == ("tenant", ["x"], {"tenantless": 5})
