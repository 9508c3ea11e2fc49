"""The report as text: transcripts, and what no text from outside may do to them."""

import re
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.render.layout import cells
from engram_diagnose.render.text import render_text

Json = dict[str, Any]
Documents = dict[str, Json]

COMMAND = re.compile(r"^ +(\$ |  )?\S+( \\)?$")


@pytest.mark.parametrize("name", ["wal", "incident", "release", "healthy", "accepted", "partly", "untested", "hostile"])
def test_a_report_reads_like_its_transcript(
    documents: Documents, golden: Callable[[str, str], None], name: str
) -> None:
    golden(f"{name}.txt", render_text(documents[name], console_width=80))


def test_a_narrow_report_reads_like_its_transcript(documents: Documents, golden: Callable[[str, str], None]) -> None:
    golden("incident-40.txt", render_text(documents["incident"], console_width=40))


def test_a_verbose_report_reads_like_its_transcript(documents: Documents, golden: Callable[[str, str], None]) -> None:
    golden("incident-verbose.txt", render_text(documents["incident"], verbose=True))


def test_the_first_line_says_what_is_slow_and_where(documents: Documents) -> None:
    first = render_text(documents["wal"], console_width=100).splitlines()[0]
    assert first == "WARNING  db1:7432: Store P99 is above its target {space=default}: 25 ms to 50 ms against 10 ms"


def test_a_long_report_repeats_its_verdict_at_the_end(documents: Documents) -> None:
    lines = render_text(documents["wal"], console_width=100).splitlines()
    assert lines[-2] == lines[0]
    assert lines[-1] == "  Top cause: The WAL writes far more than the clients store (88 %)"


@pytest.mark.parametrize("name", ["wal", "incident", "release", "accepted", "partly", "untested"])
def test_healthy_is_said_only_when_every_target_is_met(documents: Documents, name: str) -> None:
    for verbose in (False, True):
        assert "healthy" not in render_text(documents[name], verbose=verbose).lower()


def test_a_server_that_was_tested_and_meets_its_targets_is_healthy(documents: Documents) -> None:
    assert render_text(documents["healthy"]).startswith("HEALTHY  db1:7432: all 2 targets are met\n")


def test_uncalibrated_is_said_once(documents: Documents) -> None:
    assert render_text(documents["incident"], verbose=True).count("uncalibrated") == 1


def test_nothing_is_said_of_calibration_once_the_figures_are_calibrated(documents: Documents) -> None:
    document = deepcopy(documents["incident"])
    document["rule_base"]["calibrated"] = True
    assert "uncalibrated" not in render_text(document)


def with_a_guess(document: Json) -> Json:
    """The same with its second cause a negligible one."""
    found = deepcopy(document)
    cause = found["causes"][1]
    found["causes"][2]["tie"] = None
    cause |= {"negligible": True, "tie": None, "title": "A guess", "severity": "warning"}
    cause["confidence"] |= {"probability": 0.02, "low": 0.01, "high": 0.1, "word": "unlikely"}
    return found


def test_a_cause_that_is_unlikely_whatever_is_unknown_is_told_in_a_line(documents: Documents) -> None:
    text = render_text(with_a_guess(documents["incident"]), console_width=100)
    causes, _, unlikely = text.partition("\nUNLIKELY  even if all that is unknown spoke for them\n")
    assert "A guess" not in causes
    assert unlikely.startswith("2  A guess: unlikely, 2 % (1 % to 10 %)")
    assert text.count("A guess") == 1
    assert "\n3  " in causes, "the others keep their numbers"


def test_a_verbose_report_tells_it_in_full(documents: Documents) -> None:
    text = render_text(with_a_guess(documents["incident"]), verbose=True)
    apart = text[text.index("\nUNLIKELY  even if all that is unknown spoke for them\n") :]
    assert "\n2  A guess\n   confidence  unlikely, 2 % (1 % to 10 %)\n" in apart


def test_a_document_of_before_says_of_no_cause_that_it_is_negligible(documents: Documents) -> None:
    document = deepcopy(documents["incident"])
    for cause in (*document["causes"], *document["masked"], *document["experimental"]):
        del cause["negligible"]
    assert render_text(document) == render_text(documents["incident"])


