"""A benchmark as text, as Markdown, as a page and for a pipeline: the same figures, and no text does anything."""

import base64
import copy
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from engram_diagnose.render.bench_drawing import drawn_curve, drawn_ladder, drawn_timeline, percentile_curve, round_up
from engram_diagnose.render.bench_html import bench_html
from engram_diagnose.render.bench_junit import bench_junit
from engram_diagnose.render.bench_markdown import bench_markdown
from engram_diagnose.render.bench_text import bench_text
from engram_diagnose.render.layout import cells

sys.path.append(str(Path(__file__).parent.parent / "bench"))
from made_report import BOUNDS, VERDICTS, benchmark, histogram, operation, report, run, timeline

Json = dict[str, Any]
Golden = Callable[[str, str], None]


@pytest.fixture(scope="module")
def advised(documents: dict[str, Json]) -> Json:
    return report(diagnosis=documents["wal"])


# --- The text -------------------------------------------------------------------------------------


def test_it_reads_as_it_did(advised: Json, golden: Golden) -> None:
    golden("bench.txt", bench_text(advised))
    golden("bench-40.txt", bench_text(advised, console_width=40))
    golden("bench.md", bench_markdown(advised))
    golden("bench.xml", bench_junit(advised))


@pytest.mark.parametrize("width", [30, 40, 59, 60, 72, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(advised: Json, width: int) -> None:
    # A command is copied rather than read: its words are not broken.
    lines = [line for line in bench_text(advised, console_width=width).splitlines() if "syscalls:" not in line]
    assert [line for line in lines if cells(line) > width and "wchar" not in line] == []


def test_in_ascii_there_is_nothing_else(advised: Json) -> None:
    text = bench_text(advised, ascii_only=True)
    assert text.isascii()
    assert "300 us" in text


def test_colours_change_no_text(advised: Json) -> None:
    coloured = re.sub(r"\x1b\[[0-9;]*m", "", bench_text(advised, color=True))
    assert coloured == bench_text(advised)


def test_the_answer_and_the_set_stand_first(advised: Json) -> None:
    first = bench_text(advised).splitlines()[0]
    assert first == "FAIL  1 failed, 1 invalid, 1 not measured, 1 passed, held to the set target"


def test_a_run_that_says_nothing_of_the_server_says_so_with_its_reason() -> None:
    made = report(runs=(run(reasons=["client-cpu", "not-delivered"]),))
    text = bench_text(made)
    assert "INVALID: " in text
    assert "no CPU left" in text


def test_without_a_diagnosis_there_are_no_recommendations() -> None:
    for text in (bench_text(report()), bench_markdown(report()), bench_html(report())):
        assert "recommendation" not in text.lower()


def test_a_run_without_a_good_answer_shows_unknown_latencies() -> None:
    dead = operation(0.003, count=0, errors={"refused": 500})
    made = report(runs=(run(operations={"recall": dead}),))
    text = bench_text(made)
    assert "500 (refused 500) failed" in text
    assert "P99 unknown" in text
    assert "<svg" not in bench_html({**made, "benchmark": benchmark({**run(operations={"recall": dead}), "timeline": {
        "interval_seconds": 1.0, "points": []}})})  # fmt: skip


# --- Ladders --------------------------------------------------------------------------------------


def climbing(*rates: float, late: float = 0.0) -> Json:
    """A ramp over rates, its P99 growing with them, and a mixed load; a step at `late` measured the client."""
    runs = []
    for number, rate in enumerate(rates, 1):
        one = run(number, "ramp", reasons=["client-lag"] if rate == late else [],
                  operations={"recall": operation(rate / 1e6), "store": operation(rate / 2e6, seed=2)})  # fmt: skip
        one["workload"]["offered_rate"] = rate
        runs.append(one)
    return report(runs=[*runs, run(len(rates) + 1, "mixed")])


def test_a_ramp_is_a_line_for_each_step_and_other_runs_are_told_in_full() -> None:
    made = climbing(250, 500, 1000, 2000, late=1000)
    text = bench_text(made, console_width=100)
    steps = [line for line in text.splitlines() if "/s offered, 4" in line]
    assert [line.split()[0] for line in steps] == ["250/s", "500/s", "1,000/s", "2,000/s"]
    assert "1,000/s offered, 400/s good, 0 failed" in text
    assert " ".join(text.split()).count("INVALID: the client sent late") == 1
    assert "RUN 5  mixed" in text
    assert "RUN 1 " not in text
    assert "| 3 | 1,000/s | 400/s | 0 |" in bench_markdown(made)


def test_the_drawing_of_a_ramp_has_a_line_for_each_operation_through_its_valid_steps() -> None:
    made = climbing(250, 500, 1000, 2000, late=1000)
    drawn = drawn_ladder(made["benchmark"]["runs"][:4], ("recall", "store"))
    assert drawn is not None
    assert [line.kind for line in drawn.lines] == ["recall", "store"]
    assert len(drawn.marks) == 6
    heights = [mark.y for mark in drawn.marks[:3]]
    assert heights == sorted(heights, reverse=True)
    assert drawn_ladder(made["benchmark"]["runs"][2:3], ("recall",)) is None


def test_two_runs_of_a_load_are_no_ladder() -> None:
    assert "RUN 1  ramp" in bench_text(climbing(250, 500))


# --- Percentile curves ----------------------------------------------------------------------------


LATENCIES = st.lists(st.floats(1e-5, 3.0), min_size=1, max_size=200)


@given(LATENCIES)
def test_a_curve_never_falls_and_ends_at_the_largest_observation(values: list[float]) -> None:
    curve = percentile_curve(histogram(values))
    assert curve[-1] == (1 / len(values), max(values))
    for (share, seconds), (next_share, next_seconds) in pairwise(curve[:-1]):
        assert next_share <= share
        assert next_seconds >= seconds


@given(LATENCIES)
def test_a_curve_counts_what_a_plain_count_finds(values: list[float]) -> None:
    found = histogram(values)
    for share, seconds in percentile_curve(found)[1:-1]:
        bucket = next(bound for bound in BOUNDS if bound >= seconds * (1 - 1e-12))
        assert share == pytest.approx(sum(value > bucket for value in values) / len(values), abs=1e-12)


@given(LATENCIES, LATENCIES)
def test_every_shape_of_a_drawing_lies_within_it(response: list[float], service: list[float]) -> None:
    one = {"response": histogram(response), "service": histogram(service)}
    drawn = drawn_curve(1, "recall", one, (0.01, "at most 10 ms"))
    for found in [drawn] if drawn else []:
        places = [tuple(map(float, pair)) for line in found.lines
                  for pair in re.findall(r"([-\d.]+) ([-\d.]+)", line.path)]  # fmt: skip
        places += [(mark.x, mark.y) for mark in found.marks]
        assert all(0 <= x <= found.width and 0 <= y <= found.height for x, y in places)


def test_a_stall_shows_in_response_and_not_in_service() -> None:
    stalled = operation(0.003, stalled=0.5)
    ends = {kind: percentile_curve(stalled[kind])[-1][1] for kind in ("response", "service")}
    assert ends["response"] > 5 * ends["service"]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.one_of(st.none(), st.floats(1e-6, 100))),
                max_size=40))  # fmt: skip
