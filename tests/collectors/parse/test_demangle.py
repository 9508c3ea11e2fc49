"""Rust's mangled names become those of the source, and nothing else does."""

import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.tool import find_tool
from engram_diagnose.collectors.parse.demangle import demangle

NAMES = Path(__file__).parents[2] / "data/profile/rust-names.txt"
PAIRS = [line.split("\t") for line in NAMES.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("mangled", "name"), PAIRS, ids=range(len(PAIRS)))
def test_names_of_a_real_program_are_those_that_binutils_gives(mangled, name):
    assert demangle(mangled) == name


@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("_RNvC6_123foo3bar", "123foo::bar"),
        ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
        ("_RNCNCNgCs6DXkGYLi8lr_2cc5spawn00B5_", "cc::spawn::{closure#0}::{closure#0}"),
        ("_RNCINkXs25_NgCsbmNqQUJIY6D_4core5sliceINyB9_4IterhENuNgNoBb_4iter8iterator8Iterator9rposition"
         "NCNgNpB9_6memchr7memrchrs_0E0Bb_",
         "<core::slice::Iter<u8> as core::iter::iterator::Iterator>::rposition"
         "::<core::slice::memchr::memrchr::{closure#1}>::{closure#0}"),
        ("_RINbNbCskIICzLVDPPb_5alloc5alloc8box_freeDINbNiB4_5boxed5FnBoxuEp6OutputuEL_ECs1iopQbuBiw2_3std",
         "alloc::alloc::box_free::<dyn alloc::boxed::FnBox<(), Output = ()>>"),
        ("_RMCs4fqI2P2rA04_13const_genericINtB0_4CharKc76_E", "<const_generic::Char<'v'>>"),
        ("_RMCs4fqI2P2rA04_13const_genericINtB0_4BoolKb1_E", "<const_generic::Bool<true>>"),
        ("_RMCs4fqI2P2rA04_13const_genericINtB0_6SignedKanf_E", "<const_generic::Signed<-15>>"),
        ("_RNvC5krate4_2abc", "krate::2abc"),
        ("_RNqCs4fqI2P2rA04_11utf8_identsu30____7hkackfecea1cbdathfdh9hlq6y", "utf8_idents::საჭმელად_გემრიელი_სადილი"),
        ("_RYFG_FGyG0_EvEKC5krate5trait", None),
        ("_ZN3hot10activation6cosine17h0123456789abcdefE", "hot::activation::cosine"),
        ("_ZN50_$LT$hot..Tier$LT$T$GT$$u20$as$u20$hot..Spread$GT$6spread17h0123456789abcdefE",
         "<hot::Tier<T> as hot::Spread>::spread"),
        ("_ZN3foo17h05af221e174051e9E.llvm.5A310FAB", "foo"),
        ("_ZN3foo17h05af221e174051e9E.cold", "foo.cold"),
        ("_ZN3foo3barE", None),
        ("_ZNSt6vectorIiSaIiEE9push_backEOi", None),
        ("_R", None), ("_RNv", None), ("_R0NvC1a1b", None), ("_ZN", None), ("main", None), ("", None), ("RUST", None),
        ("_RNvC1a1b;evil", None),
    ],
)  # fmt: skip
def test_each_part_of_the_grammar(mangled, name):
    assert demangle(mangled) == (mangled if name is None else name)


# Names made by the grammar of RFC 2603, for comparison with an independent demangler.
IDENTIFIERS = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


def plain(name: str) -> str:
    return f"{len(name)}{name}"


NUMBERS = st.sampled_from(["", "s_", "s0_", "sZ_"])
BASIC = st.sampled_from(list("abcdefhijlmnostuxyz"))
CRATES = st.builds(lambda name: f"C{plain(name)}", IDENTIFIERS)
CONSTS = st.sampled_from(["Kj2a_", "Kb0_", "Kc61_", "Kln5_", "Kp"])


