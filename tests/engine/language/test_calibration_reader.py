"""A fit on labelled cases: read where it holds, left out where it does not, never an excuse for other rankings."""

import math

import pytest

from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.language.loader import Loaded, load
from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.engine.rule_tests import run_tests
from engram_diagnose.incidents import example_incident
from engram_diagnose.rulebase import builtin_files
from engram_diagnose.session import diagnose_bundle

FIGURES = "possible 0.3, likely 0.6, near-certain 0.9, weak 2, moderate 5, strong 20, decisive 100"


def fit(intercept: str = "-0.5", slope: str = "0.5", figures: str = FIGURES, **changed: str) -> str:
    """A calibration as a file."""
    lines = {"intercept": intercept, "slope": slope, "figures": f'"{figures}"', "cases": "84", "source": "lab",
             "date": "2026-11-22", "provenance": "{corpus: none}"} | changed  # fmt: skip
    body = "".join(f"  {key}: {value}\n" for key, value in lines.items() if value)
    return f"schema: engram-diagnose/calibration/v1\nfit:\n{body}"


def with_fit(*texts: str) -> Loaded:
    """The shipped rules with calibrations laid over them, the last on top."""
    return load(builtin_files(), [{f"calibration-{n}.yaml": text.encode()} for n, text in enumerate(texts)])


@pytest.fixture(scope="module")
def fitted() -> Expert:
    """The shipped rules with a fit."""
    return expert(with_fit(fit()))


def test_the_shipped_rule_base_says_that_nothing_was_fitted_yet() -> None:
    scales = load(builtin_files()).scales
    assert (scales.calibration, scales.calibrated, scales.stated(0.7)) == (None, False, 0.7)


def test_confidences_are_stated_through_the_fit_and_ranked_as_before(fitted: Expert) -> None:
    plain = document(diagnose_bundle(example_incident(), expert(load(builtin_files()))))
    found = document(diagnose_bundle(example_incident(), fitted))
    assert [cause["rule"] for cause in found["causes"]] == [cause["rule"] for cause in plain["causes"]]
    assert found["rule_base"]["calibration"]["sentence"] == "calibrated on 84 lab cases"
    for now, before in zip(found["causes"], plain["causes"], strict=True):
        assert now["confidence"]["before_calibration"] == before["confidence"]["probability"]
        weighed = before["confidence"]["probability"]
        odds = math.exp(-0.5 + 0.5 * math.log(weighed / (1 - weighed)))
        assert now["confidence"]["probability"] == pytest.approx(odds / (1 + odds))
        assert now["confidence"]["low"] <= now["confidence"]["probability"] <= now["confidence"]["high"]
        assert now["score"] == before["score"]


def test_the_report_says_what_confidences_rest_on(fitted: Expert) -> None:
    from engram_diagnose.render.text import render_text

    text = render_text(document(diagnose_bundle(example_incident(), fitted)))
    assert "calibrated on 84 lab cases" in " ".join(text.split())
    assert "uncalibrated" not in text


def test_an_explanation_multiplies_what_was_weighed_and_tells_both(fitted: Expert) -> None:
    from engram_diagnose.render.why import render_why

    cause = document(diagnose_bundle(example_incident(), fitted))["causes"][0]
    text = " ".join(render_why(document(diagnose_bundle(example_incident(), fitted)), cause["rule"]).split())
    assert "confidence before the fit x impact" in text
    assert "came to in labelled cases" in text


def test_every_test_of_every_rule_passes_with_a_fit_as_without(fitted: Expert) -> None:
    assert [result for result in run_tests(fitted) if result.failure] == []


def test_a_sites_own_fit_stands_in_place_of_the_shipped_one() -> None:
    assert with_fit(fit(), fit(slope="2")).scales.calibration == with_fit(fit(slope="2")).scales.calibration
    assert with_fit(fit(), "schema: engram-diagnose/calibration/v1\nfit: none yet\n").scales.calibration is None


def test_a_fit_on_other_figures_is_left_out_and_said_so() -> None:
    loaded = with_fit(fit(figures="possible 0.2"))
    assert loaded.scales.calibrated is False
    assert any("fitted on other figures" in warning.message for warning in loaded.warnings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (fit(slope="0"), "slope is more than 0"), (fit(slope="-1"), "slope is more than 0"),
        (fit(slope="nan"), "slope lies between"), (fit(intercept="1e9"), "intercept lies between"),
        (fit(cases="0"), "cases is 1 or more"), (fit(provenance=""), "lacks 'provenance'"),
        (fit(provenance="none"), "provenance of fit must be a mapping"), (fit(extra="1"), "fit has no key 'extra'"),
        ("schema: engram-diagnose/calibration/v1\nfit: soon\n", "fit is 'none yet' or a mapping"),
        ("schema: engram-diagnose/calibration/v1\nfit: [1]\n", "fit of the file must be a mapping"),
        ("schema: engram-diagnose/calibration/v1\n", "lacks 'fit'"), (fit(date="soon"), "date must be a day"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_fit_is_told_at_its_place(text: str, told: str) -> None:
    with pytest.raises(RuleBaseError, match=told) as caught:
        with_fit(text)
    assert all(problem.mark.file == "calibration-0.yaml" for problem in caught.value.problems)
