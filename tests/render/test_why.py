"""Why, why not and how: transcripts, the arithmetic, and what is said of a name that is not there."""

import math
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.render.how import render_how
from engram_diagnose.render.layout import cells
from engram_diagnose.render.named import NotInDiagnosisError, rules_of
from engram_diagnose.render.why import explain, render_why, render_why_not

Json = dict[str, Any]
Documents = dict[str, Json]
Golden = Callable[[str, str], None]


@pytest.mark.parametrize("rule", ["wal.amplified", "host.quota", "slow.recall", "size.latency"])
def test_why_reads_like_its_transcript(documents: Documents, golden: Golden, rule: str) -> None:
    golden(f"why-{rule}.txt", render_why(documents["incident"], rule))


def test_a_narrow_why_reads_like_its_transcript(documents: Documents, golden: Golden) -> None:
    golden("why-wal.amplified-40.txt", render_why(documents["incident"], "wal.amplified", console_width=40))


@pytest.mark.parametrize("rule", ["wal.amplified", "host.quota"])
def test_the_factors_of_the_order_multiply_to_the_score(documents: Documents, rule: str) -> None:
    told = re.search(r"([0-9.]+) x ([0-9.]+) x ([0-9.]+) = ([0-9.]+)", render_why(documents["incident"], rule))
    assert told
    *factors, score = map(float, told.groups())
    assert math.prod(factors) == pytest.approx(score, abs=0.001)


@pytest.mark.parametrize("rule", ["cpu.saturated", "simd.off", "recall.jitter", "busy.disk", "cache.thrash"])
def test_why_not_reads_like_its_transcript(documents: Documents, golden: Golden, rule: str) -> None:
    golden(f"why-not-{rule}.txt", render_why_not(documents["incident"], rule))


@pytest.mark.parametrize("fact", ["expected.op_latency", "op.latency.p99", "cache.miss_ratio", "io.bytes_per_write"])
def test_how_reads_like_its_transcript(documents: Documents, golden: Golden, fact: str) -> None:
    golden(f"how-{fact}.txt", render_how(documents["incident"], fact))


def test_the_arithmetic_comes_to_the_confidence(documents: Documents) -> None:
    """Each step multiplies the odds; the last of them is the figure that was concluded."""
    (cause,) = [item for item in documents["incident"]["causes"] if item["rule"] == "wal.amplified"]
    text = render_why(documents["incident"], "wal.amplified", console_width=100)
    odds = 0.6 / 0.4
    for sign, ratio in re.findall(r"([x/]) ([\d.]+) +(?:weak|moderate|strong|decisive)", text):
        odds *= float(ratio) if sign == "x" else 1 / float(ratio)
    assert math.isclose(odds / (1 + odds), cause["confidence"]["probability"], rel_tol=1e-3)


def test_the_impact_is_worked_out_in_the_open(documents: Documents) -> None:
    text = " ".join(render_why(documents["incident"], "host.quota").split())
    assert "relief / breach = 43.5 ms / |145 ms - 25 ms| = 36 %" in text


def test_why_of_a_masked_cause_says_what_masks_it(documents: Documents) -> None:
    assert "masked by wal.amplified: test again once" in " ".join(render_why(documents["wal"], "wal.wait").split())
    assert "masked by wal.amplified: test again once" in " ".join(render_why_not(documents["wal"], "wal.wait").split())


def test_why_not_of_a_concluded_cause_says_that_it_was(documents: Documents) -> None:
    assert "concluded, rank 1" in render_why_not(documents["incident"], "host.quota")


def test_why_shows_a_rule_in_every_scope(documents: Documents) -> None:
    text = render_why(documents["incident"], "slow.recall")
    assert "{space=tenant-a}" in text
    assert "{space=tenant-b}" in text
    assert "not there" in text, "where it was tested and not found"


def test_every_rule_of_a_document_can_be_asked_for(documents: Documents) -> None:
    for document in documents.values():
        for rule in rules_of(document):
            assert render_why(document, rule)
            assert render_why_not(document, rule)