def test_a_timeline_of_whatever_happened_is_drawn_within_its_frame(
    seconds: list[tuple[int, int, float | None]],
) -> None:
    points = [{"at_seconds": float(at), "sent": ok + bad, "ok": ok, "errors": bad, "p50": p99, "p99": p99}
              for at, (ok, bad, p99) in enumerate(seconds)]  # fmt: skip
    for drawn in drawn_timeline({"interval_seconds": 1.0, "points": points}, name="run-1"):
        for line in drawn.lines:
            for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", line.path):
                assert 0 <= float(x) <= drawn.width
                assert 0 <= float(y) <= drawn.height


def test_failures_are_drawn_only_where_there_were_some() -> None:
    names = [[one.title for one in drawn_timeline(timeline(0.003, failing=failing), name="run-1")]
             for failing in (True, False)]  # fmt: skip
    assert "Failures a second" in names[0]
    assert "Failures a second" not in names[1]


def test_a_second_without_an_answer_is_a_gap_and_no_zero() -> None:
    made = timeline(0.003)
    made["points"][4]["p99"] = None
    waits = drawn_timeline(made, name="run-1")[1]
    assert len(waits.lines) == 2


@given(st.floats(1e-9, 1e12))
def test_an_axis_ends_at_a_round_figure_at_or_above(value: float) -> None:
    assert value * (1 - 1e-8) <= round_up(value) <= value * 2.6


# --- The page -------------------------------------------------------------------------------------


