"""
Condition trees compiled to closures over a frame, in Kleene's logic with early exits.
"""

from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.leaf import (
    FALSE,
    TRUE,
    UNKNOWN,
    Frame,
    Slots,
    Test,
    compile_test,
)
from engram_diagnose.engine.language.expression import All, AnyOf, AtLeast, Condition, Leaf, Not


def compile_condition(condition: Condition, slots: Slots) -> Test:
    """A closure that decides a condition in a frame."""
    match condition:
        case Leaf(test):
            return compile_test(test, slots)
        case Not(item):
            return _not(compile_condition(item, slots))
        case All(items):
            return _all(tuple(compile_condition(item, slots) for item in items))
        case AnyOf(items):
            return _any(tuple(compile_condition(item, slots) for item in items))
        case AtLeast(count, items):
            return _at_least(count, tuple(compile_condition(item, slots) for item in items))


def _not(item: Test) -> Test:
    def negated(frame: Frame) -> Truth:
        truth = item(frame)
        return TRUE if truth is FALSE else FALSE if truth is TRUE else UNKNOWN

    return negated


def _all(items: tuple[Test, ...]) -> Test:
    if len(items) == 1:
        return items[0]

    def every(frame: Frame) -> Truth:
        result = TRUE
        for item in items:
            truth = item(frame)
            if truth is FALSE:
                return FALSE
            if truth is UNKNOWN:
                result = UNKNOWN
        return result

    return every


def _any(items: tuple[Test, ...]) -> Test:
    if len(items) == 1:
        return items[0]

    def some(frame: Frame) -> Truth:
        result = FALSE
        for item in items:
            truth = item(frame)
            if truth is TRUE:
                return TRUE
            if truth is UNKNOWN:
                result = UNKNOWN
        return result

    return some


def _at_least(count: int, items: tuple[Test, ...]) -> Test:
    def enough(frame: Frame) -> Truth:
        settled = unknown = 0
        for item in items:
            truth = item(frame)
            if truth is TRUE:
                settled += 1
                if settled >= count:
                    return TRUE
            elif truth is UNKNOWN:
                unknown += 1
        return UNKNOWN if settled + unknown >= count else FALSE

    return enough
