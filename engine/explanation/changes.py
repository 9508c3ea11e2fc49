"""
What changed since the quiet time: load, mix, size, version, configuration, and whether the server was restarted.

Said of every diagnosis that has a quiet time to compare with, whatever the causes: it is the first question of whoever
was not there.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from engram_diagnose.engine.comparison.load import Measured, compare_load
from engram_diagnose.engine.comparison.policy import Measure
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.engine.ranking.change import VERSION, Before

Json = dict[str, Any]

UPTIME: Final = "process.uptime"
SETTINGS_AGE: Final = "server.config_age"
_NAMES: Final[Mapping[str, str]] = {"rate": "load"}
_SECONDS: Final = UNITS["s"]


def changes(now: Memory, before: Before, at: float, catalogue: Catalogue) -> list[Json]:
    """
    An entry for each thing that may have changed: `what`, the `fact`, `before` and `now` in words, `state`, and a
    `sentence`.

    `state` is `changed`, `alike`, or `unknown` where one side does not know it.
    """
    measures = before.measures
    load = compare_load(_figures(before.memory, measures), _figures(now, measures), measures)
    found = [_measured(one, catalogue) for one in load.measures]
    seconds = at - before.time
    return [*found, _version(now, before.memory), _restart(now, seconds), _settings(now, seconds)]


def _figures(memory: Memory, measures: Iterable[Measure]) -> dict[str, float]:
    """What is known of the whole instance; the middle of what is known as an interval."""
    found = {}
    for name in (name for measure in measures for name in measure.facts):
        value = memory.value(name)
        if isinstance(value, tuple):
            found[name] = (value[0] + value[1]) / 2
    return found


def _entry(what: str, fact: str, before: str | None, now: str | None, changed: bool | None, sentence: str) -> Json:
    state = "unknown" if changed is None else "changed" if changed else "alike"
    return {"what": what, "fact": fact, "before": before, "now": now, "state": state, "sentence": sentence}


def _measured(one: Measured, catalogue: Catalogue) -> Json:
    what = _NAMES.get(one.measure.name, one.measure.name)
    if one.before is None or one.after is None:
        facts = " or ".join(one.measure.facts)
        return _entry(what, one.measure.facts[0], None, None, None, f"{what}: not known of both times ({facts})")
    spec = catalogue.spec(one.on)
    then, now = (fact_text((value, value), spec) for value in (one.before, one.after))
    changed = one.state != "comparable"
    by = (
        f", {(one.after - one.before) / one.before:+.0%}" if changed and one.before and not one.measure.absolute else ""
    )
    sentence = f"{what}: {one.on} {then} before, {now} now{by}"
    return _entry(what, one.on, then, now, changed, sentence if changed else f"{what}: {one.on} {now}, as before")


def _version(now: Memory, before: Memory) -> Json:
    running, ran = now.value(VERSION), before.value(VERSION)
    if not isinstance(running, str) or not isinstance(ran, str):
        return _entry("version", VERSION, None, running if isinstance(running, str) else None, None,
                      "version: not known of both times")  # fmt: skip
    changed = running != ran
    sentence = f"version: {ran} before, {running} now" if changed else f"version: {running}, as before"
    return _entry("version", VERSION, ran, running, changed, sentence)


def _restart(now: Memory, seconds: float) -> Json:
    uptime = now.value(UPTIME)
    if not isinstance(uptime, tuple):
        return _entry("restart", UPTIME, None, None, None, f"restart: not known ({UPTIME})")
    ago = format_value(uptime[1], _SECONDS)
    if uptime[0] < seconds <= uptime[1]:
        since = format_value(uptime[0], _SECONDS)
        return _entry("restart", UPTIME, None, ago, None, f"restart: not known, the server runs for {since} to {ago}")
    changed = uptime[1] < seconds
    said = f"the server was started {ago} ago" if changed else f"none, the server runs for {ago}"
    return _entry("restart", UPTIME, None, ago, changed, f"restart: {said}")


def _settings(now: Memory, seconds: float) -> Json:
    age, uptime = now.value(SETTINGS_AGE), now.value(UPTIME)
    if not isinstance(age, tuple):
        return _entry("configuration", SETTINGS_AGE, None, None, None, f"configuration: not known ({SETTINGS_AGE})")
    ago = format_value(age[1], _SECONDS)
    if age[0] < seconds <= age[1]:
        since = format_value(age[0], _SECONDS)
        return _entry("configuration", SETTINGS_AGE, None, ago, None,
                      f"configuration: not known, the file was changed {since} to {ago} ago")  # fmt: skip
    changed = age[1] < seconds
    newer = isinstance(uptime, tuple) and uptime[0] > age[1]
    effect = "; the server was not restarted since, so what needs a restart is not in effect" if newer else ""
    said = f"the file was changed {ago} ago{effect if changed else ''}"
    return _entry("configuration", SETTINGS_AGE, None, ago, changed, f"configuration: {said}")
