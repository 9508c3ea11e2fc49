"""What traced futex waits say about locks, and what they leave open."""

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_lock import (
    CALLS,
    KIND_LOCK,
    KIND_OTHER,
    KIND_PARKED,
    OTHER_WAITER,
    WAITS,
    bpftrace_program,
    kind_of_wait,
    sum_futex_calls,
)
from engram_diagnose.collectors.parse.figures import Between, UnparsedError
from engram_diagnose.collectors.parse.locks import (
    LOCK_FACTS,
    NOWHERE,
    Place,
    Waits,
    facts_of_locks,
    hot_addresses,
    parse_maps,
    parse_waits,
    top_share,
    wait_mean,
)
from engram_diagnose.engine.facts.fact import Fact, Reason

DATA = Path(__file__).parents[2] / "data/tracing"
RECORDED = Path(__file__).parents[4] / "shared/recordings/perf/bpftrace.futex-uaddr.onelock.jsonl"

WAIT, WAIT_BITSET, WAKE, PRIVATE, REALTIME = 0, 9, 1, 128, 256


def data(name: str) -> str:
    return (DATA / name).read_text()


def facts(**bodies: str | None) -> dict[str, Fact]:
    """The facts of the answers `calls` and `waits`; None stands for one without a body."""
    names = {"calls": CALLS, "waits": WAITS}
    answers = [
        Answer("locks", names[key], 9.0, "id", body, "" if body is not None else "NO_TOOL", "" if body else "no perf")
        for key, body in bodies.items()
    ]
    return {fact.name: fact for fact in facts_of_locks(answers)}


def waits(
    locks: list[Place] | None = None,
    shared: list[Place] | None = None,
    private: Place = NOWHERE,
    uncounted: Place = NOWHERE,
) -> Waits:
    numbered = [dict(enumerate(places or [], start)) for start, places in ((0, locks), (1000, shared))]
    return Waits(1.0, numbered[0], numbered[1], private, uncounted, 4, (0.0, 0.0))


def place(calls: int, milliseconds: float) -> Place:
    return Place(calls, milliseconds * 1e6, milliseconds * 1e6)


def test_one_contended_lock_is_one_hot_address_with_its_mean_wait():
    found = facts(calls=data("perf-6.1.stat-calls.csv"), waits=data("bpftrace-0.17.one-lock.jsonl"))
    assert found["lock.futex_rate"].value[0] > 10_000
    assert found["lock.yield_rate"].value == (0.0, 0.0)
    assert found["lock.hot_address_top_share"].value == (1.0, 1.0)
    assert found["lock.hot_addresses"].value == (1.0, 1.0)
    assert found["lock.wait_mean"].value == pytest.approx([188935748 / 18234 * 1e-9] * 2)
    assert 0.1 < found["lock.futex_wait_share"].value[0] < 1
    assert found["lock.wait_mean"].window == pytest.approx(0.3256, abs=1e-3)


def test_an_idle_pool_waits_all_the_time_and_its_lock_waits_stay_open():
    found = facts(waits=data("bpftrace-0.17.idle.jsonl"))
    assert found["lock.futex_wait_share"].value[0] > 0.8
    low, high = found["lock.wait_mean"].value
    assert low < 100e-6 < 1e-3 < high  # the mutex alone, and the queues' waits should they be locks


def test_a_recording_of_entries_and_exits_gives_what_sums_in_the_kernel_give():
    text = sum_futex_calls(data("perf-6.1.script-futex.idle.txt"), 0.06)
    found = facts(waits=text + json.dumps({"type": "threads", "data": {"threads": 7, "asleep": [], "hidden": 0}}))
    low, high = found["lock.wait_mean"].value
    assert low < 100e-6 < 1e-3 < high
    assert 0.5 < found["lock.futex_wait_share"].value[0] <= 1


@pytest.mark.parametrize("name", ["perf-6.1.script-futex.sixteen-locks.txt", "perf-6.12.script-futex.txt"])
def test_every_version_of_perf_prints_the_entries_that_are_read(name):
    maps, _ = parse_maps(sum_futex_calls(data(name), 0.02))
    lines = data(name).splitlines()
    assert maps["enters"][""] == sum("sys_enter_futex" in line for line in lines)
    assert maps["enters"][""] > 10


def test_entries_in_a_form_that_is_not_known_are_not_taken_for_none():
    text = data("perf-6.12.script-futex.txt").replace("uaddr: 0x", "uaddr: FUTEX at ")
    assert sum_futex_calls(text, 0.02) is None


def test_several_locks_share_the_waiting():
    found = waits([place(10, 40), place(10, 40), place(10, 20)])
    assert top_share(found) == pytest.approx(0.4)
    assert hot_addresses(found) == 2
    assert wait_mean(found) == pytest.approx(100e-3 / 30)


def test_threads_parked_at_addresses_of_their_own_leave_it_open():
    found = waits(private=place(400, 900))
    for judged in (top_share(found), hot_addresses(found), wait_mean(found)):
        assert judged.reason is Reason.TOO_COARSE
        assert "parking_lot" in judged.detail


