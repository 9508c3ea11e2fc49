"""The flowchart: every symptom and cause has its place, the guide's questions come first, the pictures are whole."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.reference.block import Picture, to_text
from engram_diagnose.reference.flowchart import OVERVIEW, Chart, charts, first_action
from engram_diagnose.reference.flowchart_page import flowchart_pictures
from engram_diagnose.reference.flowchart_picture import picture
from engram_diagnose.reference.index import Index, index_of
from engram_diagnose.reference.pages import pages, stale_pages
from engram_diagnose.rulebase import load_rules

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    """The rules that come with the tool."""
    return load_rules()


@pytest.fixture(scope="module")
def index(loaded: Loaded) -> Index:
    """The rules with their back references."""
    return index_of(loaded)


@pytest.fixture(scope="module")
def drawn(index: Index) -> dict[str, Chart]:
    """The charts by name."""
    return {chart.name: chart for chart in charts(index)}


def rules_of(chart: Chart) -> list[str]:
    return [rule for question in chart.questions for rule in question.rules]


def test_every_page_and_picture_of_the_reference_is_fresh(root: Path, index: Index) -> None:
    assert stale_pages(root / "docs" / "reference", index) == [], "run: engram-diagnose rules docs docs/reference"


def test_every_symptom_is_asked_about_first(loaded: Loaded, drawn: dict[str, Chart]) -> None:
    symptoms = {rule.id for rule in loaded.rules.rules.values() if rule.kind == "symptom"}
    assert symptoms - set(rules_of(drawn[OVERVIEW])) == {"symptom.alert-other"}  # which says only that it is unknown


def test_every_cause_stands_in_a_chart_that_can_be_reached(loaded: Loaded, drawn: dict[str, Chart]) -> None:
    reached, todo = set[str](), [OVERVIEW]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [
                *(question.chart for question in drawn[name].questions if question.chart),
                *(after for after, _ in drawn[name].next),
            ]
    assert reached == set(drawn)
    causes = {rule.id for rule in loaded.rules.rules.values() if rule.kind == "cause"}
    assert causes - {rule for chart in drawn.values() for rule in rules_of(chart)} == set()


def test_from_a_symptom_every_cause_that_explains_it_is_reached(index: Index, drawn: dict[str, Chart]) -> None:
    for question in drawn[OVERVIEW].questions:
        names = [question.chart, *_following(drawn, question.chart)]
        there = {rule for name in names for rule in rules_of(drawn[name])}
        for symptom in question.rules:
            assert set(index.explained_by.get(symptom, ())) <= there, symptom


def _following(drawn: dict[str, Chart], name: str) -> list[str]:
    return [found for after, _ in drawn[name].next if after != OVERVIEW for found in (after, *_following(drawn, after))]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("activation", ["tiers.hot-tier-too-small", "activation.prefetch-out-of-range", "activation.batch-too-small"]),
        ("store", ["storage.wal-flush-slow", "storage.store-waits-for-wal", "storage.wal-write-amplification",
                   "locks.hot-tier-contention"]),
        ("completion", ["completion.too-deep", "completion.too-many-candidates"]),
        ("consolidation", ["consolidation.disturbs-queries"]),
    ],
)  # fmt: skip
def test_an_operations_questions_begin_with_the_guides(drawn: dict[str, Chart], name: str, first: list[str]) -> None:
    assert rules_of(drawn[name])[: len(first)] == first


def test_recall_asks_for_cache_misses_prefetching_links_and_vectors(drawn: dict[str, Chart]) -> None:
    asked = rules_of(drawn["recall"])[:6]
    assert asked[:2] == ["tiers.hot-tier-too-small", "memory.cache-misses"]
    assert {"index.low-connectivity", "simd.underutilised"} <= set(asked)
    assert drawn["recall"].questions[0].test.startswith("activation.cache_hit_ratio is below 80 %")


def test_no_cause_is_asked_for_twice_in_a_chart(drawn: dict[str, Chart]) -> None:
    for chart in drawn.values():
        if chart.name != OVERVIEW:
            asked = rules_of(chart)
            assert len(asked) == len(set(asked)), chart.name


def test_every_cause_says_what_to_look_at_and_what_to_do(drawn: dict[str, Chart]) -> None:
    for chart in drawn.values():
        for question in chart.questions:
            assert question.chart or (question.test and question.look and question.action), question
            assert "$" not in question.test


def test_what_to_do_names_the_servers_own_keys(loaded: Loaded, index: Index) -> None:
    action = first_action(loaded.rules.rules["tiers.hot-tier-too-small"], index)
    assert action == "Change storage.hot_tier_size_mb: tune says to what"


# --- Pictures -------------------------------------------------------------------------------------


def test_every_picture_is_svg_that_asks_nothing_of_a_network(index: Index) -> None:
    for name, text in flowchart_pictures(index).items():
        found = ElementTree.fromstring(text)
        assert found.tag == f"{SVG}svg", name
        assert not re.search(r"href|url\((?!#tip)|<script|@import", text), name


def test_every_question_stands_in_its_picture_within_the_frame(index: Index, drawn: dict[str, Chart]) -> None:
    made = flowchart_pictures(index)
    for chart in drawn.values():
        svg = ElementTree.fromstring(made[f"flowchart/{chart.name}.svg"])
        words = " ".join("".join(text.itertext()) for text in svg.iter(f"{SVG}text"))
        for question in chart.questions:
            assert " ".join(question.yes.split()) in words
        low = float(svg.attrib["height"])
        boxes = [box for box in svg.iter(f"{SVG}rect") if "class" in box.attrib]
        assert len(boxes) == 2 * len(chart.questions) + 1
        assert all(float(box.attrib["y"]) + float(box.attrib["height"]) <= low for box in boxes)


def test_text_stays_in_its_box(drawn: dict[str, Chart]) -> None:
    for chart in drawn.values():
        svg = ElementTree.fromstring(picture(chart))
        boxes = [tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height"))
                 for box in svg.iter(f"{SVG}rect") if "class" in box.attrib]  # fmt: skip
        for text in svg.iter(f"{SVG}text"):
            if text.attrib.get("class") == "title" or text.text in ("yes", "no"):
                continue
            at = float(text.attrib["x"]), float(text.attrib["y"])
            assert any(x <= at[0] <= x + width and y <= at[1] <= y + height for x, y, width, height in boxes), text.text


def test_hostile_titles_neither_break_a_picture_nor_a_page(index: Index) -> None:
    chart = charts(index)[0]
    hostile = Chart(chart.name, '<b>"&\x1b[31m', chart.questions, "]]><script>", ())
    text = picture(hostile)
    assert ElementTree.fromstring(text).findtext(f"{SVG}title", "").startswith('<b>"&')
    assert "\x1b" not in text
    assert "<script>" not in text


def test_on_a_terminal_a_picture_is_what_it_is_of() -> None:
    assert to_text([Picture("Recall is slow", "recall.svg")], width=80).strip() == "Recall is slow (recall.svg)"


def test_the_same_rules_give_the_same_bytes(index: Index) -> None:
    assert json.dumps(pages(index)) == json.dumps(pages(index_of(load_rules())))
