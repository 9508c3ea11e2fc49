"""Scopes: what a fact is about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts.scope import DIMENSIONS, INSTANCE, Scope, scope_of

SCOPES = st.dictionaries(st.sampled_from(DIMENSIONS), st.sampled_from(["a", "b"])).map(scope_of)


def test_labels_stand_in_one_order_however_they_are_given() -> None:
    assert scope_of({"space": "a", "operation": "store"}) == scope_of({"operation": "store", "space": "a"})
    assert str(scope_of({"space": "a", "operation": "store"})) == "{operation=store, space=a}"
    assert str(INSTANCE) == ""


def test_an_unknown_label_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="'tenant' is not a scope; known: operation, space"):
        scope_of({"tenant": "a"})


def test_the_instance_encloses_everything() -> None:
    assert INSTANCE.encloses(scope_of({"operation": "store"}))
    assert not scope_of({"operation": "store"}).encloses(INSTANCE)
    assert not scope_of({"operation": "store"}).encloses(scope_of({"operation": "recall", "space": "a"}))


@given(SCOPES, SCOPES, SCOPES)
def test_enclosing_is_an_order(a: Scope, b: Scope, c: Scope) -> None:
    assert a.encloses(a)
    assert not (a.encloses(b) and b.encloses(c)) or a.encloses(c)
    assert not (a.encloses(b) and b.encloses(a)) or a == b


@given(SCOPES, st.sets(st.sampled_from(DIMENSIONS)))
def test_a_projection_encloses_what_it_was_made_from(scope: Scope, dimensions: set[str]) -> None:
    projected = scope.project(dimensions)
    assert projected.encloses(scope)
    assert {name for name, _ in projected.labels} <= dimensions


@given(SCOPES, SCOPES)
def test_narrowing_puts_the_new_labels_over_the_old(scope: Scope, other: Scope) -> None:
    narrowed = scope.with_labels(dict(other.labels))
    assert other.encloses(narrowed)
    assert dict(narrowed.labels) == dict(scope.labels) | dict(other.labels)


def test_a_label_that_is_not_there_has_no_value() -> None:
    assert scope_of({"operation": "store"}).get("operation") == "store"
    assert scope_of({"operation": "store"}).get("space") is None


@given(SCOPES, SCOPES)
def test_scopes_touch_where_one_encloses_the_other(a: Scope, b: Scope) -> None:
    plain_a, plain_b = (scope.project(set(DIMENSIONS) - {"alert"}) for scope in (a, b))
    assert plain_a.touches(plain_b) == (plain_a.encloses(plain_b) or plain_b.encloses(plain_a))
    assert a.touches(b) == b.touches(a)


def test_what_two_alerts_say_of_one_place_touches() -> None:
    first = scope_of({"operation": "store", "alert": "Slow"})
    assert first.touches(scope_of({"alert": "Down"}))
    assert first.touches(scope_of({"operation": "store", "alert": "Down"}))
    assert not first.touches(scope_of({"operation": "recall", "alert": "Slow"}))