def paths(types: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        CRATES,
        lambda inner: st.one_of(
            st.builds(lambda space, path, number, name: f"N{space}{path}{number}{plain(name)}",
                      st.sampled_from("tvCS"), inner, NUMBERS, IDENTIFIERS),
            st.builds(lambda path, arguments: f"I{path}{''.join(arguments)}E", inner,
                      st.lists(st.one_of(types, CONSTS), min_size=1, max_size=3)),
            st.builds(lambda kind, path: f"Y{kind}{path}", types, inner),
            st.builds(lambda place, kind: f"M{place}{kind}", inner, types),
        ),
        max_leaves=4,
    )  # fmt: skip


TYPES = st.recursive(
    BASIC,
    lambda inner: st.one_of(
        st.builds(lambda tag, kind: tag + kind, st.sampled_from(["R", "Q", "P", "O", "S"]), inner),
        st.builds(lambda kind: f"A{kind}j4_", inner),
        st.builds(lambda kinds: f"T{''.join(kinds)}E", st.lists(inner, max_size=3)),
        st.builds(lambda kinds, result: f"F{''.join(kinds)}E{result}", st.lists(inner, max_size=2), inner),
        st.builds(lambda path: f"D{path}EL_", paths(BASIC)),
        paths(BASIC),
    ),
    max_leaves=5,
)


@pytest.mark.skipif(find_tool("c++filt") is None, reason="binutils is not installed")
@settings(max_examples=5, deadline=None)
@given(st.lists(st.builds(lambda path: f"_RNv{path}4func", paths(TYPES)), min_size=150, max_size=200))
def test_generated_names_are_those_that_binutils_gives(names):
    asked = subprocess.run(
        ["c++filt", "-s", "rust"], input="\n".join(names), capture_output=True, text=True, check=True
    )
    for mangled, theirs in zip(names, asked.stdout.split("\n"), strict=False):
        without = re.sub(r"(?<=\w)\[[0-9a-f]+\]", "", theirs)
        assert demangle(mangled) == re.sub(r"(?<=[0-9e']): (?:usize|i32|bool|char)", "", without)


@given(st.text())
def test_any_text_gives_a_text(text):
    assert isinstance(demangle(text), str)


@given(st.sampled_from([mangled for mangled, _ in PAIRS]), st.integers(0, 400), st.text(max_size=6))
def test_a_damaged_name_is_given_back_or_is_still_a_name_in_one_line(mangled, at, damage):
    text = mangled[:at] + damage + mangled[at + len(damage) :]
    found = demangle(text)
    assert found == text or (found.isprintable() and len(found) < 10_000)


@pytest.mark.parametrize("prefix", ["_R", "_ZN"])
@given(st.text("RNvCtsMXYIBEKLTFGDpabcejkuz_0123456789$.", max_size=200))
def test_letters_of_the_grammar_in_any_order_are_survived(prefix, tail):
    found = demangle(prefix + tail)
    assert found == prefix + tail or found.isprintable()


@pytest.mark.parametrize(
    "name",
    [
        "_RNvB_1a", "_RB_", "_R" + "S" * 4000, "_RI" * 1000, "_RYRB_B_",
        "_RMC0" + "T" * 200, "_RMC1a" + "R" * 3000 + "u", "_RNvMC1aFG" + "Z" * 40 + "_EuC1b3foo",
        "_RMC1a" + "TTTTTTTTTTTTTTTTTTTTaaE" + "".join(f"B{at}_" * 8 for at in "56789abcdef") + "E" * 30,
        "_ZN" + "9" * 4000, "_ZN99999E", "_RNvC1a" + "u99999_", "_RNvCu9_" + "z" * 9 + "1b",
    ],
)  # fmt: skip
def test_names_made_to_explode_are_given_back_at_once(name):
    began = time.process_time()
    found = demangle(name)
    assert found == name or len(found) < 10_000
    assert time.process_time() - began < 5, "bounded, not merely quick"
