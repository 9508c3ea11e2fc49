"""
Which figures of two sides are compared.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from engram_diagnose.engine.advice.record import Prediction
from engram_diagnose.engine.comparison.policy import Better, Figure, Policy
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.memory import enclosing_scopes
from engram_diagnose.engine.facts.scope import Scope, scope_of
from engram_diagnose.engine.language.problem import did_you_mean
from engram_diagnose.verification.side import Key, Side

_NAMED: Final = re.compile(r"([a-z0-9_.]+)(?:\{([^{}]*)\})?")
_SPACE: Final = "space"


class FigureError(ValueError):
    """A figure that was asked for and cannot be compared; says why, and what is there."""


def parse_figure(text: str, catalogue: Catalogue) -> Key:
    """
    `figure := fact [ "{" label "=" value { "," label "=" value } "}" ]`.

    Raises `FigureError` for anything else, for an unknown fact, and for one that is no figure of its own.
    """
    match = _NAMED.fullmatch(text.strip())
    if match is None:
        raise FigureError(f"{text!r} is no figure; write it like op.latency.p99{{operation=store}}")
    name, labels = match[1], _labels(text, match[2] or "")
    spec = catalogue.facts.get(name)
    if spec is None:
        hint = did_you_mean(name, catalogue.facts) or "docs/reference/facts.md lists them"
        raise FigureError(f"there is no fact {name}; {hint}")
    if spec.kind != "number" or spec.counter or name in catalogue.parameters:
        raise FigureError(f"{name} is no figure that can be compared: it is a setting, a text or a counter")
    for label in labels:
        if label not in spec.scope:
            known = ", ".join(spec.scope) or "none"
            raise FigureError(f"{name} has no label {label}; it has: {known}")
    return Key(name, scope_of(labels))


def _labels(text: str, inside: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in inside.split(",") if pair.strip()]
    if not all(equals and value.strip() for _, equals, value in pairs):
        raise FigureError(f"the labels of {text!r} are written like {{operation=store, space=default}}")
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def named_keys(named: Iterable[Key], before: Side, after: Side) -> list[Key]:
    """
    The keys for figures that were named: the very scope, else every narrower one.

    Raises `FigureError` for a figure that neither side has.
    """
    known = sorted({*before.figures, *after.figures})
    found: list[Key] = []
    for one in named:
        fits = [one] if one in known else [key for key in known if key.on == one.on and one.scope.encloses(key.scope)]
        if not fits:
            raise FigureError(f"neither side has {one}; {_there(one.on, known)}")
        found += fits
    return list(dict.fromkeys(found))


def _there(on: str, known: Sequence[Key]) -> str:
    same = [str(key) for key in known if key.on == on]
    if same:
        return f"there is {', '.join(same[:6])}"
    names = sorted({key.on for key in known})
    return f"known are {', '.join(names[:12])}" if names else "nothing at all is known of them"


def usual_keys(before: Side, after: Side, policy: Policy, facts: Iterable[str], *,
               background: bool = False) -> list[Key]:  # fmt: skip
    """
    The keys of these facts that are compared unless others are named.

    Each memory space by itself where there are a few, all together where there is one or too many; with `background`,
    operations that no client waits for as well.
    """
    found: list[Key] = []
    for on in facts:
        keys = sorted({key for side in (before, after) for key in side.figures if key.on == on})
        found += [key for key in _by_space(keys, policy.places)
                  if background or key.scope.get("operation") not in policy.background]  # fmt: skip
    return found


def _by_space(keys: Sequence[Key], places: int) -> list[Key]:
    spaces = {key.scope.get(_SPACE) for key in keys} - {None}
    split = {_without_space(key) for key in keys if key.scope.get(_SPACE) is not None}
    if 1 < len(spaces) <= places:
        return [key for key in keys if key.scope.get(_SPACE) is not None or key not in split]
    whole = [key for key in keys if key.scope.get(_SPACE) is None]
    return whole + [key for key in keys if key.scope.get(_SPACE) is not None and _without_space(key) not in whole]


def _without_space(key: Key) -> Key:
    return Key(key.on, Scope(tuple(pair for pair in key.scope.labels if pair[0] != _SPACE)))


def key_of(prediction: Prediction, keys: Iterable[Key]) -> Key | None:
    """The figure a prediction speaks of: its scope, else the nearest that encloses it, else the only narrower one."""
    scopes = {key.scope: key for key in keys if key.on == prediction.on}
    for scope in enclosing_scopes(prediction.scope):
        if scope in scopes:
            return scopes[scope]
    narrower = [key for scope, key in scopes.items() if prediction.scope.encloses(scope)]
    return narrower[0] if len(narrower) == 1 else None


def what_counts(on: str, policy: Policy, catalogue: Catalogue) -> Figure:
    """The policy for a figure; for one that it does not list, the usual change and the targets' better way."""
    listed = policy.figure(on)
    if listed is not None:
        return listed
    targets: set[Better] = {target.better for target in catalogue.targets if target.name == on}
    return Figure(on, min(targets, default="lower"), policy.share, 0.0, ratio=True)
