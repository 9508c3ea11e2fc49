"""
A benchmark with what it comes to: the document that every report is rendered from.

`rules/schema/bench-report-v1.json` is its schema. The runs stand in it as the benchmark format has them, unchanged, so
that `verify` can be given the part `benchmark` by itself; beside them stand the verdicts, what the rule base advises,
and notes.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.unit import UNITS, format_value

SCHEMA: Final = "engram-diagnose/bench-report/v1"
Json = Mapping[str, Any]
State = Literal["pass", "fail", "invalid", "not measured"]
STATES: Final[tuple[State, ...]] = ("fail", "invalid", "not measured", "pass")
"""As they are listed: what needs attention first."""
Overall = Literal["pass", "partly", "fail", "invalid", "untested"]
_WORDS: Final = {"fail": "failed", "pass": "passed"}
_MOST_PROBLEMS: Final = 20
_CHANGE: Final = ("parameter", "key", "from", "to", "write", "restart", "ignored_by_release")


class ReportError(ValueError):
    """A report that cannot be used; says where in the document and what is wrong."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    One figure of one workload held against one set of targets.

    `on` is the fact, `scope` its labels, `limit` and `measured` are in its base unit. `measured` may be None where the
    state is neither pass nor fail. `state` is `invalid` where the client was the bottleneck or the run was cut short
    (`reason` says which; the figure may stand beside it and counts for nothing), `not measured` where there is no
    figure, or one of too few requests. `runs` are the `order`s of the benchmark's runs that it rests on.
    """

    workload: str
    on: str
    scope: Mapping[str, str]
    target_set: str
    better: Literal["lower", "higher"]
    limit: float
    measured: float | None
    state: State
    about: str = ""
    reason: str = ""
    runs: tuple[int, ...] = ()


def overall(states: Iterable[str]) -> Overall:
    """
    What verdicts come to: one failed fails all, one that is invalid leaves it open.

    `partly` when nothing failed and something was not measured: that is no pass.
    """
    found = set(states)
    if "fail" in found:
        return "fail"
    if "invalid" in found:
        return "invalid"
    if "pass" not in found:
        return "untested"
    return "partly" if "not measured" in found else "pass"


def report_document(*, benchmark: Json, verdicts: Sequence[Verdict], target_set: str, catalogue: Catalogue,
                    diagnosis: Json | None = None, notes: Iterable[str] = ()) -> dict[str, Any]:  # fmt: skip
    """
    The document of a benchmark (the benchmark format), its verdicts, and the diagnosis made at the same time.

    `diagnosis` is a whole diagnosis document, of which the likely causes are kept; without one, notes should say why.
    """
    return {
        "schema": SCHEMA,
        "name": benchmark["name"],
        "tool": benchmark["tool"],
        "target_set": target_set,
        "verdict": _overall_entry(verdicts, target_set),
        "verdicts": [_entry(one, catalogue) for one in verdicts],
        "recommendations": None if diagnosis is None else recommendations_of(diagnosis),
        "notes": list(notes),
        "benchmark": benchmark,
    }


def _overall_entry(verdicts: Sequence[Verdict], target_set: str) -> Json:
    states = [one.state for one in verdicts]
    listed = ", ".join(f"{states.count(state)} {_WORDS.get(state, state)}" for state in STATES if state in states)
    sentence = f"{listed}, held to the set {target_set}" if listed else f"nothing was held against {target_set}"
    return {"state": overall(states), "sentence": sentence, "counts": {state: states.count(state) for state in STATES}}


def _entry(one: Verdict, catalogue: Catalogue) -> Json:
    spec = catalogue.facts.get(one.on)
    unit = spec.unit if spec else UNITS[""]
    sign = "at most" if one.better == "lower" else "at least"
    return {
        "workload": one.workload,
        "on": one.on,
        "scope": dict(one.scope),
        "unit": unit.symbol,
        "target_set": one.target_set,
        "better": one.better,
        "limit": one.limit,
        "limit_text": f"{sign} {format_value(one.limit, unit)}",
        "measured": one.measured,
        "measured_text": "" if one.measured is None else format_value(one.measured, unit),
        "state": one.state,
        "about": one.about,
        "reason": one.reason,
        "runs": list(one.runs),
    }


# Recommendations


def recommendations_of(diagnosis: Json) -> dict[str, Any]:
    """
    What a diagnosis document advises: its concluded causes that explain a missed target, ranked as they were.

    Those that are negligible are left out, and counted.
    """
    explaining = [one for one in diagnosis["causes"] if one["explains"]]
    unlikely = sum(one["negligible"] for one in explaining)
    counted = f", {unlikely} of them unlikely" if unlikely else ""
    return {
        "sentence": f"{diagnosis['verdict']['sentence']}{counted}",
        "state": diagnosis["verdict"]["state"],
        "coverage": diagnosis["coverage"]["sentence"],
        "calibrated": diagnosis["rule_base"]["calibrated"],
        "calibration": diagnosis["rule_base"].get("calibration"),
        "causes": [_cause(one) for one in explaining if not one["negligible"]],
    }


def _cause(cause: Json) -> Json:
    confidence = cause["confidence"]
    return {
        "rule": cause["rule"],
        "title": cause["title"],
        "scope": dict(cause["scope"]),
        "severity": cause["severity"],
        "confidence": {key: confidence[key] for key in ("probability", "low", "high", "word")},
        "explains": [one["title"] for one in cause["explains"]],
        "reason": cause["reason"],
        "remedies": [_remedy(one) for one in cause["recommend"]],
    }


def _remedy(remedy: Json) -> Json:
    kept = {key: remedy[key] or "" for key in ("when", "investigate", "because", "tradeoff")}
    changes = [{key: change[key] for key in _CHANGE} for change in remedy["changes"]]
    return {**kept, "commands": list(remedy["commands"]), "changes": changes}


# Reading


def read_report(name: str, data: bytes) -> dict[str, Any]:
    """
    The report in a file's bytes; `name` is what messages call it.

    Raises `ReportError` with every problem, each with its place in the document.
    """
    try:
        document = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{name}: not JSON ({error}); give the file as `bench --format json` wrote it") from None
    problems = list(_problems(document))
    if problems:
        listed = "\n  ".join(problems[:_MOST_PROBLEMS])
        raise ReportError(f"{name} is no report of a benchmark:\n  {listed}")
    found: dict[str, Any] = document
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    figure = float(text)
    return figure if math.isfinite(figure) else _refuse(text)


def _problems(document: object) -> Iterable[str]:
    from jsonschema import Draft202012Validator

    path = Path(__file__).parent.parent / "rules" / "schema" / "bench-report-v1.json"
    validator = Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
    errors = sorted(validator.iter_errors(document), key=lambda error: [str(part) for part in error.absolute_path])
    for error in errors:
        place = "/".join(map(str, error.absolute_path)) or "the document"
        yield f"{place}: {error.message[:200]}"
    if not errors and isinstance(document, dict):
        from engram_diagnose.verification.benchmark import BenchmarkError, read_benchmark

        try:
            read_benchmark("benchmark", json.dumps(document["benchmark"]).encode())
        except BenchmarkError as error:
            yield str(error)
