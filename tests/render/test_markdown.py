"""The report as Markdown: what it says, and that no text from outside becomes markup."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from engram_diagnose.render.markdown import render_markdown
from engram_diagnose.render.text import render_text

Json = dict[str, Any]
Documents = dict[str, Json]
Soil = Callable[[Any, Sequence[str]], Any]

HARMLESS = {"text", "code_inline", "strong_open", "strong_close", "em_open", "em_close", "softbreak"}


def parsed(text: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def inline(tokens: list[Token]) -> Counter[str]:
    return Counter(child.type for token in tokens for child in token.children or ())


@pytest.mark.parametrize("name", ["incident", "release", "healthy", "untested", "hostile"])
def test_a_report_reads_like_its_transcript(
    documents: Documents, golden: Callable[[str, str], None], name: str
) -> None:
    golden(f"{name}.md", render_markdown(documents[name]))


def test_a_verbose_report_reads_like_its_transcript(documents: Documents, golden: Callable[[str, str], None]) -> None:
    golden("incident-verbose.md", render_markdown(documents["incident"], verbose=True))


def test_it_says_what_the_text_says(documents: Documents) -> None:
    """Every figure of the text stands in the Markdown as well."""
    for name in ("wal", "incident", "release", "partly"):
        shown = render_markdown(documents[name]).replace("\\", "").replace("&#8203;", "").replace("`", "")
        for figure in set(
            re.findall(r"\d[\d,.]* (?:%|ms|MB/s|MiB|GiB)", render_text(documents[name], console_width=400))
        ):
            assert figure in shown, (name, figure)


def test_what_is_unlikely_whatever_is_unknown_is_a_line(documents: Documents) -> None:
    document = deepcopy(documents["incident"])
    document["causes"][1] |= {"negligible": True, "tie": None, "title": "<b>A guess</b>"}
    text = render_markdown(document)
    assert "\n## Unlikely\n" in text
    assert text.count("A guess") == 1
    assert re.search(r"\n- 2 [^\n]*A guess[^\n]*%", text)
    assert "html_inline" not in inline(parsed(text))
    verbose = render_markdown(document, verbose=True)
    assert verbose.index("\n## Unlikely\n") < verbose.index("\n### 2 ")


def test_changes_are_a_table_with_the_line_to_write(documents: Documents) -> None:
    text = render_markdown(documents["wal"])
    assert "| `wal.flush_interval_ms` | 100 ms | 1 s | `wal.flush_interval_ms = 1000` |" in text
    assert '| `wal.sync_mode` | immediate | batch | `wal.sync_mode = "batch"` |' in text


def test_commands_stand_in_a_block_of_code(documents: Documents) -> None:
    blocks = [token.content for token in parsed(render_markdown(documents["wal"])) if token.type == "fence"]
    assert any("grep -E 'wchar|syscw|write_bytes' /proc/PID/io\n" in block for block in blocks)


def test_healthy_is_said_only_when_every_target_is_met(documents: Documents) -> None:
    said = {name for name, document in documents.items() if "healthy" in render_markdown(document).lower()}
    assert said == {"healthy"}


def test_a_hostile_label_is_shown_and_does_nothing(documents: Documents) -> None:
    text = render_markdown(documents["hostile"])
    assert "<script" not in text
    assert text.replace("\n", "").isprintable()
    tokens = parsed(text)
    assert "html_block" not in {token.type for token in tokens}
    assert set(inline(tokens)) <= HARMLESS
    shown = "".join(child.content for token in tokens for child in token.children or ())
    assert "[red]`|<script>alert(1)</script>" in shown


SPECIAL = st.sampled_from(
    [*"`*_[]()<>#+-=|~$!&\\:@/.0123 \n\r\t\"'{}^", "```", "---", "<b>", "http://e.vil", "www.e.vil", "&lt;", "x"]
)
HOSTILE = st.lists(st.one_of(SPECIAL, st.characters()), min_size=1, max_size=25).map("".join)


@settings(max_examples=60)
@given(
    texts=st.lists(
        HOSTILE.filter(lambda text: any(not c.isspace() for c in text)),
        min_size=1,
        max_size=7,
        unique_by=lambda text: "".join(text.split()),  # what reads alike is shown once
    )
)
def test_no_text_from_outside_changes_the_structure(documents: Documents, soiled: Soil, texts: list[str]) -> None:
    harmless = [f"word{position}" for position in range(len(texts))]
    document = deepcopy(documents["incident"])
    for verbose in (False, True):
        text = render_markdown(soiled(document, texts), verbose=verbose)
        found, expected = parsed(text), parsed(render_markdown(soiled(document, harmless), verbose=verbose))
        assert "".join(text.split("\n")).isprintable()
        assert [token.type for token in found] == [token.type for token in expected]
        assert inline(found).keys() <= HARMLESS
        assert {kind: number for kind, number in inline(found).items() if kind not in ("text", "softbreak")} == {
            kind: number for kind, number in inline(expected).items() if kind not in ("text", "softbreak")
        }
