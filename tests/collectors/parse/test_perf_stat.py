"""What perf stat prints is read in every form it has had, and nothing is made up where it is broken."""

from pathlib import Path

import pytest
from counting import DATA
from hypothesis import example, given
from hypothesis import strategies as st

from engram_diagnose.collectors.parse.perf_stat import Count, Counted, Counts, matched, parse_counts

ELSEWHERE = Path(__file__).parents[4] / "shared" / "recordings" / "perf"
OURS = sorted(DATA.glob("perf-*.stat.*"))

MODERN = """\
{"counter-value" : "636.089000", "unit" : "msec", "event" : "task-clock", "event-runtime" : 636088389, "pcnt-running" : 100.00, "metric-value" : "1.261000", "metric-unit" : "CPUs utilized"}
{"counter-value" : "1000000.000000", "unit" : "", "event" : "llc.misses", "event-runtime" : 200000000, "pcnt-running" : 31.25, "metric-value" : "0.000000", "metric-unit" : ""}
{"counter-value" : "<not counted>", "unit" : "", "event" : "llc.references", "event-runtime" : 0, "pcnt-running" : 0.00, "metric-value" : "0.000000", "metric-unit" : ""}
{"counter-value" : "<not supported>", "unit" : "", "event" : "cycles:u", "event-runtime" : 0, "pcnt-running" : 100.00, "metric-value" : "0.000000", "metric-unit" : ""}
"""  # noqa: E501 -- as it is printed
EXPECTED = (
    Count("task-clock", Counted.YES, 636.089, 1.0),
    Count("llc.misses", Counted.YES, 1e6, 0.3125),
    Count("llc.references", Counted.NOT_COUNTED, 0.0, 0.0),
    Count("cycles", Counted.NOT_SUPPORTED, 0.0, 1.0),
)
NUMBERS = MODERN.replace('"1.261000"', "1.261000").replace('"0.000000"', "0.000000")
WITHOUT_METRICS = "\n".join(line.partition(', "metric-value"')[0] + "}" for line in MODERN.splitlines())
COMMA_TOO_MANY = "\n".join(line.partition(', "metric-value"')[0] + ", }" for line in MODERN.splitlines())
THRESHOLDS = MODERN.replace('"metric-unit" : ""', '"metric-unit" : "(null)", "metric-threshold" : "unknown"')
NONE_METRIC = MODERN.replace('"metric-value" : "0.000000"', '"metric-value" : "none"')
TWO_METRICS = MODERN + '{"metric-value" : "0.500000", "metric-unit" : "of all slots"}\n'
HOSTILE = "\n".join('{"thread" : "a"b : 1, }-77", ' + line[1:] for line in MODERN.splitlines())
GERMAN = (
    MODERN.replace("636.089000", "636,089000")
    .replace("1000000.000000", "1000000,000000")
    .replace("100.00", "100,00")
    .replace("31.25", "31,25")
    .replace('"pcnt-running" : 0.00', '"pcnt-running" : 0,00')
    .replace('"0.000000"', "0,000000")
    .replace('"1.261000"', "1,261000")
)
FIELDS = """\
636.089;msec;task-clock;636088389;100.00;1.261;CPUs utilized
1000000;;llc.misses;200000000;31.25;;
<not counted>;;llc.references;0;0.00;;
<not supported>;;cycles:u;0;100.00;;
"""
FORMS = {
    "texts for metrics (6.12)": MODERN,
    "numbers for metrics (6.1)": NUMBERS,
    "no metrics (7.2)": WITHOUT_METRICS,
    "a comma too many": COMMA_TOO_MANY,
    "thresholds and (null)": THRESHOLDS,
    "none for a metric": NONE_METRIC,
    "a line of its own for a second metric": TWO_METRICS,
    "names of threads that are not escaped": HOSTILE,
    "decimal commas": GERMAN,
    "semicolons": FIELDS,
    "semicolons with decimal commas": FIELDS.replace("636.089", "636,09").replace("00.00", "00,00"),
    "semicolons, no metrics (5.10)": "\n".join(";".join(line.split(";")[:5]) for line in FIELDS.splitlines()),
    "carriage returns": FIELDS.replace("\n", "\r\n"),
    "warnings between": "# started on Sun\n\n" + MODERN,
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_every_form_says_the_same(text: str) -> None:
    counts = parse_counts(text)
    assert counts.unread == ()
    approximate = [(count.event, count.state, count.running) for count in counts.lines]
    if "31.25" in text or "31,25" in text:
        assert approximate == [(count.event, count.state, count.running) for count in EXPECTED]
    assert [count.value for count in counts.lines] == pytest.approx([count.value for count in EXPECTED], rel=1e-4)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_what_the_tool_printed_here_is_read_whole(path: Path) -> None:
    counts = parse_counts(path.read_text(encoding="utf-8"))
    assert counts.unread == ()
    assert [count.event for count in counts.lines] == [
        "task-clock", "context-switches", "cpu-migrations", "page-faults", "pipeline.cycles", "cycles",
    ]  # fmt: skip
    assert counts.of("cycles") == (Count("cycles", Counted.NOT_SUPPORTED, 0.0, 1.0),)
    assert counts.of("pipeline.cycles")[0].value > 1e8


def test_an_idle_process_is_not_counted_which_is_not_zero() -> None:
    counts = parse_counts((DATA / "perf-6.1.idle.jsonl").read_text(encoding="utf-8"))
    assert {count.state for count in counts.lines} == {Counted.NOT_COUNTED, Counted.NOT_SUPPORTED}


def test_a_thread_with_quotes_in_its_name_does_not_hide_its_counts() -> None:
    counts = parse_counts((DATA / "perf-6.1.per-thread.jsonl").read_text(encoding="utf-8"))
    assert counts.unread == ()
    assert [count.state for count in counts.of("task-clock")] == [Counted.YES, Counted.NOT_COUNTED]


@pytest.mark.skipif(not ELSEWHERE.is_dir(), reason="the recordings are not beside this checkout")
@pytest.mark.parametrize(
    "name", ["5.10.stat.csv", "6.1.stat.csv", "6.1.stat.jsonl", "6.12.stat.jsonl", "6.1.stat-de_DE.broken.jsonl"]
)
def test_recordings_from_elsewhere_are_read_whole(name: str) -> None:
    counts = parse_counts((ELSEWHERE / f"perf-{name}").read_text(encoding="utf-8"))
    assert counts.unread == ()
    assert counts.of("task-clock")[0].value > 100
    assert counts.of("cycles")[0].state is Counted.NOT_SUPPORTED


def test_an_old_perf_that_knows_no_json_gives_no_counts() -> None:
    counts = parse_counts("  Error: unknown switch `j'\n\n Usage: perf stat [<options>] [<command>]\n")
    assert counts == Counts((), ("line 1", "line 3"))


@pytest.mark.parametrize(
    "line",
    [
        MODERN.splitlines()[0][:-60],
        MODERN.splitlines()[1][:70],
        MODERN.splitlines()[0].replace("636.089000", "636,089"),  # the thousands, or a fraction?
        MODERN.splitlines()[0].replace("636.089000", "-1"),
        MODERN.splitlines()[0].replace("636.089000", "nan"),
        MODERN.splitlines()[0].replace("636.089000", "9" * 30),
        MODERN.splitlines()[0].replace('"pcnt-running" : 100.00', '"pcnt-running" : 250.00'),
        '{"thread" : "x", "event" : "llc.misses", "counter-value" : "1", "pcnt-running" : 100.00, "z" : "-7", '
        + MODERN.splitlines()[0][1:],
        '{"thread" : "a"b", "event" : "llc.misses", ' + MODERN.splitlines()[0][1:],
        "636.09;msec;task-clock",
        "636.09;msec;task-clock;soon;100.00;;",
        "[1, 2]",
        "{" * 2000,
        "x" * 5000,
    ],
)
def test_a_line_that_cannot_be_told_for_certain_is_not_read(line: str) -> None:
    assert parse_counts(line) == Counts((), ("line 1",))


def test_a_name_asked_for_twice_is_told_by_its_order() -> None:
    counts = parse_counts("1;;instructions;9;100.00;;\n2;;cycles;9;100.00;;\n3;;instructions:u;9;100.00;;\n")
    asked = ["instructions", "cycles", "instructions", "branches"]
    found = list(matched(counts, asked, summed=False))
    assert [line.value if line else None for line in found] == [1, 2, 3, None]


def test_a_name_that_is_printed_more_or_less_often_than_asked_is_told_of_none() -> None:
    counts = parse_counts("1;;instructions;9;100.00;;\n3;;instructions;9;100.00;;\n")
    assert list(matched(counts, ["instructions"], summed=False)) == [None]
    assert list(matched(counts, ["instructions"] * 3, summed=False)) == [None] * 3


@pytest.mark.parametrize("summed", [False, True])
def test_very_many_lines_of_one_name_are_told_apart_in_one_pass(summed: bool) -> None:
    many = 50_000
    found = list(matched(parse_counts("1;;x;1;100.00;;\n" * many), ["x"] * many, summed=summed))
    assert {count.value for count in found if count} == {many if summed else 1.0}
    assert len(found) == many


def test_devices_of_one_kind_are_added_up_if_all_of_them_are_there() -> None:
    counts = parse_counts("1;;memory.reads;9;80.00;;\n3;;memory.reads;9;60.00;;\n")
    assert next(matched(counts, ["memory.reads"] * 2, summed=True)) == Count("memory.reads", Counted.YES, 4.0, 0.6)
    assert next(matched(counts, ["memory.reads"] * 3, summed=True)) is None
    counts = parse_counts("1;;memory.reads;9;80.00;;\n<not counted>;;memory.reads;0;100.00;;\n")
    missing = next(matched(counts, ["memory.reads"] * 2, summed=True))
    assert missing is not None
    assert missing.state is Counted.NOT_COUNTED


SAMPLES = list(FORMS.values())


@given(st.one_of(st.text(), st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))))
@example('{"event" : ' * 500)
def test_any_text_gives_counts_or_lines_unread(text: str) -> None:
    for count in parse_counts(text).lines:
        assert count.value >= 0
        assert 0 <= count.running <= 1


@given(st.sampled_from(SAMPLES), st.data())
def test_a_sample_with_something_cut_out_or_put_in_is_read_or_not(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    noise = data.draw(st.text(alphabet='{}", :;\n<>-', max_size=4))
    counts = parse_counts(text[:start] + noise + text[end:])
    assert all(count.value >= 0 and 0 <= count.running <= 1 for count in counts.lines)


@given(st.sampled_from(SAMPLES), st.integers(0, 2000))
def test_cut_short_it_gives_only_what_was_printed_whole(text: str, length: int) -> None:
    whole = parse_counts(text).lines
    cut = parse_counts(text[:length]).lines
    complete = text[:length].count("\n")
    assert cut[:complete] == whole[: len(cut[:complete])]
    assert len(cut) <= complete + 1
