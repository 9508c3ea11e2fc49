"""A bundle stays small enough to be mailed, and says what was left out for that."""

import random

import pytest

from engram_diagnose.collectors.bundle import Bundle, encode_bundle, read_bundle
from engram_diagnose.collectors.bundle_format import Limits
from engram_diagnose.collectors.bundle_size import KEPT, PLAIN, fitted
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.knowledge import MEASURING


def noise(count: int, seed: int) -> str:
    """Text that does not compress."""
    return random.Random(seed).randbytes(count // 2).hex()


def answer(collector: str, size: int, name: str = "x") -> Answer:
    return Answer(collector, name, 1.0, "h", noise(size, size))


BUNDLE = Bundle(
    1.0,
    answers=(
        answer("target", 200),
        answer("prometheus", 60_000),
        answer("perf", 20_000, "script"),
        answer("perf", 40_000, "c2c"),
        answer("host", 3_000),
    ),
)


def left_out(bundle: Bundle) -> list[str]:
    return [f"{one.collector} {one.name}" for one in bundle.answers if one.reason == "TOO_EXPENSIVE"]


def test_one_that_fits_stays_as_it_is() -> None:
    assert fitted(BUNDLE, most=len(encode_bundle(BUNDLE))) is BUNDLE


def test_profile_data_goes_first_and_the_largest_of_it_before_the_rest() -> None:
    size = len(encode_bundle(BUNDLE))
    assert left_out(fitted(BUNDLE, most=size - 1)) == ["perf c2c"]
    assert left_out(fitted(BUNDLE, most=size - 25_000)) == ["perf script", "perf c2c"]
    assert left_out(fitted(BUNDLE, most=size - 40_000)) == ["prometheus x", "perf script", "perf c2c"]


@pytest.mark.parametrize("most", [500, 2_000, 10_000, 40_000, 60_000])
def test_it_fits_and_reads_again_and_says_what_is_gone_and_how_much_that_was(most: int) -> None:
    small = fitted(BUNDLE, most=most)
    assert len(encode_bundle(small)) <= max(most, 900)
    assert read_bundle(encode_bundle(small)) == small
    gone = [one for one in small.answers if one.reason]
    assert gone
    assert all(f"at most {most} bytes" in one.detail and one.body is None for one in gone)
    assert small.answers[0].body == BUNDLE.answers[0].body, "who the server is, is always said"
    assert len(small.answers) == len(BUNDLE.answers)


def test_what_no_reader_would_take_is_left_out_however_well_it_packs() -> None:
    limits = Limits(bytes=50_000, line_bytes=20_000)
    long = Bundle(1.0, answers=(Answer("perf", "long", 1.0, "h", "\x00" * 10_000), answer("host", 1_000)))
    assert left_out(fitted(long, most=1 << 20, limits=limits)) == ["perf long"]
    many = Bundle(1.0, answers=tuple(Answer("perf", str(n), 1.0, "h", "x" * 15_000) for n in range(5)))
    small = fitted(many, most=1 << 20, limits=limits)
    assert read_bundle(encode_bundle(small), limits=limits) == small
    assert 0 < len(left_out(small)) < 5


def test_a_collector_is_a_reader_of_files_or_a_program_that_measures_and_not_both() -> None:
    assert not (PLAIN | KEPT) & MEASURING
