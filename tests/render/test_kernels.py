"""What a host attained, in the terminal and as a page: the same figures, drawn to scale, and no text does anything."""

import base64
import copy
import hashlib
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.attaining.roofs import Point, Roof, Roofline, roofline_of
from engram_diagnose.attaining.standing import Standing
from engram_diagnose.render.drawing import drawn_ladder, drawn_roofline
from engram_diagnose.render.kernels import render_kernels
from engram_diagnose.render.kernels_html import render_kernels_html
from engram_diagnose.render.layout import cells
from engram_diagnose.render.measured import figure
from engram_diagnose.render.roofline import Scale, legend, plotted, ridge, scales

sys.path.append(str(Path(__file__).parent.parent / "attaining"))
from made_record import DAY, MEASURED, absent, attained, latency, one, part, record, wal, whole

Json = dict[str, Any]
Golden = Callable[[str, str], None]
Soil = Callable[[Any, Sequence[str]], Any]


def text_of(made: Json | None = None, width: int = 80, **more: Any) -> str:
    return render_kernels(attained(made), console_width=width, **more)


def words(text: str) -> str:
    return " ".join(text.split())


# --- The text -------------------------------------------------------------------------------------


def test_it_reads_as_it_did(golden: Golden) -> None:
    golden("attained.txt", text_of())


@pytest.mark.parametrize("width", [20, 40, 59, 60, 72, 80, 100, 400])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, ascii_only: bool) -> None:
    assert [line for line in text_of(width=width, ascii_only=ascii_only).splitlines() if cells(line) > width] == []


def test_in_ascii_there_is_nothing_else() -> None:
    made = whole()
    made["parts"][0]["of"]["cpu"] = made["parts"][-1]["of"]["cpu"] = "Prozessor für µOps 😀"
    assert text_of(made, ascii_only=True).isascii()
    assert "us waits" not in text_of(made)


def test_colours_change_no_text() -> None:
    coloured = render_kernels(attained(), color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text_of()


def test_only_what_is_not_stable_is_said_to_be_so() -> None:
    said = text_of()
    assert "stable" not in said.replace("unstable", "")
    assert re.search(r"factor, update add +5\.3 +40\.0 % +2  unstable\n", said)
    assert re.search(r"read, level memory +14 GB/s +1\.0 % +1\n", said)


def test_what_could_not_be_measured_says_why_and_how_to_have_it() -> None:
    said = words(text_of(record(wal())))
    assert (
        "not measured: all of it: no folder was named to write in; to have it: give the server's data directory" in said
    )


def test_of_one_reason_all_that_it_holds_for_is_named_once() -> None:
    lacking = [
        absent("cores.typical", "one CPU"),
        absent("cores.factor", "one CPU"),
        absent("cores.typical", "one CPU"),
    ]
    assert "not measured: typical; factor: one CPU" in text_of(record(part("cores", unmeasured=lacking)))


def test_a_record_that_has_expired_says_so() -> None:
    said = words(render_kernels(attained(at=MEASURED + 31 * DAY)))
    assert "out of date since 2026-10-21: measure again" in said
    assert "holds until" not in said


def test_facts_have_their_figure_and_their_end_or_the_reason_why_not() -> None:
    facts = (Standing("host.attainable.memory_latency", "latency", 97e-9, "s", "", MEASURED + 30 * DAY),
             Standing("host.attainable.fsync_p50", "wal", None, "", "the kernel wal has not been run"))  # fmt: skip
    said = render_kernels(attained(whole(), *facts))
    assert re.search(r"host\.attainable\.memory_latency +97 ns  until 2026-10-21\n", said)
    assert "not known: host.attainable.fsync_p50: the kernel wal has not been run" in words(said)


def test_a_note_of_everything_stands_alone_and_one_of_some_names_them() -> None:
    same = part("peak", [one("peak.fma", "/s", 1e9, notes=["of all"]), one("peak.add", "/s", 1e9, notes=["of all"])])
    assert "note: of all\n" in text_of(record(same))
    some = part("peak", [one("peak.fma", "/s", 1e9, notes=["of one"]), one("peak.add", "/s", 1e9)])
    assert "note: fma: of one\n" in text_of(record(some))
    rates = [one("peak.fma", "/s", 1e9, labels={"width": width}, notes=["of fma"]) for width in ("a", "b")]
    assert "note: fma: of fma\n" in text_of(record(part("peak", [*rates, one("peak.add", "/s", 1e9)])))
    assert "note: fma, width b: of b\n" in text_of(record(part("peak", [rates[0], {**rates[1], "notes": ["of b"]}])))


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(62e9, "B/s", "62 GB/s"), (95e-9, "s", "95 ns"), (4.2e-10, "s", "0.42 ns"), (1.4e6, "/s", "1.4 M/s"),
     (3.0, "s", "3 s"), (26.9 * 1024, "B", "26.9 KiB"), (999.9e-9, "s", "1 µs"), (0.0, "s", "0 s"), (9.5, "", "9.5"),
     (16.0, "count", "16"),
     (math.inf, "", "inf"), (1e30, "B/s", "1e+18 TB/s"), (12.5, "Gflop/s", "12.5 Gflop/s"), (120_000.0, "", "120,000")],
)  # fmt: skip
def test_figures_have_three_digits_and_a_unit_that_suits_them(value: float, unit: str, said: str) -> None:
    assert figure(value, unit) == said


