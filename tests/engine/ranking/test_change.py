"""What moved ranks above what was equally true while all was well."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema

from engram_diagnose.engine.comparison.policy import Measure
from engram_diagnose.engine.diagnosis import Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, Reason, point, unknown_fact
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.ranking.change import LookBack

NOW, THEN = 10_000.0, 6_400.0
CATALOGUE = b"""
schema: engram-diagnose/catalogue/v1
facts:
  op.slow: {unit: s, history: true, origin: prometheus, doc: latency}
  disk.busy: {unit: share, history: true, origin: prometheus, doc: busy}
  lock.busy: {unit: share, history: true, origin: prometheus, doc: locks}
  ops.rate: {unit: /s, history: true, origin: prometheus, doc: load}
  host.cores: {unit: count, fixed: true, origin: host, doc: cores}
  host.load: {unit: count, origin: host, doc: load}
  disk.level: {unit: count, origin: rules, doc: level}
  server.version: {kind: text, fixed: true, origin: prometheus, doc: version}
  process.uptime: {unit: s, origin: process, doc: uptime}
  server.config_age: {unit: s, origin: telemetry, doc: age}
"""
INFERENCE = b"""
schema: engram-diagnose/inference/v1
certainty: {possible: 30%, likely: 60%, near-certain: 90%}
likelihood_ratio: {weak: 2, moderate: 5, strong: 20, decisive: 100}
tie_margin: 1%
order: {severity: {info: 25%, warning: 50%, critical: 100%}, slight: 25%, full: 2, stood: 25%}
"""


def cause(name: str, when: str, *, evidence: str = "[]", explains: str = "[symptom.slow]") -> str:
    return (
        f'  - {{id: cause.{name}, rev: 1, kind: cause, title: {name}, scope: instance, when: "{when}",'
        f" when_true: likely, evidence: {evidence}, explains: {explains}}}\n"
    )


def rules(*texts: str) -> bytes:
    symptom = (
        "  - {id: symptom.slow, rev: 1, kind: symptom, title: slow, severity: critical, scope: instance,"
        ' when: "op.slow > 10ms"}\n'
    )
    return ("schema: engram-diagnose/rules/v1\npack: test\nrules:\n" + symptom + "".join(texts)).encode()


DISK = cause("disk", "disk.busy > 50%")
LOCK = cause("lock", "lock.busy > 50%", evidence='[{if: "lock.busy > 80%", seen: strong}]')


def facts(**values: float) -> list[Fact]:
    return [Fact(name.replace("__", "."), point(value), source="test") for name, value in values.items()]


BAD = {"op__slow": 0.05, "disk__busy": 0.9, "lock__busy": 0.9, "host__cores": 4.0, "host__load": 9.0}
WELL = {"op__slow": 0.001, "disk__busy": 0.1, "lock__busy": 0.9}


def diagnosed(then: list[Fact] | None, *texts: str, now: list[Fact] | None = None, **look):
    files = {"catalogue.yaml": CATALOGUE, "inference.yaml": INFERENCE, "rules.yaml": rules(*(texts or (DISK, LOCK)))}
    loaded = load(files)
    asked: list[frozenset[str]] = []

    def give(names):
        asked.append(names)
        return then or []

    back = None if then is None else LookBack(THEN, give, **look)
    subject = Subject("db1:7432", "db1", NOW)
    return expert(loaded).diagnose(facts(**BAD) if now is None else now, subject, look_back=back), asked


def ranked(diagnosis) -> list[tuple[str, str]]:
    return [(one.rule.id.removeprefix("cause."), one.moved) for one in diagnosis.causes]


def test_without_a_quiet_time_causes_rank_by_what_is_known_now():
    assert ranked(diagnosed(None)[0]) == [("lock", "untold"), ("disk", "untold")]


def test_a_cause_that_was_there_while_all_was_well_ranks_below_one_that_began():
    found = diagnosed(facts(**WELL))[0]
    assert ranked(found) == [("disk", "moved"), ("lock", "stood")]


def test_where_it_was_slow_before_as_well_nothing_is_held_against_a_cause():
    found = diagnosed(facts(**{**WELL, "op__slow": 0.08}))[0]
    assert ranked(found) == [("lock", "untold"), ("disk", "moved")]


def test_what_nobody_knows_of_before_is_not_held_against_a_cause():
    then = [*facts(op__slow=0.001, disk__busy=0.1), unknown_fact("lock.busy", Reason.SOURCE_ABSENT)]
    assert ranked(diagnosed(then)[0]) == [("lock", "untold"), ("disk", "moved")]


def test_a_quiet_time_of_which_nothing_is_known_changes_nothing():
    then = [unknown_fact(name, Reason.SOURCE_ABSENT) for name in ("op.slow", "disk.busy", "lock.busy")]
    found = diagnosed(then)[0]
    assert ranked(found) == [("lock", "untold"), ("disk", "untold")]
    assert document(found)["changed"] is None


def test_a_rule_that_compares_with_before_has_moved_by_itself():
    surge = cause("surge", "ops.rate > 2 * ops.rate@before")
    now = [*facts(**BAD, ops__rate=900.0), Fact("ops.rate@before", point(100.0), source="test")]
    found = diagnosed(facts(**WELL, ops__rate=100.0), surge, LOCK, now=now)[0]
    assert ranked(found) == [("surge", "moved"), ("lock", "stood")]


def test_a_milder_symptom_s_cause_stays_below_whatever_moved():
    mild = cause("mild", "disk.busy > 50%", explains="[]")
    found = diagnosed(facts(**WELL), mild, LOCK)[0]
    assert [name for name, _ in ranked(found)] == ["lock", "mild"]


MASKS = LOCK.replace("explains:", "masks: [cause.disk], explains:")


def test_what_stood_does_not_mask_what_began_beside_it():
    found = diagnosed(facts(**WELL), DISK, MASKS)[0]
    assert (ranked(found), found.masked) == ([("disk", "moved"), ("lock", "stood")], ())


def test_what_began_with_the_other_masks_it():
    found = diagnosed(facts(**{**WELL, "lock__busy": 0.1}), DISK, MASKS)[0]
    assert ranked(found) == [("lock", "moved")]
    assert [one.cause.rule.id for one in found.masked] == ["cause.disk"]


def test_where_both_stood_or_nobody_knows_a_mask_is_one():
    for then in (facts(**{**WELL, "disk__busy": 0.9}), facts(op__slow=0.001, lock__busy=0.9), None):
        found = diagnosed(then, DISK, MASKS)[0]
        assert [one.cause.rule.id for one in found.masked] == ["cause.disk"]


def test_what_is_fixed_was_the_same_and_what_moves_is_not_taken_for_it():
    sized = cause("sized", "disk.busy / host.cores > 0.01")
    loaded = cause("loaded", "host.load > 5")
    found = diagnosed(facts(op__slow=0.001, disk__busy=0.9), sized, loaded)[0]
    assert dict(ranked(found)) == {"sized": "stood", "loaded": "untold"}


def test_derived_facts_are_derived_of_the_quiet_time_too():
    derive = (
        "  - {id: made.load, rev: 1, kind: derive, title: load, scope: instance, output: disk.level,"
        ' value: "disk.busy * 10"}\n'
    )
    loaded = cause("loaded", "disk.level > 5")
    found = diagnosed(facts(**WELL), derive, loaded)[0]
    assert ranked(found) == [("loaded", "moved")]


def test_only_what_was_found_is_asked_of_the_quiet_time():
    quiet = cause("quiet", "host.load > 50")
    _, asked = diagnosed(facts(**WELL), DISK, quiet)
    assert asked == [frozenset({"op.slow", "disk.busy", "server.version"})]


def test_evidence_says_whether_it_was_so_before():
    found = document(diagnosed(facts(**WELL))[0])
    lock = next(one for one in found["causes"] if one["rule"] == "cause.lock")
    assert [piece["before"] for piece in lock["evidence"]["for"]] == ["true"]
    assert lock["moved"] == "stood"


# What changed


LOAD = Measure("rate", ("ops.rate",), 0.1, heavier=True)


def changed(now: list[Fact], then: list[Fact]) -> dict[str, tuple[str, str]]:
    found = document(diagnosed([*facts(**WELL), *then], now=[*facts(**BAD), *now], measures=(LOAD,))[0])
    entries = found["changed"]["entries"]
    schema = json.loads((Path(__file__).parents[3] / "rules/schema/diagnosis-v1.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, schema)
    return {one["what"]: (one["state"], one["sentence"]) for one in entries}


def test_load_that_rose_is_said_with_both_figures():
    found = changed(facts(ops__rate=300.0), facts(ops__rate=100.0))
    assert found["load"] == ("changed", "load: ops.rate 100/s before, 300/s now, +200%")


def test_load_within_the_tolerance_is_as_before():
    assert changed(facts(ops__rate=105.0), facts(ops__rate=100.0))["load"][0] == "alike"


def test_what_one_side_does_not_know_is_unknown():
    found = changed([], facts(ops__rate=100.0))
    assert {state for state, _ in found.values()} == {"unknown"}
    assert "ops.rate" in found["load"][1]


def test_a_restart_since_the_quiet_time_is_said_and_an_older_one_is_not():
    assert changed(facts(process__uptime=600.0), [])["restart"] == (
        "changed",
        "restart: the server was started 10 min ago",
    )
    assert changed(facts(process__uptime=86400.0), [])["restart"][0] == "alike"


def test_an_age_on_both_sides_of_the_quiet_time_tells_nothing():
    spread = [Fact(name, (600.0, 86400.0), source="test") for name in ("process.uptime", "server.config_age")]
    found = changed(spread, [])
    assert found["restart"] == ("unknown", "restart: not known, the server runs for 10 min to 1 d")
    assert found["configuration"] == ("unknown", "configuration: not known, the file was changed 10 min to 1 d ago")


def test_a_configuration_changed_since_says_whether_it_is_in_effect():
    state, said = changed(facts(process__uptime=86400.0, server__config_age=600.0), [])["configuration"]
    assert state == "changed"
    assert "10 min ago; the server was not restarted since" in said
    restarted = changed(facts(process__uptime=60.0, server__config_age=600.0), [])["configuration"]
    assert restarted == ("changed", "configuration: the file was changed 10 min ago")


def test_a_new_version_is_said_with_both():
    version = Fact("server.version", "0.1.9", source="test")
    found = changed([version], [replace(version, value="0.1.7")])
    assert found["version"] == ("changed", "version: 0.1.7 before, 0.1.9 now")
