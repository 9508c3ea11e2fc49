"""The report as JSON: exact, stable, and nothing in it that a terminal would act on."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engram_diagnose.render.json import render_json

Json = dict[str, Any]
Documents = dict[str, Json]


def test_it_reads_back_as_the_document(documents: Documents) -> None:
    for document in documents.values():
        assert json.loads(render_json(document)) == document


def test_it_is_indented_by_two_and_keeps_the_order_of_keys(documents: Documents) -> None:
    lines = render_json(documents["wal"]).splitlines()
    assert lines[:3] == ["{", '  "schema": "engram-diagnose/diagnosis/v1",', '  "subject": {']
    assert lines[-1] == "}"


def test_letters_of_any_script_stand_as_they_are() -> None:
    assert render_json({"space": "größe 空間 😀"}) == '{\n  "space": "größe 空間 😀"\n}\n'


def test_what_a_terminal_acts_on_is_escaped(documents: Documents) -> None:
    text = render_json(documents["hostile"])
    assert text.replace("\n", "").isprintable()
    text.encode("utf-8")


def test_figures_are_exact() -> None:
    for figure in (0.1 + 0.2, 1e-300, 2.0**53, 0.025000001):
        assert json.loads(render_json({"value": figure}))["value"] == figure


@pytest.mark.parametrize("figure", [float("nan"), float("inf")])
def test_what_is_no_figure_is_refused(figure: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        render_json({"value": figure})


@settings(max_examples=60)
@given(texts=st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=5))
def test_any_text_survives(documents: Documents, soiled: Callable[[Any, Sequence[str]], Any], texts: list[str]) -> None:
    document = soiled(documents["wal"], texts)
    text = render_json(document)
    assert json.loads(text) == document
    text.encode("utf-8")
