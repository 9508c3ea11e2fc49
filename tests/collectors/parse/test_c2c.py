"""
What the report of `perf c2c` says about cache lines, and when its zero says nothing.

The fixtures `c2c-report.*` are ours, in the form of perf 6; all others in their folder are what the tools printed.
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_c2c import LINES_KEPT, REPORT, first_lines
from engram_diagnose.collectors.parse.c2c import COHERENCE_FACTS, facts_of_coherence, parse_c2c
from engram_diagnose.engine.facts.fact import Fact, Reason

DATA = Path(__file__).parents[2] / "data/tracing"
TWO_LINES = (DATA / "c2c-report.two-lines.txt").read_text()
AMD_NONE = (DATA / "c2c-report.amd-none.txt").read_text()
RECORDED = Path(__file__).parents[4] / "shared/recordings/perf/c2c-report-intel-4node.txt"


def facts(body: str | None, reason: str = "") -> dict[str, Fact]:
    answer = Answer("c2c", REPORT, 9.0, "id", body, reason, reason and "as it says")
    return {fact.name: fact for fact in facts_of_coherence([answer])}


def values(body: str) -> dict[str, float | str]:
    return {name: fact.value if isinstance(fact.value, str) else fact.value[0] for name, fact in facts(body).items()}


def test_false_sharing_is_several_offsets_of_one_line():
    assert values(TWO_LINES) == {
        "coherence.hitm": 1000.0,
        "coherence.hitm_remote": 400.0,
        "coherence.loads": 20000.0,
        "coherence.top_line_share": 0.8,
        "coherence.top_line_offsets": 3.0,
        "coherence.top_symbol": "engram_core::activation::spread::{{closure}}",
    }


def test_a_name_with_blanks_is_whole():
    only_first = TWO_LINES.replace("33.33%   80.00%", " 3.33%    0.00%")
    assert values(only_first)["coherence.top_symbol"] == (
        "<engram_core::activation::AtomicF32 as core::ops::AddAssign<f32>>::add_assign"
    )


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are not here")
def test_the_report_of_an_older_perf_on_four_nodes_is_read_alike():
    assert values(RECORDED.read_text()) == {
        "coherence.hitm": 16159.0,
        "coherence.hitm_remote": 12757.0,
        "coherence.loads": 69679.0,
        "coherence.top_line_share": pytest.approx(12103 / 16159),
        "coherence.top_line_offsets": 4.0,
        "coherence.top_symbol": "read_write_func",
    }


def test_the_columns_of_older_versions_are_read_too():
    older = [
        "  Load Operations                   :        100",
        "  Load Local HITM                   :         10",
        "  Load Remote HITM                  :          0",
        "  Events                            : cpu/mem-loads,ldlat=30/P",
        "      Shared Cache Line Distribution Pareto      ",
        "  -----------------------------------------------",
        "      0        0        9       40        2            0x602180",
        "  -----------------------------------------------",
        "           0.00%   55.00%   75.00%    0.00%                 0x0    146            0x400b4f"
        "     0     260     260         9  [.] hot loop  a.out  f.c:144   0{0-1}",
        "           0.00%   45.00%   25.00%    0.00%                 0x8    146            0x400b56"
        "     0     120     266         9  [k] cold      a.out  f.c:145   0{0-1}",
    ]
    found = values("\n".join(older))
    assert found["coherence.top_line_share"] == 0.9
    assert found["coherence.top_line_offsets"] == 2.0
    assert found["coherence.top_symbol"] == "hot loop"


def test_no_modified_hit_on_a_cpu_that_tells_them_is_a_zero():
    intel = AMD_NONE.replace("ibs_op//", "cpu/mem-loads,ldlat=30/P")
    found = facts(intel)
    assert found["coherence.hitm"].value == (0.0, 0.0)
    assert found["coherence.top_line_share"].unknown.reason is Reason.TOO_FEW_SAMPLES


@pytest.mark.parametrize("event", ["ibs_op//", "arm_spe_0/ts_enable=1,load_filter=1/", "something-else"])
def test_no_modified_hit_on_a_cpu_that_does_not_tell_them_is_unknown(event):
    found = facts(AMD_NONE.replace("ibs_op//", event))
    for name in COHERENCE_FACTS - {"coherence.loads"}:
        assert found[name].unknown.reason is Reason.PMU_ZERO
        assert found[name].get_by
    assert found["coherence.loads"].value == (20000.0, 20000.0)


def test_a_recording_without_loads_says_nothing():
    found = facts(TWO_LINES.replace("20000\n", "    0\n", 1))
    assert {fact.unknown.reason for fact in found.values()} == {Reason.TOO_FEW_SAMPLES}


def test_a_report_that_is_cut_keeps_what_its_head_says():
    cut = TWO_LINES[: TWO_LINES.index("Distribution Pareto")]
    found = facts(cut)
    assert found["coherence.hitm"].value == (1000.0, 1000.0)
    assert found["coherence.top_line_offsets"].unknown.reason is Reason.UNPARSED
    headless = facts("no report at all\n")
    assert {fact.unknown.reason for fact in headless.values()} == {Reason.UNPARSED}


def test_a_function_without_a_name_is_unknown():
    found = facts(TWO_LINES.replace("[.] engram_core::activation::spread::{{closure}}", "    " + " " * 44))
    assert found["coherence.top_symbol"].unknown.reason is Reason.SOURCE_ABSENT


def test_a_name_cannot_move_a_terminal():
    hostile = TWO_LINES.replace("spread::{{closure}}", "spread\x1b[2J{closure}}")
    assert "\x1b" not in str(values(hostile)["coherence.top_symbol"])


@pytest.mark.parametrize("reason", ["NO_PMU", "EVENT_UNSUPPORTED", "NO_TOOL", "PARANOID", "SECCOMP", "TARGET_GONE"])
def test_what_cannot_be_told_here_says_why_and_what_would(reason):
    found = facts(None, reason)
    assert set(found) == COHERENCE_FACTS
    for fact in found.values():
        assert fact.unknown.reason.name == reason
        assert fact.get_by


def test_a_bundle_keeps_the_first_lines_only():
    head, _, pareto = TWO_LINES.partition("\n  --------------------")
    group = ("\n  --------------------" + pareto).splitlines(keepends=True)[:8]
    many = head + "".join(group * 50)
    kept = first_lines(many)
    assert len(parse_c2c(many).lines) == 50
    assert len(parse_c2c(kept).lines) == LINES_KEPT
    assert first_lines(TWO_LINES) == TWO_LINES


@st.composite
def mangled(draw: st.DrawFn) -> str:
    raw = bytearray(draw(st.sampled_from([TWO_LINES, AMD_NONE])).encode())
    for _ in range(draw(st.integers(0, 6))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.integers(0, len(raw)))]).decode("utf-8", "surrogateescape")


@given(st.one_of(mangled(), st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "surrogateescape"))))
def test_any_bytes_are_facts(text):
    found = facts(text)
    assert set(found) == COHERENCE_FACTS
    share = found["coherence.top_line_share"].value
    assert share is None or 0 <= share[0] <= 1


def test_long_lines_of_one_character_are_read_in_time():
    for character in (" ", "-", "0", "%", "x"):
        body = TWO_LINES + "\n" + character * 200_000
        assert facts(body)["coherence.hitm"].value == (1000.0, 1000.0)
