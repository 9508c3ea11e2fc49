"""
What a host attained in words: what every format shows of a record, in the order in which it is read.

Formats lay this out and escape it, so that they cannot differ in what they say. Every text in it has been through
`neutral.clean`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from engram_diagnose.attaining.record import GATE
from engram_diagnose.attaining.standing import Attained, Standing
from engram_diagnose.kernels.measure.suite import PARTS
from engram_diagnose.render.meanings import meaning
from engram_diagnose.render.measured import figure
from engram_diagnose.render.neutral import clean, visible

Json = Mapping[str, Any]

_ABOUT: Final = {GATE: "whether others used the host meanwhile", **{part.name: part.about for part in PARTS}}
SAYS: Final = "spread: from the first quartile of the repeats to the third, as a share of the median"
_NAMED: Final = 3
"""Rows that a note names before it says how many more it is of."""
_SHOWN_AS_COLUMN: Final = "threads"


class Row(NamedTuple):
    """A figure: of what, how much, how far its quartiles lie apart, on how many threads, and how far to trust it."""

    what: str
    figure: str
    spread: str
    threads: str
    doubt: str


class Missing(NamedTuple):
    """What was not measured."""

    what: str
    reason: str
    get_by: str


class PartView(NamedTuple):
    """A part of the suite: what it measures, when it did and until when that holds, its figures and what they mean."""

    name: str
    about: str
    when: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    missing: tuple[Missing, ...]
    meaning: str

    @property
    def doubtful(self) -> int:
        """How many of its figures are not stable."""
        return sum(bool(row.doubt) for row in self.rows)


class FactView(NamedTuple):
    """A fact that diagnoses take from it; `figure` is empty where it is unknown, and `note` then says why."""

    name: str
    figure: str
    until: str
    note: str


class View(NamedTuple):
    """All that is said of a record, and the record itself, its texts made harmless, to draw from."""

    record: Json
    host: str
    facts: tuple[FactView, ...]
    parts: tuple[PartView, ...]


def view(attained: Attained) -> View:
    """The record in words, as of the instant it was asked for."""
    record = clean(attained.record)
    facts = [_fact(one) for one in attained.facts]
    return View(record, _host(record), tuple(facts), tuple(_part(part, attained.at) for part in record["parts"]))


def day(seconds: float) -> str:
    """`2026-12-22`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def labelled(name: str, labels: Mapping[str, str]) -> str:
    """`read, level L1`: a measurement's name without its part, and its labels."""
    told = [f"{label} {value}" for label, value in labels.items() if label != _SHOWN_AS_COLUMN]
    return ", ".join([name.partition(".")[2].replace("_", " ") or name, *told])


# What was measured


def _host(record: Json) -> str:
    of: Json = next((part["of"] for part in reversed(record["parts"]) if part["of"]), {})
    cpus = of.get("cpus")
    told = [of.get("cpu"), f"{cpus} CPU{'' if cpus == 1 else 's'}" if cpus else "",
            f"Linux {of['kernel']}" if of.get("kernel") else ""]  # fmt: skip
    return ", ".join(filter(None, told)) or f"host {record['host']}"


def _fact(one: Standing) -> FactView:
    known = "" if one.value is None else figure(one.value, one.unit)
    return FactView(one.name, known, day(one.until) if one.until else "", visible(one.note))


def _part(part: Json, at: float) -> PartView:
    measurements = part["measurements"]
    return PartView(
        part["name"],
        _ABOUT.get(part["name"], ""),
        _when(part, at),
        tuple(map(_row, measurements)),
        tuple(_notes(measurements)),
        tuple(_missing(part)),
        meaning(part),
    )


def _when(part: Json, at: float) -> str:
    measured = datetime.fromtimestamp(part["measured_at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    took = f" in {part['seconds']:.1f} s" if part["seconds"] else ""
    holds = f"holds until {day(part['expires_at'])}"
    if at > part["expires_at"]:
        holds = f"out of date since {day(part['expires_at'])}: measure again"
    return f"measured {measured}{took}; {holds}"


def _row(one: Json) -> Row:
    doubt = "" if one["stability"] == "stable" else one["stability"]
    return Row(_what(one), figure(one["median"], one["unit"]), _spread(one), str(one["threads"]), doubt)


def _what(one: Json) -> str:
    return labelled(one["name"], one["labels"])


def _spread(one: Json) -> str:
    if one["repeats"] < 2:
        return "–"
    apart = one["upper"] - one["lower"]
    return f"{100 * apart / abs(one['median']):.1f} %" if one["median"] else "0 %" if not apart else "–"


def _notes(measurements: Iterable[Json]) -> Iterable[str]:
    """Each note once, with what it is of, unless it is of everything."""
    listed = list(measurements)
    of: dict[str, list[Json]] = {}
    for one in listed:
        for note in dict.fromkeys(one["notes"]):
            of.setdefault(note, []).append(one)
    for note, noted in of.items():
        yield note if len(noted) == len(listed) else f"{_together(_shortest(noted, listed))}: {note}"


def _shortest(noted: Iterable[Json], listed: Iterable[Json]) -> Iterable[str]:
    """What these are, without their labels where all of the name are among them."""
    every, some = Counter(one["name"] for one in listed), list(noted)
    found = Counter(one["name"] for one in some)
    for one in some:
        yield labelled(one["name"], {}) if found[one["name"]] == every[one["name"]] else _what(one)


def _missing(part: Json) -> Iterable[Missing]:
    """What was not measured, those of one reason together."""
    of: dict[tuple[str, str], list[str]] = {}
    for one in part["unmeasured"]:
        what = _what(one) if "." in one["name"] else "all of it"
        of.setdefault((one["reason"], one["get_by"]), []).append(what)
    for (reason, get_by), names in of.items():
        yield Missing(_together(names), reason, get_by)


def _together(names: Iterable[str]) -> str:
    """The first of these names; commas are within them."""
    listed = list(dict.fromkeys(names))
    more = len(listed) - _NAMED
    return "; ".join(listed if more <= 0 else [*listed[:_NAMED], f"{more} more"])
