"""The worked example of docs/explanation/confidence.md is what the engine makes of it, figure by figure."""

import re
from pathlib import Path

import pytest

from engram_diagnose.engine.diagnosis import Expert, Subject, expert
from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.facts.unit import parse_quantity
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.engine.language.rule import STRENGTHS
from engram_diagnose.engine.ranking.cause import Cause
from engram_diagnose.rulebase import builtin_files

CAUSE = "example.one-flush-per-store"
ROW = re.compile(r"^\| (`.*`) \| (.+?) \| (\d+) % \| (\d+) % \| (\d+) % \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page."""
    return (root / "docs" / "explanation" / "confidence.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ready(page: str) -> Expert:
    """The shipped rules and the page's own."""
    match = re.search(r"```yaml\n# confidence-example\.yaml\n(.*?)```", page, re.DOTALL)
    assert match is not None
    return expert(load(builtin_files(), [{"confidence-example.yaml": match[1].encode()}]))


def fact(written: str) -> Fact:
    """`name{labels} = value` as a fact."""
    name, _, value = written.partition(" = ")
    reference = parse_reference(name)
    figure = value if value.isalpha() else point(parse_quantity(value).value)
    return Fact(reference.name, figure, scope=scope_of(dict(reference.labels)))


def concluded(ready: Expert, facts: list[Fact]) -> Cause:
    """The page's cause as it comes out with these facts."""
    return next(cause for cause in ready.diagnose(facts, Subject()).causes if cause.rule.id == CAUSE)


def test_every_row_of_the_example_is_what_the_engine_computes(page: str, ready: Expert) -> None:
    known: list[Fact] = []
    rows = ROW.findall(page)
    assert len(rows) == 5
    for added, odds, middle, low, high in rows:
        known += [fact(written) for written in re.findall(r"`([^`]+)`", added)]
        found = concluded(ready, known).confidence
        shown = tuple(f"{share:.0%}" for share in (found.probability, found.low, found.high))
        assert shown == (f"{middle}%", f"{low}%", f"{high}%"), added
        assert f"{found.probability / (1 - found.probability):.2g}" == f"{float(odds.split()[-1]):.2g}", added


def test_the_impact_and_the_score_of_the_example_hold(page: str, ready: Expert) -> None:
    rows = ROW.findall(page)[:4]
    known = [fact(written) for row in rows for written in re.findall(r"`([^`]+)`", row[0])]
    known += [fact("op.latency.p99{operation=store} = 30ms"), fact("host.attainable.fsync_p50 = 1ms")]
    cause = concluded(ready, known)
    assert f"8 of 20 ms: {cause.impact.middle:.0%}".replace("%", " %") in " ".join(page.split())
    assert f"84 % × 40 % × 50 % = {cause.score:.2f}" in " ".join(page.split())


def test_unknown_impact_ranks_by_its_middle(ready: Expert) -> None:
    known = [fact("wal.flush.p99 = 9ms"), fact("config.wal.sync_mode = immediate")]
    cause = concluded(ready, known)
    assert not cause.impact.known
    assert cause.score == pytest.approx(cause.confidence.probability / 2 * cause.weight)


def test_the_weights_of_the_page_are_those_of_the_rule_base(page: str, ready: Expert) -> None:
    weights = ready.loaded.scales.weights
    told = ", ".join(f"`{name}` {share:.0%}".replace("%", " %") for name, share in reversed(weights.severity.items()))
    assert f"| {told} |" in page
    assert f"{weights.slight:.0%}".replace("%", " %") + " where it is only just missed" in page
    assert f"{weights.stood:.0%}".replace("%", " %") + " where it held just as well" in page
    assert weights.full == 2, "the page says: missed twice over"


def test_the_words_and_strengths_of_the_page_are_those_of_the_rule_base(page: str, ready: Expert) -> None:
    scales = ready.loaded.scales
    for word, share in scales.certainty.items():
        assert f"`{word}` {share:.0%}".replace("%", " %") in page
    for strength in STRENGTHS[1:]:
        ratio = scales.likelihood_ratio[strength]
        assert f"| {strength} | × {ratio:g} | ÷ {ratio:g} |" in page
    assert f"less than {scales.tie_margin:g}" in " ".join(page.split())
    assert scales.calibrated is False, "the page says that the figures are not calibrated"
