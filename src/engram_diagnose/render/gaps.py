"""
What could not be tested, and the one step that would tell most.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from engram_diagnose.render.causes import missing_why
from engram_diagnose.render.figures import titled

Json = Mapping[str, Any]

_CLAUSE: Final = re.compile(r"[;,(]| of the | or ")

_DECIDED: Final = (
    "symptoms", "symptoms_met", "causes", "experimental", "masked", "suppressed", "ruled_out", "not_applicable",
)  # fmt: skip
"""Where the document lists rules that were decided, in some scope at least."""


class Gap(NamedTuple):
    """A rule that could not be decided, with the facts it lacks, why they are missing and how to get them."""

    title: str
    rule: str
    missing: tuple[tuple[str, str, str], ...]


class Gaps(NamedTuple):
    """`coverage` and `targets` in a sentence each; `step` is what to do next and `reach` what it bears on."""

    coverage: str
    targets: str
    step: str
    reach: str
    causes: tuple[Gap, ...]
    symptoms: tuple[Gap, ...]

    @property
    def any(self) -> bool:
        """Whether anything was left untested."""
        return bool(self.causes or self.symptoms)


def gaps_view(document: Json) -> Gaps:
    """
    What could not be tested.

    The next step is the one that bears on most: on symptoms while it is open whether a target is missed, on causes once
    one is.
    """
    coverage = document["coverage"]
    open_ = document["verdict"]["state"] in ("untested", "partly-tested")
    untested, noun = (document["symptoms_not_tested"], "symptoms") if open_ else (document["not_testable"], "causes")
    decided = {item["rule"] for key in _DECIDED for item in document[key]}
    step, bearing, rules = next_step([item for item in untested if item["rule"] not in decided])
    return Gaps(
        coverage=coverage["sentence"],
        targets=f"{coverage['targets_tested']} of {coverage['targets']} targets could be tested",
        step=step,
        reach=f"bears on {bearing} of the {rules} {noun} that could not be tested" if step else "",
        causes=tuple(map(_gap, document["not_testable"])),
        symptoms=tuple(map(_gap, document["symptoms_not_tested"])),
    )


def next_step(untested: Sequence[Json]) -> tuple[str, int, int]:
    """The way to get facts that most rules wait for, for how many rules that is, and of how many."""
    waiting: dict[str, set[str]] = {}
    texts: dict[str, set[str]] = {}
    for item in untested:
        for how in (missing["get_by"] for missing in item["missing"] if missing["get_by"]):
            kind = _CLAUSE.split(how)[0].strip()
            waiting.setdefault(kind, set()).add(item["rule"])
            texts.setdefault(kind, set()).add(how)
    if not waiting:
        return "", 0, 0
    kind = min(waiting, key=lambda name: (-len(waiting[name]), name))
    text = next(iter(texts[kind])) if len(texts[kind]) == 1 else kind
    return text, len(waiting[kind]), len({item["rule"] for item in untested})


def _gap(item: Json) -> Gap:
    return Gap(titled(item), item["rule"], tuple(_missing(item["missing"])))


def _missing(missing: Iterable[Json]) -> Iterable[tuple[str, str, str]]:
    for item in missing:
        yield item["fact"], missing_why(item), item["get_by"]