def test_tied_causes_share_a_rank(documents: Documents) -> None:
    text = render_text(documents["incident"])
    assert "\n2= Threads read memory of the other NUMA node\n" in text
    assert "\n2= The hot tier is too small for the working set\n" in text
    assert "These 2 are tied" in text


def test_a_tie_at_the_top_names_all_of_it(documents: Documents) -> None:
    document = deepcopy(documents["incident"])
    document["causes"] = document["causes"][1:]
    for rank, cause in enumerate(document["causes"], 1):
        cause["rank"] = rank
    head = render_text(document, console_width=200).split("\n\n")[0]
    assert "2 causes that cannot be told apart: Threads read memory" in head
    assert "; or The hot tier is too small" in head.replace("\n    ", " ")


def test_a_setting_that_the_release_ignores_is_not_recommended(documents: Documents) -> None:
    text = render_text(documents["release"])
    assert "not with this release of the server" in text
    assert "(ignored by this release)" in text
    assert "write 1024" not in text


def test_commands_show_figures_plainly_and_leave_placeholders_for_what_is_unknown(documents: Documents) -> None:
    assert "/proc/41234/io" in render_text(documents["incident"], verbose=True)
    assert "/proc/PID/io" in render_text(documents["wal"])


@pytest.mark.parametrize("width", [20, 33, 40, 59, 60, 72, 80, 100, 240])
@pytest.mark.parametrize("name", ["incident", "hostile", "untested"])
def test_no_line_is_wider_than_the_console(documents: Documents, name: str, width: int) -> None:
    for line in render_text(documents[name], console_width=width, verbose=True).splitlines():
        assert cells(line) <= width or COMMAND.match(line), line


def test_wide_consoles_keep_lines_readable(documents: Documents) -> None:
    assert max(map(cells, render_text(documents["incident"], console_width=400).splitlines())) <= 100


def test_colour_changes_nothing_but_colour(documents: Documents) -> None:
    coloured = render_text(documents["hostile"], color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == render_text(documents["hostile"])


def test_every_style_that_is_opened_is_closed_on_its_line(documents: Documents) -> None:
    for line in render_text(documents["incident"], color=True).splitlines():
        codes = re.findall(r"\x1b\[([\d;]*)m", line)
        assert len(codes) % 2 == 0
        assert set(codes[1::2]) <= {"0"}


def test_plain_text_needs_no_rich(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert render_text(documents["incident"], color=False)


def test_the_same_document_gives_the_same_text(documents: Documents) -> None:
    again = deepcopy(documents["incident"])
    assert render_text(again, verbose=True) == render_text(documents["incident"], verbose=True)


def test_rendering_leaves_the_document_as_it_was(documents: Documents) -> None:
    before = deepcopy(documents["incident"])
    render_text(documents["incident"], verbose=True)
    assert documents["incident"] == before


def test_one_symptom_in_many_scopes_is_one_line(documents: Documents) -> None:
    document = deepcopy(documents["wal"])
    (symptom,) = document["symptoms"]
    document["symptoms"] = [symptom | {"scope": {"space": f"tenant-{n}"}} for n in range(40)]
    head = render_text(document, console_width=100).split("\n\n")[0]
    assert head.count("Store P99") == 1
    assert "and 37 more" in " ".join(head.split())


@settings(max_examples=60)
@given(texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=7), width=st.integers(10, 120))
def test_no_text_from_outside_reaches_the_terminal_as_it_is(
    documents: Documents, soiled: Callable[[Any, Sequence[str]], Any], texts: list[str], width: int
) -> None:
    document = soiled(documents["incident"], texts)
    for verbose in (False, True):
        text = render_text(document, console_width=width, verbose=verbose)
        assert "".join(text.split("\n")).isprintable()
        text.encode("utf-8")


def test_rich_markup_in_a_label_stays_text(documents: Documents) -> None:
    for color in (False, True):
        assert "[red]`|<script>" in render_text(documents["hostile"], color=color)


def test_an_endless_label_is_cut(documents: Documents, soiled: Callable[[Any, Sequence[str]], Any]) -> None:
    text = render_text(soiled(documents["wal"], ["x" * 100_000]))
    assert "(98,000 more characters)" in re.sub(r"\s+", " ", text)