def test_few_known_lock_waits_do_not_speak_for_many_unknown_ones():
    """A little waiting for the allocator's mutex is no proof that the parked threads wait for no lock."""
    found = wait_mean(waits([place(10, 0.05)], private=Place(20_000, 900e6, 60e6)))
    assert isinstance(found, Between)
    assert found.low < 5e-6
    assert found.high == pytest.approx(60e-3)


def test_no_wait_is_too_little_to_say():
    assert top_share(waits()).reason is Reason.TOO_FEW_SAMPLES
    assert wait_mean(waits()).reason is Reason.TOO_FEW_SAMPLES


def test_locks_that_were_not_printed_count_in_the_whole():
    found = waits([place(10, 60)], uncounted=place(40, 40))
    assert top_share(found) == pytest.approx(0.6)
    assert hot_addresses(found) == Between(2, 41)


def test_a_thread_that_sleeps_in_a_futex_all_the_time_counts_though_it_makes_no_call():
    figures = {"began": 1_000, "now": 1_000_001_000, "enters": 4, "since": {"7": 1, "8": 500_001_000}}
    lines = [{"type": "map", "data": {f"@{name}": value}} for name, value in figures.items()]
    said = {"type": "threads", "data": {"threads": 4, "asleep": [8, 9], "hidden": 1}}
    found = parse_waits("\n".join(map(json.dumps, [*lines, said])))
    assert found.asleep == (1.5e9, 2.5e9)  # 8 for half of it, 9 for all of it, and perhaps the hidden one
    value = facts(waits="\n".join(map(json.dumps, [*lines, said])))["lock.futex_wait_share"].value
    assert value == (0.375, 0.625)


@pytest.mark.parametrize(
    ("op", "value", "kind"),
    [
        (WAIT | PRIVATE, 2, KIND_LOCK),  # glibc's mutex, Go's
        (WAIT_BITSET | PRIVATE, 2, KIND_LOCK),  # Rust's Mutex
        (WAIT_BITSET | PRIVATE, 0xC0000001, KIND_LOCK),  # Rust's RwLock with readers and writers waiting
        (6 | PRIVATE, 0, KIND_LOCK),  # priority inheritance
        (WAIT_BITSET | PRIVATE, 0xFFFFFFFF, KIND_PARKED),  # Rust's thread::park
        (WAIT_BITSET | PRIVATE | REALTIME, 0, KIND_OTHER),  # glibc's condition variable or semaphore
        (WAIT | PRIVATE, 1, KIND_OTHER),  # parking_lot
        (WAKE | PRIVATE, 2, None),
    ],
)
def test_the_call_tells_what_is_waited_for_where_it_can(op, value, kind):
    assert kind_of_wait(op, value) == kind


def test_a_wait_with_a_time_limit_is_idle_unless_it_is_a_mutexs():
    assert kind_of_wait(WAIT_BITSET | PRIVATE | REALTIME, 0, timed=True) == KIND_PARKED
    assert kind_of_wait(WAIT_BITSET | PRIVATE | REALTIME, 2, timed=True) == KIND_LOCK
    call = "7 1.{}: syscalls:sys_enter_futex: uaddr: 0x10, op: 0x80, val: 0x1, utime: 0x{}, uaddr2: 0x0, val3: 0x0\n"
    ended = "7 1.000000009: syscalls:sys_exit_futex: 0x0\n"
    timed = sum_futex_calls(call.format("000000001", "7ffd10") + ended, 1.0)
    endless = sum_futex_calls(call.format("000000001", "0") + ended, 1.0)
    assert parse_maps(timed)[0]["total"] == {str(KIND_PARKED): 8.0}
    assert parse_maps(endless)[0]["total"] == {str(KIND_OTHER): 8.0}


def test_the_program_fits_the_version_of_bpftrace():
    assert "args->uaddr" in bpftrace_program(7, 2.0, version=(0, 17))
    later = bpftrace_program(7, 0.25, version=(0, 24))
    assert "args.uaddr" in later
    assert "interval:ms:250" in later
    assert "->" not in later


