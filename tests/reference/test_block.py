"""A description prints plainly on a terminal and safely as Markdown."""

import pytest

from engram_diagnose.reference.block import (
    Code,
    Heading,
    Items,
    Link,
    Paragraph,
    Snippet,
    Table,
    line,
    slug,
    to_markdown,
    to_text,
)

BLOCKS = (
    Heading("storage.x", 2),
    Paragraph(("Set ", Code("a|b"), " as in ", Link("the *page*", "x.md"), "; never _guess_")),
    Items(((0, line("one")), (1, line("two")))),
    Table(("Name", "value", "note"), (((Code("a|b"),), line("1 | 2"), line()),)),
    Snippet("a: `1`\nb: 2", "yaml"),
)


def test_markdown_acts_on_nothing_that_an_author_wrote() -> None:
    assert to_markdown(BLOCKS) == (
        "## storage.x\n\n"
        "Set `a|b` as in [the \\*page\\*](x.md); never \\_guess\\_\n\n"
        "- one\n  - two\n\n"
        "| Name | value | note |\n|---|---|---|\n| `a\\|b` | 1 \\| 2 |  |\n\n"
        "```yaml\na: `1`\nb: 2\n```\n"
    )


def test_a_terminal_shows_names_without_markup() -> None:
    assert to_text(BLOCKS, width=40) == (
        "storage.x\n=========\n"
        "  Set a|b as in the *page*; never\n  _guess_\n"
        "  - one\n    - two\n"
        "  - a|b\n      value: 1 | 2\n\n"
        "    a: `1`\n    b: 2"
    )


@pytest.mark.parametrize(
    "text", ["# heading", "- item", "1. item", "> quote", "<script>", "[a](b)", "a\n\nb", "![x](y)"]
)
def test_a_paragraph_stays_a_paragraph(text: str) -> None:
    shown = to_markdown([Paragraph((text,))])
    assert shown.count("\n") == 1
    assert not shown.startswith(("#", "- ", "1. ", "> ", "<", "[", "!["))


def test_control_characters_reach_neither_a_terminal_nor_a_page() -> None:
    hostile = Paragraph(("a\x1b[31mb", Code("c\x07"), Link("d\u202e", "x.md")))
    for shown in (to_text([hostile], width=80), to_markdown([hostile])):
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_a_fence_is_longer_than_what_it_holds() -> None:
    assert to_markdown([Snippet("```\nx\n```")]) == "~~~\n```\nx\n```\n~~~\n"


@pytest.mark.parametrize(
    ("heading", "anchor"), [("storage.wal-flush-slow", "storagewal-flush-slow"), ("Common issue 1", "common-issue-1")]
)
def test_anchors_are_those_of_the_forge(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor
