"""
A second opinion on structure: a document against its published JSON Schema, with each complaint at its place.

Loading does not come here (docs/decisions/0004). `rules check` does, so that what editors accept and what the loader
accepts cannot drift apart unnoticed.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from engram_diagnose.engine.language.problem import MAX_PROBLEMS, Problem, did_you_mean, printable
from engram_diagnose.engine.language.source import Mapping, Node, Scalar, Sequence, describe, plain

_KINDS: Final = {"array": "a list", "object": "a mapping", "null": "nothing"}


class _Complaint(NamedTuple):
    """What a validator has against a node: the schema's keyword, its value, and the schema it stands in."""

    keyword: str
    value: Any
    schema: dict[str, Any]
    node: Node
    instance: Any
    message: str


def schema_problems(root: Mapping, schema: dict[str, Any]) -> list[Problem]:
    """
    What a JSON Schema (draft 2020-12) has against a parsed document, in the order of the file.

    Every scalar is seen as the text it is written as. It ends where `MAX_PROBLEMS` are found.
    """
    from jsonschema import Draft202012Validator

    found: set[Problem] = set()
    for error in Draft202012Validator(schema).iter_errors(plain(root)):
        keyword = "propertyNames" if "propertyNames" in error.absolute_schema_path else str(error.validator)
        described = error.schema if isinstance(error.schema, dict) else {}
        node = _node_at(root, error.absolute_path)
        complaint = _Complaint(keyword, error.validator_value, described, node, error.instance, error.message)
        found.update(islice(_PLACED.get(keyword, _at_the_node)(complaint), MAX_PROBLEMS))
        if len(found) >= MAX_PROBLEMS:
            break
    return sorted(found)


def unnoticed(second: Iterable[Problem], first: Iterable[Problem]) -> list[Problem]:
    """The problems of a second opinion on lines where the first found none."""
    known = {(problem.mark.file, problem.mark.line) for problem in first}
    return [problem for problem in second if (problem.mark.file, problem.mark.line) not in known]


def _node_at(root: Mapping, path: Iterable[Any]) -> Node:
    """The node a path of keys and indices leads to."""
    node: Node = root
    for step in path:
        if isinstance(node, Mapping):
            node = node.values[step]
        elif isinstance(node, Sequence):
            node = node.items[step]
    return node


def _problem(complaint: _Complaint, message: str, *, key: str | None = None, hint: str = "") -> Problem:
    """At a key of the node, or at the node."""
    node = complaint.node
    if key is not None and isinstance(node, Mapping):
        mark, length = node.key_mark(key), len(key)
    else:
        mark, length = node.mark, len(node.text) if isinstance(node, Scalar) else 1
    hint = hint or str(complaint.schema.get("description", ""))
    return Problem(mark, printable(message), printable(hint), max(1, length))


# Complaints about keys, and about the node as a whole


def _stray_keys(complaint: _Complaint) -> Iterator[Problem]:
    known = sorted(complaint.schema.get("properties", ()))
    patterns = complaint.schema.get("patternProperties", ())
    for key in complaint.node.values if isinstance(complaint.node, Mapping) else ():
        if key not in known and not any(re.search(pattern, key) for pattern in patterns):
            hint = did_you_mean(key, known) or f"known here: {', '.join(known)}"
            yield _problem(complaint, f"the schema has no key {key!r} here", key=key, hint=hint)


def _missing_keys(complaint: _Complaint) -> Iterator[Problem]:
    for key in complaint.value:
        if isinstance(complaint.node, Mapping) and key not in complaint.node.values:
            yield _problem(complaint, f"the schema asks for {key!r} here", hint=f"add `{key}:`")


def _wrong_name(complaint: _Complaint) -> Iterator[Problem]:
    name = str(complaint.instance)
    yield _problem(complaint, f"{name!r} cannot stand here as a name", key=name)


def _at_the_node(complaint: _Complaint) -> Iterator[Problem]:
    yield _problem(complaint, _MESSAGES.get(complaint.keyword, _as_said)(complaint))


_PLACED: Final[dict[str, Callable[[_Complaint], Iterator[Problem]]]] = {
    "additionalProperties": _stray_keys,
    "required": _missing_keys,
    "propertyNames": _wrong_name,
}


# What is said of the node


def _as_said(complaint: _Complaint) -> str:
    return complaint.message


def _wrong_type(complaint: _Complaint) -> str:
    wanted = complaint.value if isinstance(complaint.value, list) else [complaint.value]
    names = dict.fromkeys(_KINDS.get(kind, "a single value") for kind in wanted)
    return f"{describe(complaint.node)} stands where the schema wants {' or '.join(names)}"


def _wrong_word(complaint: _Complaint) -> str:
    words = complaint.value if complaint.keyword == "enum" else [complaint.value]
    shown = dict.fromkeys(str(word).lower() if isinstance(word, bool) else str(word) for word in words)
    return f"{describe(complaint.node)} is not one of: {', '.join(shown)}"


def _wrong_form(complaint: _Complaint) -> str:
    return f"{describe(complaint.node)} does not have the form that the schema wants"


def _wrong_choice(complaint: _Complaint) -> str:
    keys = [option["required"][0] for option in complaint.value if set(option) == {"required"}]
    if len(keys) < len(complaint.value):
        return f"{describe(complaint.node)} fits none of what the schema allows here"
    there = [key for key in keys if isinstance(complaint.node, Mapping) and key in complaint.node.values]
    if there:
        return f"the schema allows one of these, not several: {', '.join(there)}"
    return f"the schema asks for one of: {', '.join(keys)}"


def _too_short(complaint: _Complaint) -> str:
    return f"{describe(complaint.node)} is shorter than the schema allows ({complaint.value})"


def _too_long(complaint: _Complaint) -> str:
    return f"{describe(complaint.node)} is longer than the schema allows ({complaint.value})"


_MESSAGES: Final[dict[str, Callable[[_Complaint], str]]] = {
    "type": _wrong_type,
    "enum": _wrong_word,
    "const": _wrong_word,
    "pattern": _wrong_form,
    "not": _wrong_form,
    "oneOf": _wrong_choice,
    "anyOf": _wrong_choice,
    "minItems": _too_short,
    "minProperties": _too_short,
    "minLength": _too_short,
    "maxItems": _too_long,
    "maxProperties": _too_long,
}