def test_output_that_ends_in_the_middle_is_unparsed():
    whole = data("bpftrace-0.17.one-lock.jsonl")
    for end in (len(whole) // 4, len(whole) // 2, whole.index('"@now"')):
        for fact in facts(waits=whole[:end]).values():
            assert fact.unknown.reason in (Reason.UNPARSED, Reason.NOT_COLLECTED)


def test_a_tool_that_is_missing_is_said_with_what_helps():
    found = facts(calls=None, waits=None)
    assert set(found) == LOCK_FACTS
    for fact in found.values():
        assert fact.unknown.reason is Reason.NO_TOOL
        assert "install" in fact.get_by


def test_what_nobody_collected_is_said_too():
    assert {fact.unknown.reason for fact in facts().values()} == {Reason.NOT_COLLECTED}


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are not here")
def test_the_recorded_sums_of_one_lock_are_read():
    maps, _ = parse_maps(RECORDED.read_text())
    assert maps["n"] == {"94623370878368": 964098}
    assert maps["wait_ns"] == {"94623370878368": 2288435120}


PLACES = st.lists(st.builds(place, st.integers(1, 50), st.sampled_from([0.5, 1, 3, 10, 40])), max_size=5)


@given(locks=PLACES, shared=PLACES)
def test_the_bounds_are_those_of_every_choice_of_locks(locks, shared):
    """The obvious slow way: try every subset of the shared addresses."""
    choices = [[*locks, *some] for size in range(len(shared) + 1) for some in combinations(shared, size)]
    choices = [choice for choice in choices if choice]
    found = waits(locks, shared)
    if not choices:
        assert top_share(found).reason is Reason.TOO_FEW_SAMPLES
        return
    shares = [max(p.ns for p in choice) / sum(p.ns for p in choice) for choice in choices]
    means = [sum(p.ns for p in choice) / sum(p.calls for p in choice) * 1e-9 for choice in choices]
    counts = [_fewest([p.ns for p in choice]) for choice in choices]
    assert _ends(top_share(found)) == pytest.approx((min(shares), max(shares)))
    assert _ends(wait_mean(found)) == pytest.approx((min(means), max(means)))
    low, high = _ends(hot_addresses(found))
    assert low <= min(counts)
    assert high >= max(counts)


def _fewest(times: list[float]) -> int:
    ordered = sorted(times, reverse=True)
    return next(n for n in range(1, len(ordered) + 1) if sum(ordered[:n]) >= 0.8 * sum(ordered))


def _ends(found: float | Between) -> tuple[float, float]:
    return (found.low, found.high) if isinstance(found, Between) else (found, found)


CALL = st.tuples(st.integers(1, 4), st.booleans(), st.sampled_from([0, 1, 6, 128, 137, 393]),
                 st.sampled_from([0, 1, 2, 0x80000000, 0xFFFFFFFF]), st.integers(1, 3))  # fmt: skip


@given(st.lists(CALL, max_size=40))
def test_sums_of_a_recording_keep_every_wait_that_ended(calls):
    text, expected, waiting = "", 0, {}
    for time, (thread, enter, op, value, address) in enumerate(calls, 1000):
        if enter:
            text += (f"  {thread} 0.{time:09d}: syscalls:sys_enter_futex: uaddr: 0x{address * 4:x}, "
                     f"op: 0x{op:08x}, val: 0x{value:08x}, utime: 0x0\n")  # fmt: skip
            waiting[thread] = time if kind_of_wait(op, value) is not None else None
        else:
            text += f"  {thread} 0.{time:09d}:  syscalls:sys_exit_futex: 0x0\n"
            since = waiting.pop(thread, None)
            expected += time - since if since else 0
    sums = sum_futex_calls(text, 1.0)
    if sums is not None:
        assert sum(parse_maps(sums)[0].get("total", {}).values()) == expected
        parse_waits(sums)


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """A real output, cut, with bytes of it replaced."""
    text = draw(st.sampled_from(sorted(p.name for p in DATA.glob("bpftrace*")))).strip()
    raw = bytearray((DATA / text).read_bytes())
    for _ in range(draw(st.integers(0, 4))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.integers(0, len(raw)))]).decode("utf-8", "surrogateescape")


@given(st.one_of(mangled(), st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "surrogateescape"))))
def test_any_bytes_are_facts(text):
    found = facts(calls=text, waits=text)
    assert set(found) == LOCK_FACTS
    for name in ("lock.futex_wait_share", "lock.hot_address_top_share"):
        value = found[name].value
        assert value is None or 0 <= value[0] <= value[1] <= 1
    sum_futex_calls(text, 1.0)


def test_a_number_too_large_for_a_float_is_no_traceback():
    for digits in ("9" * 400, "1e999", "-5", "true", '"x"'):
        with_it = f'{{"type":"map","data":{{"@now":{digits},"@began":1}}}}'
        with pytest.raises(UnparsedError):
            parse_waits(with_it)


def test_more_addresses_than_capture_keeps_are_refused_rather_than_weighed():
    figures = {str(4 * index + KIND_OTHER): 1000 for index in range(1, 200_000)}
    maps = {"@began": 0, "@now": 10**9, "@ns": figures}
    text = "".join(json.dumps({"type": "map", "data": {name: value}}) + "\n" for name, value in maps.items())
    with pytest.raises(UnparsedError, match="199999 addresses"):
        parse_waits(text)


def test_an_address_beyond_the_kernels_is_a_key_like_any_other():
    key = str(KIND_OTHER + OTHER_WAITER)
    lines = [{"@began": 1}, {"@now": 5}, {"@ns": {key: 3, "x": 4}}, {"@n": {key: 1}}]
    found = parse_waits("\n".join(json.dumps({"type": "map", "data": data}) for data in lines))
    assert found.shared == {0: Place(1.0, 3.0, 3.0)}
