"""Train and held-out by fault family and host shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases.made import LIMITS, label

from engram_diagnose.cases.label import HEALTHY
from engram_diagnose.cases.split import is_held_out, place_of, side_of
from engram_diagnose.lab.faults import FAULTS

SHARE = LIMITS["held_out"]
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@given(family=NAMES, shape=NAMES, share=st.floats(0, 1))
def test_no_case_of_a_family_or_shape_that_is_held_out_stands_in_train(family: str, shape: str, share: float) -> None:
    out = is_held_out("family", family, share=share) or is_held_out("host", shape, share=share)
    assert side_of(label(families=(family,), shape=shape), share=share) == ("held-out" if out else "train")


def test_two_faults_are_held_out_when_one_of_them_is() -> None:
    families = sorted({fault.family for fault in FAULTS.values()})
    out = next(name for name in families if is_held_out("family", name, share=SHARE))
    kept = next(name for name in families if not is_held_out("family", name, share=SHARE))
    assert place_of(label(families=(kept, out), shape="4-cores"), share=SHARE) == "new family"


def test_a_shape_that_is_held_out_is_told_apart_from_a_family_that_is() -> None:
    assert place_of(label(families=("log",), shape="4-cores"), share=SHARE) == "train"
    assert place_of(label(families=("log",), shape="2-cores"), share=SHARE) == "new host"
    assert place_of(label(families=("threads",), shape="4-cores"), share=SHARE) == "new family"
    assert place_of(label(families=("threads",), shape="2-cores"), share=SHARE) == "new family and host"


def test_both_sides_have_faults_and_healthy_cases_of_the_lab() -> None:
    families = {fault.family for fault in FAULTS.values() if len(fault.causes) == 1}
    out = {name for name in families if is_held_out("family", name, share=SHARE)}
    assert len(out) >= 3
    assert len(families - out) >= 3
    assert not is_held_out("family", HEALTHY, share=SHARE)
    assert {is_held_out("host", shape, share=SHARE) for shape in ("1-core", "2-cores", "4-cores")} == {True, False}


@pytest.mark.parametrize(("family", "out"), [("log", False), ("threads", True), ("limits", True), ("tiers", False)])
def test_the_side_of_a_family_never_changes(family: str, out: bool) -> None:
    assert is_held_out("family", family, share=0.4) is out