# --- What it means --------------------------------------------------------------------------------


def test_each_part_says_what_its_figures_mean() -> None:
    said = words(text_of())
    for sentence in (
        "Going through a million vectors of 768 floats in memory takes 70.8 ms",
        "One thread gets 14 GB/s; 3.1 such threads use up what there is.",
        "A step to a node that is in no cache waits 97 ns, 74.6 times a hit in L1",
        "L3 11 MiB.",
        "On 4 KiB pages the largest loads take 1.3 times as long",
        "One core computes 92 Gflop/s at most, so that a similarity of 768 dimensions takes 16.7 ns or longer",
        "takes scalar code 15 times as long as vector code over rows",
        "cost up to 5.3 times what they cost apart",
    ):
        assert sentence in said


@given(st.data())
def test_no_sentence_and_no_drawing_needs_a_figure_that_is_not_there(data: st.DataObject) -> None:
    made = whole()
    for entry in made["parts"]:
        entry["measurements"] = [each for each in entry["measurements"] if data.draw(st.booleans())]
        for each in entry["measurements"]:
            if data.draw(st.integers(0, 9)) == 0:
                each["labels"] = {}
            if data.draw(st.integers(0, 9)) == 0:
                each |= {"median": 0.0, "lower": 0.0, "upper": 0.0, "attained": 0.0}
    for said in (text_of(made), render_kernels_html(attained(made))):
        assert not re.search(r"\b(nan|inf)\b", said)


# --- The roofline ---------------------------------------------------------------------------------


ROOFLINES = st.builds(
    Roofline,
    st.floats(1e6, 1e15),
    st.lists(st.builds(Roof, st.sampled_from(["L1", "L2", "memory"]), st.floats(1e6, 1e14)), min_size=1, max_size=5)
    .map(tuple),
    st.lists(st.builds(Point, st.just("rows"), st.just("L1"), st.integers(1, 64), st.floats(1e-3, 1e3),
                       st.floats(1e3, 1e15)), max_size=70).map(tuple),
)  # fmt: skip


@given(ROOFLINES, st.integers(60, 100))
def test_whatever_is_drawn_stays_within_its_columns(made: Roofline, width: int) -> None:
    for ascii_only in (False, True):
        lines = plotted(made, width=width, ascii_only=ascii_only)
        assert max(map(len, lines)) <= min(width, 72)
        assert not ascii_only or "".join(lines).isascii()
    assert len(legend(made)) == 1 + len(made.points)


@given(ROOFLINES)
def test_every_shape_of_the_drawing_lies_within_it(made: Roofline) -> None:
    drawn = drawn_roofline(made)
    places = [(mark.x, mark.y) for mark in drawn.marks]
    places += [
        tuple(map(float, pair.split())) for line in drawn.lines for pair in re.split("[ML]+ ?", line.path) if pair
    ]
    assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in places)


def test_roofs_rise_one_to_one_and_end_flat_at_the_peak() -> None:
    made = roofline_of(whole())
    assert made is not None
    across, up = scales(made)
    for roof in made.roofs:
        (first, low), (at, high), (last, flat) = ridge(made, roof, across)
        assert (low / first, high / at) == (pytest.approx(roof.bytes_per_second), pytest.approx(roof.bytes_per_second))
        assert high == flat == made.peak
        assert first == across.low < at < last == across.high
    assert 0 < up.at(made.peak) < 1


@given(st.floats(1e-9, 1e9), st.floats(1.1, 1e6), st.floats(0, 1))
def test_a_scale_gives_back_what_it_placed(low: float, factor: float, at: float) -> None:
    scale = Scale(low, low * factor)
    assert scale.at(scale.value(at)) == pytest.approx(at, abs=1e-6)


def test_points_of_one_place_stand_beside_each_other() -> None:
    points = tuple(Point("rows", f"L{number}", 1, 0.5, 2e9) for number in range(3))
    said = "\n".join(plotted(Roofline(50e9, (Roof("L1", 100e9),), points)))
    assert "abc" in said


# --- The latency ladder ---------------------------------------------------------------------------


