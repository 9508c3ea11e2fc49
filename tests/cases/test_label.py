"""Labels: what they say comes back, and what is none is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases.made import WAL, label, moved

from engram_diagnose.cases.label import Label, LabelError, Loaded, decode_label, encode_label

FULL = moved(label("full", besides=("host.clocksource",)), load=Loaded({"store": 1.0}, 1200.5, 64, 12.0, 4000.0),
             missing=("config",), of="other", noise="the rate is +3% off", hidden_by="nothing", seed=4)  # fmt: skip


@pytest.mark.parametrize("one", [label(), FULL, label("well", causes=())])
def test_a_label_comes_back_as_it_was_written(one: Label) -> None:
    assert decode_label(encode_label(one), where="x") == one


def test_the_right_rules_are_those_of_all_that_is_wrong() -> None:
    assert label(causes=(("a", "b"), ("c",))).right == {"a", "b", "c"}


@given(content=st.binary(max_size=400))
def test_bytes_that_are_no_label_are_told_as_such(content: bytes) -> None:
    with pytest.raises(LabelError, match="x is no label"):
        decode_label(content, where="x")


@given(cut=st.integers(0, len(encode_label(FULL)) - 3))
def test_a_label_that_was_cut_off_is_told_as_such(cut: int) -> None:
    with pytest.raises(LabelError, match="is no label"):
        decode_label(encode_label(FULL)[:cut], where="x")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("causes", [[]], "causes/0"), ("visible", "perhaps", "visible"), ("name", "../up", "name"),
        ("bundle", {"file": "/etc/passwd", "sha256": "0" * 64}, "bundle/file"), ("when", "yesterday", "when"),
        ("host", {"shape": "4-cores", "cores": 0}, "host/cores"), ("schema", "engram-diagnose/label/v2", "schema"),
        ("families", [], "families"), ("strange", 1, "strange"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_label_is_told_with_its_place(key: str, value: object, told: str) -> None:
    document = json.loads(encode_label(label())) | {key: value}
    with pytest.raises(LabelError, match=told):
        decode_label(json.dumps(document).encode(), where="x")


def test_a_case_is_healthy_or_has_causes_and_never_both() -> None:
    document = json.loads(encode_label(label()))
    with pytest.raises(LabelError, match="mend causes or families"):
        decode_label(json.dumps(document | {"causes": []}).encode(), where="x")
    with pytest.raises(LabelError, match="mend causes or families"):
        decode_label(json.dumps(document | {"families": ["healthy"], "causes": [[WAL]]}).encode(), where="x")
