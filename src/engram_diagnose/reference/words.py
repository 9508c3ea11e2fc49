"""
Conditions and expressions in words, and as they were written.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from engram_diagnose.engine.explanation.wording import formula
from engram_diagnose.engine.language.expression import (
    Aggregated,
    All,
    AnyOf,
    AtLeast,
    Between,
    Call,
    Comparison,
    Condition,
    Contains,
    Expression,
    Leaf,
    Member,
    Named,
    Not,
    Number,
    Text,
    leaves,
    walk,
)

_IS: Final = {
    ">": "is above",
    ">=": "is at least",
    "<": "is below",
    "<=": "is at most",
    "==": "is",
    "!=": "is not",
}


def condition_words(condition: Condition, depth: int = 0) -> Iterator[tuple[int, str]]:
    """A condition as lines in words, each with how deep it stands."""
    match condition:
        case Leaf(test):
            yield depth, phrase(test)
        case Not(item):
            yield depth, "not so:"
            yield from condition_words(item, depth + 1)
        case All(items):
            yield from _listed("all of these:", items, depth)
        case AnyOf(items):
            yield from _listed("one of these:", items, depth)
        case AtLeast(count, items):
            yield from _listed(f"at least {count} of these:", items, depth)


def _listed(title: str, items: Iterable[Condition], depth: int) -> Iterator[tuple[int, str]]:
    yield depth, title
    for item in items:
        yield from condition_words(item, depth + 1)


def one_line(condition: Condition) -> str:
    """A condition as one line in words, parts of parts in brackets."""
    match condition:
        case Leaf(test):
            return phrase(test)
        case Not(item):
            return f"not ({one_line(item)})"
        case All(items):
            return " and ".join(map(_part, items))
        case AnyOf(items):
            return " or ".join(map(_part, items))
        case AtLeast(count, items):
            return f"at least {count} of: {', '.join(map(_part, items))}"


def _part(condition: Condition) -> str:
    return one_line(condition) if isinstance(condition, Leaf | Not) else f"({one_line(condition)})"


def phrase(test: Expression) -> str:
    """A test in words: `wal.flush.p99 is above 5 ms ($flush_max)`."""
    match test:
        case Comparison(operator, left, right):
            return f"{formula(left)} {_IS[operator]} {_value(right)}"
        case Between(operand, low, high):
            return f"{formula(operand)} lies between {_value(low)} and {_value(high)}"
        case Member(operand, choices):
            return f"{formula(operand)} is one of {', '.join(map(_value, choices))}"
        case Contains(operand, part):
            return f"{formula(operand)} contains {_value(part)}"
        case Aggregated("any", dimension, body):
            return f"for some {dimension}, {phrase(body)}"
        case Aggregated("all", dimension, body):
            return f"for every {dimension}, {phrase(body)}"
        case Call("known", (argument,)):
            return f"{formula(argument)} is known"
        case Named(name, body) if isinstance(body, Comparison | Between | Member | Contains):
            return f"{name} ({phrase(body)})"
    return f"{formula(test)} is true"


def _value(expression: Expression) -> str:
    text = formula(expression)
    if isinstance(expression, Number | Text) and expression.parameter:
        return f"{text} (${expression.parameter})"
    return text


def named_in(conditions: Iterable[Condition], values: Iterable[Expression] = ()) -> dict[str, str]:
    """What the `let` names in conditions and values stand for, in reading order, inner names first."""
    found: dict[str, str] = {}
    tests = [leaf.test for condition in conditions for leaf in leaves(condition)]
    for expression in (*tests, *values):
        for part in reversed([part for part in walk(expression) if isinstance(part, Named)]):
            body = part.body
            comparing = isinstance(body, Comparison | Between | Member | Contains)
            found.setdefault(part.name, phrase(body) if comparing else formula(body))
    return found


def written(condition: Condition, indent: str = "") -> str:
    """A condition as YAML, its tests in their authors' words."""
    match condition:
        case Leaf(text=text):
            return _scalar(text)
        case Not(item):
            return f"not:{_nested(item, indent)}"
        case All(items):
            return f"all:{_list(items, indent)}"
        case AnyOf(items):
            return f"any:{_list(items, indent)}"
        case AtLeast(count, items):
            return f"at_least:\n{indent}  n: {count}\n{indent}  of:{_list(items, indent + '  ')}"


def _nested(item: Condition, indent: str) -> str:
    inner = written(item, indent + "  ")
    return f" {inner}" if isinstance(item, Leaf) else f"\n{indent}  {inner}"


def _list(items: Iterable[Condition], indent: str) -> str:
    return "".join(f"\n{indent}  - {written(item, indent + '    ')}" for item in items)


def _scalar(text: str) -> str:
    """Quoted where YAML would read something else."""
    plain = " ".join(text.split())
    unsafe = ": " in plain or " #" in plain or plain[:1] in "\"'[{&*!|>%@`-?" or plain.endswith(":")
    return "'" + plain.replace("'", "''") + "'" if unsafe else plain
