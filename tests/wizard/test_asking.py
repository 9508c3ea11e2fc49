"""Answers from a terminal, and from a script that pipes them."""

import io

import pytest

from engram_diagnose.wizard.asking import asking


def test_a_terminal_is_prompted_and_its_line_taken() -> None:
    prompts = io.StringIO()
    ask = asking(io.BytesIO(b"  ssd \n"), prompts, terminal=True)
    assert ask("storage", "leave unknown") == "ssd"
    assert prompts.getvalue() == "storage [leave unknown]: "


def test_the_end_of_the_input_ends_a_terminals_dialogue() -> None:
    with pytest.raises(EOFError):
        asking(io.BytesIO(b""), io.StringIO(), terminal=True)("storage", "leave unknown")


def test_a_script_answers_line_by_line_and_its_answers_are_shown() -> None:
    prompts = io.StringIO()
    ask = asking(io.BytesIO(b"ssd\r\n\nn"), prompts, terminal=False)
    assert [ask("a", "1"), ask("b", "2"), ask("c", "3")] == ["ssd", "", "n"]
    assert prompts.getvalue() == "a [1]: ssd\nb [2]: \nc [3]: n\n"


def test_a_script_without_further_answers_takes_the_defaults() -> None:
    ask = asking(io.BytesIO(b""), io.StringIO(), terminal=False)
    assert [ask("a", "1"), ask("a", "1")] == ["", ""]


def test_bytes_that_are_no_text_and_lines_without_end_are_answers_that_mean_nothing() -> None:
    prompts = io.StringIO()
    ask = asking(io.BytesIO(b"\xff\x1b[2J\n" + b"x" * 10_000 + b"\nn\n"), prompts, terminal=False)
    assert ask("a", "1").startswith("\ufffd")
    assert "\x1b" not in prompts.getvalue()
    assert set(ask("b", "2")) == {"x"}
    assert ask("c", "3") == "n"