def test_the_ladder_steps_up_and_names_its_plateaus() -> None:
    drawn = drawn_ladder(whole())
    assert drawn is not None
    assert [line.kind for line in drawn.lines] == ["huge", "small"]
    heights = [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", drawn.lines[0].path)]
    assert heights == sorted(heights, reverse=True)
    assert [label.text for label in drawn.labels] == ["L1 1.3 ns", "L2 4.15 ns", "L3 15 ns", "memory 97 ns"]


def test_labels_that_are_no_sizes_are_not_drawn() -> None:
    made = latency()
    for each in made["measurements"]:
        each["labels"] = {**each["labels"], "size": "\x1b[31m", "from": "0 B"}
    assert drawn_ladder(record(made)) is None
    assert drawn_ladder(record()) is None


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
        return words("".join(self.text))

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


@pytest.fixture(scope="module")
def page() -> str:
    return render_kernels_html(attained())


def test_the_page_says_what_the_text_says(page: str) -> None:
    said = Reading(page).words
    text = text_of(width=400)
    for value in set(re.findall(r"\d[\d,.]* (?:%|ns|µs|ms|[GT]B/s|[KM]iB|Gflop/s)|\d[\d.]* ?[kMG]/s", text)):
        assert value in said, value
    for entry in whole()["parts"]:
        assert entry["name"] in said.lower()


def test_the_page_loads_and_runs_nothing(page: str) -> None:
    read = Reading(page)
    assert {tag for tag, _ in read.elements} & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "use",
    } == set()
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


def test_drawings_can_be_read_by_ear(page: str) -> None:
    read = Reading(page)
    ids = [found["id"] for _, found in read.elements if "id" in found]
    assert len(ids) == len(set(ids))
    drawings = list(read.all("svg"))
    assert len(drawings) == 2
    for drawing in drawings:
        assert drawing["role"] == "img"
        assert set(str(drawing["aria-labelledby"]).split()) <= set(ids)
    assert all(found.get("scope") in ("col", "row") for found in read.all("th"))
    tags = [tag for tag, _ in read.elements]
    assert tags.count("h1") == tags.count("main") == 1


def test_every_point_of_the_roofline_stands_in_the_table_beneath(page: str) -> None:
    made = roofline_of(whole())
    assert made is not None
    said = Reading(page).words
    assert all(point.name in said for point in made.points)
    assert len(list(Reading(page).all("circle"))) == len(made.points)


def test_without_a_peak_there_is_no_roofline_and_all_the_rest() -> None:
    bare = render_kernels_html(attained(record(latency(), wal())))
    assert "Roofline" not in bare
    assert "Latency of a load" in bare
    assert "no folder was named" in Reading(bare).words


HOSTILE = ["\x1b[31m", "\x1b]0;owned\x07", "<script>alert(1)</script>", '"><svg onload=alert(1)>', "{{ 7*7 }} {x}",
           "\u202egnp", "a\r\nb", "& < > ' \" `", "\x9b2J", "\ud800", "x" * 3000]  # fmt: skip


def soiled(made: Json, texts: Sequence[str]) -> Json:
    """The record with texts from outside in every place that may hold any."""
    made = copy.deepcopy(made)
    found = iter(texts * 1000)
    for entry in made["parts"]:
        entry["of"] = {"cpu": next(found), "cpus": 4, "kernel": next(found), "device": next(found)}
        for each in (*entry["measurements"], *entry["unmeasured"]):
            each["labels"] |= {label: next(found) for label in each["labels"]} | {next(found): next(found)}
        for each in entry["measurements"]:
            each |= {"unit": next(found), "notes": [next(found)]}
        for each in entry["unmeasured"]:
            each |= {"reason": next(found), "get_by": next(found)}
    made["parts"].append(
        part(next(found), [one(next(found), "s", 1e-9)], [absent(next(found), next(found), next(found))])
    )
    return made


@pytest.mark.parametrize("start", range(len(HOSTILE)))
def test_hostile_texts_of_a_record_show_and_do_nothing(start: int) -> None:
    made = soiled(whole(), HOSTILE[start:] + HOSTILE[:start])
    facts = (Standing("host.attainable.fsync_p50", "wal", None, "", HOSTILE[start]),)
    said = render_kernels(attained(made, *facts))
    assert all(character.isprintable() for character in said.replace("\n", ""))
    assert [line for line in said.splitlines() if cells(line) > 80] == []
    page = render_kernels_html(attained(made, *facts))
    read = Reading(page)
    assert {tag for tag, _ in read.elements} <= {tag for tag, _ in Reading(render_kernels_html(attained())).elements}
    assert not [name for _, found in read.elements for name in found if name.startswith("on")]
    assert all(character.isprintable() or character == "\n" for character in page)
