"""The report as HTML: one offline file that says what the other formats say, and in which no text becomes markup."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.cli import main
from engram_diagnose.incidents import save_example
from engram_diagnose.render.first_steps import first_steps
from engram_diagnose.render.html import render_html, style_source, stylesheet
from engram_diagnose.render.text import render_text
from engram_diagnose.render.view import report

Json = dict[str, Any]
Documents = dict[str, Json]
Soil = Callable[[Any, Sequence[str]], Any]

VOID = {"meta", "link", "br", "input"}


class Reading(HTMLParser):
    """What a browser makes of a page: elements in order, their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if "style" not in self.open:
            self.text.append(text)

    def handle_comment(self, text: str) -> None:
        self.comments.append(text)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


@pytest.fixture(scope="module")
def pages(documents: Documents) -> dict[str, str]:
    return {name: render_html(document) for name, document in documents.items()}


@pytest.mark.parametrize("name", ["wal", "incident", "release", "partly", "healthy", "untested"])
def test_it_says_what_the_text_says(documents: Documents, pages: dict[str, str], name: str) -> None:
    said = Reading(pages[name]).words
    text = render_text(documents[name], console_width=400, verbose=True)
    for figure in set(re.findall(r"\d[\d,.]* (?:%|ms|MB/s|MiB|GiB)", text)):
        assert figure in said, figure
    for cause in (*documents[name]["causes"], *documents[name]["masked"], *documents[name]["experimental"]):
        assert cause["title"] in said


def test_what_is_unlikely_whatever_is_unknown_stands_apart(documents: Documents) -> None:
    document = deepcopy(documents["incident"])
    document["causes"][1] |= {"negligible": True, "tie": None, "title": "A guess"}
    said = Reading(render_html(document)).words
    assert said.count("A guess") == 1
    assert said.index("Other causes") < said.index("Unlikely 1") < said.index("A guess") < said.index("Coverage")


def test_the_answer_comes_first_then_what_to_do_and_how_to_undo_it(pages: dict[str, str]) -> None:
    said = Reading(pages["wal"]).words
    order = [
        "CRITICAL db1:7432",
        "Top cause:",
        "Confidence",
        "First:",
        "To undo:",
        "Evidence:",
        "Other causes",
        "Coverage",
    ]
    places = [said.find(words) for words in order if words in said]
    assert places == sorted(places)
    assert all(words in said for words in ("Top cause:", "First:", "To undo:", "Evidence:"))


def test_a_change_comes_with_its_line_its_command_and_the_way_back(documents: Documents, pages: dict[str, str]) -> None:
    said = Reading(pages["wal"]).words
    assert "wal.flush_interval_ms = 1000" in said
    assert "engram-diagnose tune --config FILE --only wal.sync_mode --only wal.flush_interval_ms" in said
    assert "wal.sync_mode: back to immediate" in said
    assert "engram-diagnose tune --rollback --config FILE" in said
    first, then = first_steps(report(documents["wal"]))
    assert (first.label, first.apply, first.rollback) == ("First", "", "")
    assert first.undo[0].startswith("No setting of the server is changed.")
    assert then.lines == ('wal.sync_mode = "batch"', "wal.flush_interval_ms = 1000")


def test_it_is_written_whole_by_the_command(tmp_path: Path) -> None:
    bundle, path = save_example(tmp_path)[0], tmp_path / "report.html"
    with pytest.raises(SystemExit):
        main(["run", "--bundle", str(bundle), "--format", "html", "--output", str(path)])
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>\n")
    assert page.endswith("</html>\n")
    assert "The WAL writes far more than the clients store" in Reading(page).words


def test_healthy_is_said_only_when_every_target_is_met(pages: dict[str, str]) -> None:
    assert {name for name, page in pages.items() if "healthy" in Reading(page).words.lower()} == {"healthy"}
    assert {name for name, page in pages.items() if "Nothing to do" in page} == {"healthy"}


def test_it_is_one_file_that_loads_and_runs_nothing(pages: dict[str, str]) -> None:
    for page in pages.values():
        read = Reading(page)
        assert {tag for tag, _ in read.elements} & {
            "script",
            "img",
            "iframe",
            "object",
            "embed",
            "form",
            "base",
        } == set()
        assert [link["href"] for link in read.all("link")] == ["data:,"]
        assert all(anchor["href"] == "#answer" for anchor in read.all("a"))
        assert not [name for _, found in read.elements for name in found if name.startswith("on") or name == "style"]
        assert "url(" not in page
        assert "@import" not in page
        assert read.open == []


