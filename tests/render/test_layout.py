"""Text in columns, texts from outside made harmless, commands that still run."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.render.escape import cell_code, code, fenced, markdown
from engram_diagnose.render.figures import instant, labels, percent, percent_range, some
from engram_diagnose.render.layout import Page, cells, wrap
from engram_diagnose.render.neutral import clean, visible
from engram_diagnose.render.shell import command_lines
from engram_diagnose.render.style import plain_text


def lines(text: str, width: int, hang: int = 0) -> list[str]:
    return ["".join(part for part, _ in line) for line in wrap([(text, "")], width, hang=hang)]


class TestWrapping:
    def test_lines_break_between_words(self) -> None:
        assert lines("one two three", 7) == ["one two", "three"]

    def test_a_figure_stays_with_its_unit(self) -> None:
        assert lines("it takes 25 ms to 50 ms", 11) == ["it takes", "25 ms to", "50 ms"]

    def test_a_figure_and_a_word_do_part(self) -> None:
        assert lines("7 signs", 5) == ["7", "signs"]

    def test_a_long_word_breaks_behind_punctuation(self) -> None:
        assert lines("storage.wal-write-amplification", 20) == ["storage.wal-write-", "amplification"]

    def test_a_word_without_punctuation_breaks_where_it_must(self) -> None:
        assert lines("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]

    def test_further_lines_hang(self) -> None:
        assert lines("aaa bbb ccc ddd", 7, hang=4) == ["aaa bbb", "ccc", "ddd"]

    def test_wide_characters_count_twice(self) -> None:
        assert cells("空間😀") == 6
        assert lines("空間空間", 5) == ["空間", "空間"]

    def test_marks_count_nothing(self) -> None:
        assert cells("e\u0301") == 1

    def test_styles_survive_a_break(self) -> None:
        assert wrap([("one ", "a"), ("two", "b")], 4) == [[("one", "a")], [("two", "b")]]

    @given(st.text(), st.integers(2, 40), st.integers(0, 10))
    def test_no_line_is_wider_and_no_word_is_lost(self, text: str, width: int, hang: int) -> None:
        found = lines(text, width, hang)
        assert all(
            cells(line) <= (width if not position else max(2, width - hang)) for position, line in enumerate(found)
        )
        assert "".join("".join(found).split()) == "".join(text.split())


class TestPage:
    def page(self, columns: int) -> Page:
        return Page(columns, 8)

    def test_a_label_stands_in_the_gutter(self) -> None:
        page = self.page(80)
        page.field(("why", ""), [[("one", "")], [("two", "")]])
        assert plain_text(page.lines) == "   why     one\n           two\n"

    def test_on_a_narrow_page_it_stands_before_a_paragraph_and_above_several(self) -> None:
        page = self.page(40)
        page.field(("why", ""), [[("one", "")]])
        page.field(("why", ""), [[("one", "")], [("two", "")]])
        assert plain_text(page.lines) == " why: one\n why:\n   one\n   two\n"

    @pytest.mark.parametrize("columns", [40, 80])
    def test_a_label_without_text_is_left_out(self, columns: int) -> None:
        page = self.page(columns)
        page.field(("why", ""), [])
        assert page.lines == []


class TestNeutral:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("\x1b[31m", r"\x1b[31m"),
            ("a\r\nb\tc\x00", r"a\r\nb\tc\x00"),
            ("\u202eevil", r"\u202eevil"),
            ("\x9b2J", r"\x9b2J"),
            ("\ud800", r"\ud800"),
            ("\U000e0041", r"\U000e0041"),
            ("a\u00a0b\u200b", r"a\xa0b\u200b"),
            ("größe 空間 😀 [red]", "größe 空間 😀 [red]"),
            ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301\u0301\\u0301"),
        ],
    )
    def test_what_does_not_print_is_shown_escaped(self, text: str, shown: str) -> None:
        assert visible(text) == shown

    @given(st.text(max_size=3000))
    def test_any_text_prints_and_stays_so(self, text: str) -> None:
        assert visible(text).isprintable()
        assert len(text) > 300 or visible(visible(text)) == visible(text)

    def test_a_paragraph_of_an_author_becomes_one_line(self) -> None:
        assert clean({"reason": "one\n  two\n"}) == {"reason": "one two"}

    def test_a_value_keeps_its_line_break_in_sight(self) -> None:
        assert clean({"scope": {"space": "a\nb"}}) == {"scope": {"space": "a\\nb"}}

    def test_keys_are_cleaned_and_figures_kept(self) -> None:
        assert clean({"packs": {"a\x1b": "1"}, "n": [1, None, True]}) == {
            "packs": {r"a\x1b": "1"},
            "n": [1, None, True],
        }


class TestCommands:
    def test_a_short_command_is_one_line(self) -> None:
        assert command_lines("iostat -x 1 5", 40) == ["iostat -x 1 5"]

    def test_a_long_command_goes_on_behind_a_backslash(self) -> None:
        assert command_lines("perf record -g -p 12 -- sleep 10", 20) == ["perf record -g -p \\", "12 -- sleep 10"]

    def test_quoted_words_stay_whole(self) -> None:
        assert command_lines("grep -E 'a b c d' /x", 12) == ["grep -E \\", "'a b c d' \\", "/x"]

    def test_a_comment_stands_before_its_command(self) -> None:
        assert command_lines("perf lock  # needs a perf with BPF", 18) == ["# needs a perf", "# with BPF", "perf lock"]

    @given(
        st.lists(st.text(st.sampled_from("ab-/ '\"\\|"), min_size=1).map(shlex.quote), min_size=1), st.integers(5, 60)
    )
    def test_what_is_copied_from_the_screen_runs_the_same(self, words: list[str], width: int) -> None:
        folded = "\n".join(command_lines(" ".join(words), width))
        assert shlex.split(folded.replace(" \\\n", " ")) == shlex.split(" ".join(words))


class TestMarkdown:
    @pytest.mark.parametrize(
        ("text", "escaped"),
        [
            ("a_b config.wal.sync_mode", "a_b config.wal.sync_mode"),
            ("_a_ *b* `c` ~d~", r"\_a\_ \*b\* \`c\` \~d\~"),
            ("<b>&lt;", "&lt;b>&amp;lt;"),
            ("# x", r"\# x"),
            ("12. x", r"12\. x"),
            ("- x", r"\- x"),
            ("> x", r"\> x"),
            ("[x](y) | $z$", r"\[x\](y) \| \$z\$"),
            ("@team and a@rate_5m", "@&#8203;team and a@rate_5m"),
            ("see #12", r"see \#&#8203;12"),
            ("http://e.vil www.e.vil", "http:&#8203;//e.vil www&#8203;.e.vil"),
        ],
    )
    def test_what_would_be_markup_is_text(self, text: str, escaped: str) -> None:
        assert markdown(text) == escaped

    def test_code_is_fenced_by_more_backticks_than_it_holds(self) -> None:
        assert code("a``b") == "```a``b```"
        assert code("`") == "`` ` ``"
        assert cell_code("a|b") == "`a\\|b`"
        assert fenced(("```", "x"), "sh") == "````sh\n```\nx\n````"


class TestFigures:
    @pytest.mark.parametrize(
        ("share", "words"),
        [(0.0, "0 %"), (1.0, "100 %"), (0.004, "under 1 %"), (0.999, "over 99 %"), (0.5, "50 %"), (0.882, "88 %")],
    )
    def test_a_share_is_nothing_or_all_only_when_it_is(self, share: float, words: str) -> None:
        assert percent(share) == words

    def test_an_interval_that_rounds_to_one_figure_is_one(self) -> None:
        assert percent_range(0.361, 0.364) == "36 %"
        assert percent_range(0.2, 0.364) == "20 % to 36 %"

    def test_values_that_could_be_misread_are_quoted(self) -> None:
        assert labels({"space": "a", "operation": "b, c=d}"}) == '{space=a, operation="b, c=d}"}'

    def test_a_list_says_how_much_more_there_is(self) -> None:
        assert some(["a", "b", "c"], 2) == "a, b and 1 more"

    def test_what_is_no_instant_stays_as_it_is(self) -> None:
        assert instant("2026-09-21T14:13:20Z") == "2026-09-21 14:13:20 UTC"
        assert instant("soon") == "soon"
        assert instant(None) == ""
