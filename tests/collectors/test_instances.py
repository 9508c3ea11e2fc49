"""Which scraped target is meant, and which dialect a server speaks."""

import pytest

from engram_diagnose.collectors.capture.address import same_server
from engram_diagnose.collectors.capture.interface import dialect_by_form
from engram_diagnose.collectors.instances import (
    NODE_DIALECT,
    Chosen,
    choose,
    detect_metrics,
    dialect_evidence,
    dialect_of,
    interfaces,
    not_there,
)
from engram_diagnose.collectors.prometheus.client import Found, Instance
from engram_diagnose.collectors.prometheus.options import Refusal
from engram_diagnose.rulebase import load_rules

DIALECTS = load_rules().catalogue.dialects
STORES = frozenset({"engram_store_operations_total"})
MORE = STORES | {"engram_operations_total"}


def found(*instances: tuple[str, str, frozenset[str]]) -> Found:
    return Found(tuple(Instance(name, job, True, metrics) for name, job, metrics in instances), "2.42.0")


def refusal(chosen: Chosen | Refusal) -> str:
    assert isinstance(chosen, Refusal)
    return str(chosen)


def test_the_only_instance_is_taken_without_a_name() -> None:
    assert choose(found(("db1:7432", "engram", STORES)), "") == Chosen("db1:7432", "", STORES)


def test_several_instances_are_listed_rather_than_guessed_between() -> None:
    several = found(*((f"db{number:02}:7432", "engram", STORES) for number in range(11)))
    assert "11 instances publish Engram metrics: db00:7432, " in refusal(choose(several, ""))
    assert "db07:7432 and 3 more; name one with --instance" in refusal(choose(several, ""))
    assert choose(several, "db03:7432") == Chosen("db03:7432", "", STORES)


def test_of_two_jobs_that_scrape_one_instance_the_richer_one_is_taken() -> None:
    twice = found(("db1:7432", "engram", STORES), ("db1:7432", "kubernetes-pods", MORE))
    assert choose(twice, "") == Chosen("db1:7432", "kubernetes-pods", MORE)
    alike = found(("db1:7432", "b", STORES), ("db1:7432", "a", STORES))
    assert choose(alike, "db1:7432") == Chosen("db1:7432", "a", STORES)


def test_a_named_instance_is_taken_also_when_it_publishes_nothing() -> None:
    assert choose(found(), "db1:7432") == Chosen("db1:7432")
    assert "check --instance and --at" in str(not_there("db1", found(("db1:7432", "engram", STORES))))
    assert "instances with Engram metrics are db1:7432" in str(not_there("db1", found(("db1:7432", "engram", STORES))))


def test_nothing_there_says_what_to_check() -> None:
    assert "check the scrape configuration" in refusal(choose(found(), ""))


@pytest.mark.parametrize("name", ["guide", "engram-0.1"])
def test_a_dialect_is_told_by_its_own_metrics(name: str) -> None:
    assert dialect_of(DIALECTS, DIALECTS[name].detect) == name
    assert set(DIALECTS[name].detect) <= detect_metrics(DIALECTS)


def test_no_dialect_is_told_by_what_none_publishes() -> None:
    assert dialect_of(DIALECTS, ["node_cpu_seconds_total", "up"]) == ""
    assert dialect_of({}, ["up"]) == ""


def test_what_told_a_dialect_is_said_and_what_spoke_against_it() -> None:
    names = ["engram_operations_total", "engram_store_operations_total", "store_activation", "up"]
    assert dialect_of(DIALECTS, names) == "guide"
    assert dialect_evidence(DIALECTS, "guide", names) == (
        "told by 2 of 8 names of guide (engram_operations_total, engram_store_operations_total); "
        "against it speak 1 of 15 names of engram-0.1 (store_activation)"
    )
    assert dialect_evidence(DIALECTS, "guide", names[:1]).endswith("; nothing speaks against it")
    assert dialect_evidence(DIALECTS, "engram-0.1", names[:1]).startswith("told by none of its names; against it")


def test_a_dialect_is_told_by_the_form_of_the_metrics() -> None:
    known = {name: one for name, one in interfaces(DIALECTS).items() if name != NODE_DIALECT}
    assert dialect_by_form(known, ' {"snapshot": {}}') == "engram-0.1"
    assert dialect_by_form(known, "# HELP x\nx 1\n") == "guide"


@pytest.mark.parametrize(
    ("instance", "url", "via", "same"),
    [
        ("db1:7432", "http://DB1:7432", "", True),
        ("db1", "http://db1:7432", "", True),
        ("db1:443", "https://db1", "", True),
        ("localhost:7432", "http://127.0.0.1:7432", "127.0.0.1", True),
        ("[::1]:7432", "http://localhost:7432", "", True),
        ("localhost:7432", "http://192.0.2.1:7432", "192.0.2.1", True),
        ("localhost:7432", "http://127.0.0.1:7432", "192.0.2.1", False),
        ("127.0.0.1:7432", "http://127.0.0.1:7433", "", False),
        ("192.0.2.1:7432", "http://192.0.2.2:7432", "", False),
    ],
)
def test_a_label_and_an_address_are_one_server_when_host_and_port_agree(
    instance: str, url: str, via: str, same: bool
) -> None:
    assert same_server(instance, url, via=via) is same