def test_its_policy_allows_its_own_style_sheet_and_nothing_else(pages: dict[str, str]) -> None:
    sheet = re.search(r"<style>(.*?)</style>", pages["wal"], re.DOTALL)
    assert sheet is not None
    digest = base64.b64encode(hashlib.sha256(sheet.group(1).encode()).digest()).decode()
    assert style_source() == f"'sha256-{digest}'"
    policy = next(meta["content"] for meta in Reading(pages["wal"]).all("meta") if "http-equiv" in meta)
    assert policy is not None
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_it_can_be_used_by_keyboard_and_by_ear(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        read = Reading(page)
        tags = [tag for tag, _ in read.elements]
        assert tags.count("h1") == tags.count("main") == tags.count("header") == tags.count("footer") == 1
        levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False)), (name, levels)
        assert all(found.get("scope") in ("col", "row") for found in read.all("th"))
        ids = [found["id"] for _, found in read.elements if "id" in found]
        assert len(ids) == len(set(ids))
        assert ("a", {"class": "skip", "href": "#answer"}) in read.elements
        assert next(read.all("html"))["lang"] == "en"
        assert ":focus-visible" in page


def test_a_hostile_label_is_shown_and_does_nothing(pages: dict[str, str]) -> None:
    page = pages["hostile"]
    assert "<script" not in page
    assert page.replace("\n", "").isprintable()
    assert "[red]`|<script>alert(1)</script>" in Reading(page).words
    assert r"\u202eevil\u2066\x9b2J\x00" in Reading(page).words


SPECIAL = st.sampled_from(
    [
        *"<>&\"'`=/\\{}%#-!; \n\r\t\0",
        "<!--",
        "]]>",
        "</style>",
        "</title>",
        "</code></pre>",
        "{{7*7}}",
        "{% raw %}",
        "&lt;",
        "x",
    ]
)
HOSTILE = st.lists(st.one_of(SPECIAL, st.characters()), min_size=1, max_size=25).map("".join)


@settings(max_examples=40)
@given(
    texts=st.lists(HOSTILE.filter(lambda text: any(not c.isspace() for c in text)), min_size=1, max_size=7, unique=True)
)
def test_no_text_from_outside_changes_the_structure(documents: Documents, soiled: Soil, texts: list[str]) -> None:
    harmless = [f"word{position}" for position in range(len(texts))]
    document = deepcopy(documents["incident"])
    page, plain = render_html(soiled(document, texts)), render_html(soiled(document, harmless))
    assert page.replace("\n", "").isprintable()
    found, expected = Reading(page), Reading(plain)
    assert found.comments == []
    assert structure(found) == structure(expected)


def structure(read: Reading) -> Counter[str]:
    """Elements by kind; the words of a command stand in a span each, so these are not counted."""
    return Counter(tag for tag, _ in read.elements if tag != "span")


def test_a_text_of_ten_thousand_characters_is_cut_and_says_so(documents: Documents, soiled: Soil) -> None:
    page = render_html(soiled(deepcopy(documents["wal"]), ["y" * 10_000]))
    assert "y" * 2001 not in page
    assert "(8,000 more characters)" in page


def test_the_same_document_gives_the_same_bytes(documents: Documents, pages: dict[str, str]) -> None:
    assert render_html(deepcopy(documents["incident"])) == pages["incident"]


# Colours


def themes() -> dict[str, dict[str, str]]:
    """The variables of both themes."""
    light, dark = (
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{([^}]*--page[^}]*--muted[^}]*)\}", stylesheet())
    )
    return {"light": light, "dark": dark}


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_colour_has_contrast_enough_on_every_background(theme: str) -> None:
    colours = themes()[theme]
    texts = ("text", "muted", "link", "critical", "warning", "info", "good", "open")
    assert set(texts) | {"page", "paper", "sunken", "line"} == set(colours)
    for text in texts:
        for background in ("page", "paper", "sunken"):
            assert contrast(colours[text], colours[background]) >= 4.5, (text, background)