class Reading(HTMLParser):
    """What a browser makes of a page."""

    VOID = frozenset({"meta", "link", "br", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if "style" not in self.open:
            self.text.append(text)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


def test_the_page_and_the_markdown_say_what_the_text_says(advised: Json) -> None:
    text = bench_text(advised, console_width=100)
    page, marked = Reading(bench_html(advised)).words, bench_markdown(advised).replace("\\", "")
    for value in set(re.findall(r"\d[\d,.]*(?: (?:%|µs|ms|s)\b|/s)", text)):
        assert value in page, value
        assert value in marked, value
    for said in ("wal.amplified", "wal.sync_mode: immediate -> batch", "400/s were offered", "timeout 2"):
        assert said in page
        assert said in marked


def test_the_page_loads_and_runs_nothing(advised: Json) -> None:
    page = bench_html(advised)
    read = Reading(page)
    forbidden = {"script", "img", "iframe", "object", "embed", "form", "base", "use"}
    assert {tag for tag, _ in read.elements} & forbidden == set()
    assert [link["href"] for link in read.all("link")] == ["data:,"]
    assert not [name for _, found in read.elements for name in found if name.startswith("on") or name == "style"]
    assert "url(" not in page
    assert read.open == []
    sheet = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert sheet is not None
    digest = base64.b64encode(hashlib.sha256(sheet.group(1).encode()).digest()).decode()
    policy = next(meta["content"] for meta in read.all("meta") if "http-equiv" in meta)
    assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
                      "form-action 'none'")  # fmt: skip


def test_drawings_can_be_read_by_ear(advised: Json) -> None:
    read = Reading(bench_html(advised))
    ids = [found["id"] for _, found in read.elements if "id" in found]
    assert len(ids) == len(set(ids))
    drawings = list(read.all("svg"))
    assert len(drawings) == 10  # two runs: a curve for each operation, rate, P99 and failures
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert set(str(drawing["aria-labelledby"]).split()) <= set(ids)
    assert all(found.get("scope") in ("col", "row") for found in read.all("th"))
    tags = [tag for tag, _ in read.elements]
    assert tags.count("h1") == tags.count("main") == 1


# --- For a pipeline -------------------------------------------------------------------------------


def test_each_verdict_is_one_test_case_and_only_a_missed_limit_is_a_failure() -> None:
    root = Xml.fromstring(bench_junit(report()))
    cases = list(root.iter("testcase"))
    assert len(cases) == len(VERDICTS)
    outcomes = Counter(child.tag for case in cases for child in case)
    assert outcomes == {"failure": 1, "skipped": 2, "system-out": 1}
    assert root.attrib == {"name": "suite of the evening", "tests": "4", "failures": "1", "errors": "0", "skipped": "2"}
    assert {one.get("message") for one in root.iter("skipped")} == {
        "400/s were offered",
        "a worker of the client had no CPU left",
    }
    for suite in root.iter("testsuite"):
        assert int(suite.get("tests", 0)) == len(list(suite.iter("testcase")))


# --- Hostile texts --------------------------------------------------------------------------------


HOSTILE = ["\x1b[31m", "\x1b]0;owned\x07", "<script>alert(1)</script>", '"><svg onload=alert(1)>', "{{ 7*7 }} {x}",
           "\u202egnp", "a\r\nb", "& < > ' \" `", "\x9b2J", "\ud800", "x" * 3000, "]]>", "![](http://x.test/a.png)",
           "| a | b |", "\x00\x0b\ufffe"]  # fmt: skip
KEPT = frozenset({"schema", "state", "better", "loop", "started", "word", "when", "severity", "restart", "reasons"})
"""Keys whose texts are words of the format and not from outside."""


def soiled(value: Any, texts: Iterator[str], key: str = "") -> Any:
    if isinstance(value, str):
        return value if key in KEPT or not value else next(texts)
    if isinstance(value, dict) and key == "errors":
        return {next(texts): number for number in value.values()}
    if isinstance(value, dict):
        return {name: soiled(item, texts, name) for name, item in value.items()}
    if isinstance(value, list):
        return [soiled(item, texts, key) for item in value]
    return value


@pytest.mark.parametrize("start", range(len(HOSTILE)))
def test_hostile_texts_show_and_do_nothing(advised: Json, start: int) -> None:
    texts = iter((HOSTILE[start:] + HOSTILE[:start]) * 1000)
    made = soiled(copy.deepcopy(advised), texts)
    said = bench_text(made)
    assert all(character.isprintable() for character in said.replace("\n", ""))
    page = bench_html(made)
    read, plain = Reading(page), Reading(bench_html(advised))
    assert {tag for tag, _ in read.elements} <= {tag for tag, _ in plain.elements}
    assert not [name for _, found in read.elements for name in found if name.startswith("on")]
    assert read.open == []
    assert all(character.isprintable() or character == "\n" for character in page)
    Xml.fromstring(bench_junit(made).encode())  # it is XML


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_from_outside_becomes_markup_of_the_markdown(advised: Json, text: str) -> None:
    made = soiled(copy.deepcopy(advised), iter([text] * 100_000))
    tokens = MarkdownIt("commonmark").enable("table").parse(bench_markdown(made))
    found = {child.type for token in tokens for child in (token.children or [])} | {token.type for token in tokens}
    assert found & {"html_block", "html_inline", "image", "link_open"} == set()


def test_the_same_document_gives_the_same_bytes(advised: Json) -> None:
    again = json.loads(json.dumps(advised))
    for render in (bench_text, bench_markdown, bench_html, bench_junit):
        assert render(advised) == render(again)  # type: ignore[operator]


def test_of_very_many_runs_only_the_first_are_drawn() -> None:
    runs: Sequence[Json] = [run(number, operations={"recall": operation(0.003, count=50)}) for number in range(1, 60)]
    read = Reading(bench_html(report(runs=runs)))
    assert len(list(read.all("svg"))) == 40 * 4
    assert "Run 59" in read.words
