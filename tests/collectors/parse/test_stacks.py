"""A profile's stacks, the functions in them, and the facts they tell."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.perf_script import fold, kept
from engram_diagnose.collectors.parse.figures import UnparsedError
from engram_diagnose.collectors.parse.stacks import (
    Profile,
    collapsed,
    facts_of_profile,
    nameless,
    parse_collapsed,
    parse_profile,
    places,
    plain,
    profile_fact_names,
    share_of,
    wilson,
)
from engram_diagnose.engine.facts.fact import Reason, Status
from engram_diagnose.engine.language.symbols_reader import read_symbols
from engram_diagnose.rulebase import load_rules

DATA = Path(__file__).parents[2] / "data/profile"
LOADED = load_rules(thorough=False)
KINDS = read_symbols(LOADED.texts, LOADED.catalogue)
BY_FACT = {kind.fact: kind for kind in KINDS}
LOCKS, EMBEDDINGS, FLUSHES = "lock.spin_symbol_share", "simd.embedding_symbol_share", "io.fsync_symbol_share"
HEAD = {"event": "cpu-clock", "hertz": 99, "seconds": 3.0, "samples": 0, "lost": 0}


def body(*stacks: tuple[str, int], **changes: object) -> str:
    head = {**HEAD, "samples": sum(count for _, count in stacks), **changes}
    return f"# {json.dumps(head)}\n" + "".join(f"{stack} {count}\n" for stack, count in stacks)


def answer(text: str | None, reason: str = "", detail: str = "") -> Answer:
    return Answer("profile", "perf record", 1_790_000_000.0, "db1", text, reason, detail)


def facts(text: str):
    return {fact.name: fact for fact in facts_of_profile([answer(text)], KINDS)}


def profile_of(name: str) -> Profile:
    text = (DATA / name).read_text(encoding="utf-8", errors="surrogateescape")
    pid = int(text.split("/")[0].split()[-1])
    folded = fold(text, pid=pid)
    return parse_profile(body(*kept(folded, most=10_000, most_bytes=10**7), lost=folded.lost))


@pytest.mark.parametrize("name", ["perf-6.1.script.rust-v0.txt", "perf-6.1.script.rust-legacy.txt"])
def test_a_real_rust_program_is_told_apart_in_either_mangling(name):
    profile = profile_of(name)
    assert places(profile)[0].name == "hot::activation::cosine_similarity"
    total = profile.samples

    def certain(fact: str, *parts: str) -> None:
        count = sum(n for stack, n in profile.stacks if any(part in frame for frame in stack for part in parts))
        assert count > 0
        low, high = share_of(BY_FACT[fact], profile)
        assert low <= count / total <= high

    certain(EMBEDDINGS, "cosine_similarity")
    certain(FLUSHES, "fsync", "fdatasync")
    certain(LOCKS, "contended", "sys_futex")


def test_shares_of_hostile_names_are_known_too():
    said = facts(body(('"q"?[31m;start_thread;w;__GI___lll_lock_wait;do_futex_[k]', 6), ("<img src=x>;w;critical", 4)))
    low, high = said[LOCKS].value
    assert low < 0.6 < high
    assert said[LOCKS].status is Status.MEASURED
    assert said["prof.samples"].value == (10.0, 10.0)


@pytest.mark.parametrize(
    ("fact", "frames", "counts"),
    [
        (LOCKS, "pthread_mutex_lock@@GLIBC_2.2.5", True),
        (LOCKS, "<std::sys::sync::rwlock::futex::RwLock>::write_contended", True),
        (LOCKS, "std::sys::sync::mutex::futex::Mutex::lock_contended", True),
        (LOCKS, "parking_lot::raw_mutex::RawMutex::lock_slow", True),
        (LOCKS, "<dashmap::lock::RawRwLock>::lock_exclusive_slow", True),
        (LOCKS, "native_queued_spin_lock_slowpath_[k]", True),
        (LOCKS, "__x64_sys_futex_[k];do_futex_[k]", True),
        (LOCKS, "__pthread_cond_wait_common;do_futex_[k]", False),
        (LOCKS, "<tokio::runtime::park::Inner>::park;do_futex_[k]", False),
        (LOCKS, "engram::blocks::clock::tick", False),
        (LOCKS, "hot::deadlock_free::run", False),
        (EMBEDDINGS, "hot::activation::cosine_similarity", True),
        (EMBEDDINGS, "engram_core::compute::simd::dot_product_avx2", True),
        (EMBEDDINGS, "hnswlib::L2SqrSIMD16ExtAVX512", True),
        (EMBEDDINGS, "simsimd_cos_f32_haswell;sqrtf", True),
        (EMBEDDINGS, "hnsw::Index<metric::Cosine>::search", False),
        (EMBEDDINGS, "dotenv::load", False),
        (EMBEDDINGS, "std::collections::HashMap::insert", False),
        (FLUSHES, "fdatasync;__x64_sys_fdatasync_[k];do_fsync_[k];ext4_sync_file_[k]", True),
        (FLUSHES, "<std::fs::File>::sync_data", True),
        (FLUSHES, "__sync_dirty_buffer_[k]", False),
        (FLUSHES, "write;ksys_write_[k]", False),
    ],
)
def test_functions_are_of_the_kind_their_names_say(fact, frames, counts):
    low, high = share_of(BY_FACT[fact], parse_profile(body((f"t;start_thread;{frames}", 400))))
    assert (low > 0.9) is counts
    assert (high < 0.1) is not counts


def test_generic_arguments_do_not_make_a_function_what_they_are():
    assert (
        plain("<hot::Tier<alloc::vec::Vec<f32>> as hot::Spread<u8>>::spread::<&str>")
        == "<hot::Tier as hot::Spread>::spread"
    )
    assert plain("core::ops::function::FnOnce::call_once::<fn(u8) -> u8>").startswith(
        "core::ops::function::FnOnce::call_once"
    )
    assert plain("schedule_[k]") == "schedule"


def test_frames_without_names_leave_it_open_and_never_say_no():
    low, high = facts(body(("t;[libserver.so]", 80), ("t;main;idle", 20)))[LOCKS].value
    assert low == 0.0
    assert high > 0.8
    broken = facts(body(("t;[unknown];malloc", 100)))
    assert broken[LOCKS].value[1] < 0.05, "an outer frame without a name hides nothing of what runs"
    assert broken["prof.unknown_frame_share"].value == (0.5, 0.5)


def test_stacks_that_were_not_kept_leave_it_open():
    low, high = facts(body(("t;main", 60), samples=100))[EMBEDDINGS].value
    assert low == 0.0
    assert high > 0.4


def test_what_the_kernel_does_is_unknown_where_it_was_not_sampled():
    said = facts(body(("t;main", 60), event="cpu-clock:u"))
    assert said[FLUSHES].unknown.reason is Reason.PARANOID
    assert said[FLUSHES].get_by
    assert said[LOCKS].known


def test_a_server_that_used_no_cpu_is_too_few_samples_and_not_a_share_of_nothing():
    said = facts(body())
    assert {name: fact.unknown.reason for name, fact in said.items() if not fact.known} == dict.fromkeys(
        [LOCKS, EMBEDDINGS, FLUSHES, "prof.lost_share", "prof.unknown_frame_share"], Reason.TOO_FEW_SAMPLES
    )
    assert said["prof.samples"].value == (0.0, 0.0)


def test_lost_samples_and_a_cut_reading_are_said():
    said = facts(body(("t;main", 75), lost=25, cut="perf: it printed more than 5 bytes"))
    assert said["prof.lost_share"].value == (0.25, 0.25)
    assert "it printed more than 5 bytes" in said[LOCKS].quality


def test_threads_sampled_one_by_one_make_the_share_less_certain_and_say_so():
    assert "1/99 s" in facts(body(("t;main", 75), threads=40))[LOCKS].quality
    assert not facts(body(("t;main", 75), threads=40, whole_host=True))[LOCKS].quality


@pytest.mark.parametrize(
    ("given_answer", "reason"),
    [
        (None, Reason.NOT_COLLECTED),
        (answer(None, "NO_TOOL", "perf is not installed"), Reason.NO_TOOL),
        (answer(None, "TARGET_GONE", "ended"), Reason.TARGET_GONE),
        (answer(None, "WHIM", ""), Reason.UNPARSED),
        (answer("nothing"), Reason.UNPARSED),
        (answer('# {"samples": "many"}\n'), Reason.UNPARSED),
        (answer("# " + "[" * 100_000), Reason.UNPARSED),
    ],
)
def test_every_fact_is_said_also_when_there_is_no_profile(given_answer, reason):
    said = facts_of_profile([given_answer] if given_answer else [], KINDS)
    assert {fact.name for fact in said} == profile_fact_names(KINDS)
    assert {fact.unknown.reason for fact in said} == {reason}


def test_the_facts_are_in_the_catalogue():
    assert profile_fact_names(KINDS) <= set(LOADED.catalogue.facts)


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=6).map(tuple), st.integers(1, 10**6), max_size=12))
def test_collapsed_text_comes_back_as_the_same_stacks(stacks):
    profile = Profile(tuple(stacks.items()), sum(stacks.values()))
    once = parse_collapsed(collapsed(profile))
    again = Profile(once, profile.samples)
    assert parse_collapsed(collapsed(again)) == once
    assert sum(count for _, count in once) == profile.samples


@given(st.binary(max_size=400))
def test_any_bytes_make_facts_that_are_unknown_or_in_range(data):
    text = data.decode("utf-8", "surrogateescape")
    for head in ("", '# {"event": "cpu-clock", "hertz": 99, "seconds": 3, "samples": 5, "lost": 0}\n'):
        for fact in facts_of_profile([answer(head + text)], KINDS):
            assert fact.unknown or fact.name == "prof.samples" or 0 <= fact.value[0] <= fact.value[1] <= 1


def test_the_line_that_cannot_be_read_is_named():
    with pytest.raises(UnparsedError, match="line 3"):
        parse_profile(body(("a;b", 3)) + "no count here\n")


def test_an_unknown_frame_is_told_from_a_function():
    assert nameless("[libc.so.6]")
    assert nameless("[unknown]_[k]")
    assert not nameless("<[u8]>::copy_within")


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilsons_interval_holds_the_share_and_solves_its_equation(part, whole):
    part = min(part, whole)
    low, high = wilson(part, whole)
    assert 0 <= low <= part / whole <= high <= 1
    for end in {low, high} - {0.0, 1.0}:  # |share - end| is 1.96 standard errors of `end`
        assert abs(part / whole - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / whole), rel=1e-6)