def test_every_fact_of_a_document_can_be_asked_for(documents: Documents) -> None:
    for fact in documents["incident"]["facts"]:
        assert fact["text"] in render_how(documents["incident"], fact["name"])
    for item in documents["incident"]["not_testable"]:
        for missing in item["missing"]:
            assert "unknown" in render_how(documents["incident"], missing["fact"])


def test_explain_takes_a_rule_or_a_fact(documents: Documents) -> None:
    document = documents["incident"]
    assert explain(document, "host.quota") == render_why(document, "host.quota")
    assert explain(document, " wal.flush.p99 ") == render_how(document, "wal.flush.p99")
    assert explain(document, "op.latency.p99{space=tenant-b}") == render_how(document, "op.latency.p99{space=tenant-b}")
    assert explain(document, "io.bytes_per_write") == render_how(document, "io.bytes_per_write")


def test_labels_narrow_what_is_asked_for(documents: Documents) -> None:
    text = render_how(documents["incident"], "op.latency.p99{space=tenant-b}")
    assert "145 ms" in text
    assert "45 ms\n" in text
    assert "{operation=recall, space=tenant-a}" not in text


def test_a_fact_names_the_rules_that_read_it(documents: Documents) -> None:
    assert "read by     wal.amplified" in render_how(documents["wal"], "wal.flush.p99")


def test_an_unknown_fact_says_how_to_get_it(documents: Documents) -> None:
    text = " ".join(render_how(documents["wal"], "io.fsync_wait_share").split())
    assert "unknown because no collector was asked for it get it by engram-diagnose profile" in text


@pytest.mark.parametrize(
    ("ask", "name", "says"),
    [
        (render_why, "wal.amplifed", "rule wal.amplifed: did you mean wal.amplified"),
        (render_why_not, "host.quotas", "rule host.quotas: did you mean host.quota"),
        (render_how, "wal.flush.p98", "fact wal.flush.p98: did you mean wal.flush.p99"),
        (render_why, "zzzz", "`engram-diagnose rules list` shows all rules"),
        (render_how, "zzzz", "no rule asked for it and no collector brought it"),
        (render_why, "a\x1b[31m\n", r"a\\x1b\[31m\\n"),
        (render_how, "", "fact : "),
        (explain, "wal.flush.p98", "rule or fact wal.flush.p98: did you mean wal.flush.p99"),
        (explain, "host.quotas", "did you mean host.quota"),
    ],
)
def test_a_name_that_is_not_there_is_an_error_with_a_guess(
    documents: Documents, ask: Callable[..., str], name: str, says: str
) -> None:
    with pytest.raises(NotInDiagnosisError, match=says) as raised:
        ask(documents["incident"], name)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_console(documents: Documents, width: int) -> None:
    for rule in rules_of(documents["hostile"]):
        for line in render_why(documents["hostile"], rule, console_width=width).splitlines():
            assert cells(line) <= max(20, width)


def test_colour_changes_nothing_but_colour(documents: Documents) -> None:
    for ask, name in ((render_why, "wal.amplified"), (render_why_not, "cpu.saturated"), (render_how, "wal.flush.p99")):
        plain, coloured = (ask(documents["incident"], name, color=color) for color in (False, True))
        assert coloured != plain
        assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


@settings(max_examples=40)
@given(texts=st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=5))
def test_no_text_from_outside_reaches_the_terminal_as_it_is(
    documents: Documents, soiled: Callable[[Any, Sequence[str]], Any], texts: list[str]
) -> None:
    document = soiled(documents["incident"], texts)
    for item in (*document["causes"], *document["symptoms"], *document["ruled_out"], *document["not_testable"]):
        item["rule"] = "rule"
    for fact in document["facts"]:
        fact["name"] = "fact"
    for text in (render_why(document, "rule"), render_why_not(document, "rule"), render_how(document, "fact")):
        assert text.replace("\n", "").isprintable()


def test_asking_leaves_the_document_as_it_was(documents: Documents) -> None:
    before = deepcopy(documents["incident"])
    render_why(documents["incident"], "wal.amplified")
    render_how(documents["incident"], "wal.flush.p99")
    assert documents["incident"] == before
