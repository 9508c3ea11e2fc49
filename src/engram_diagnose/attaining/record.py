"""
The record of what a host attained: one JSON file for each host in the state folder, read by every later diagnosis.

A run of some kernels takes the place of theirs alone, so that each has its own time and expiry.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engram_diagnose.collectors.capture.attained import record_path
from engram_diagnose.collectors.parse.attained import SCHEMA
from engram_diagnose.collectors.whole_file import write_whole
from engram_diagnose.kernels.measure.measurement import Measurement, Unmeasured
from engram_diagnose.state import StateError, make_folder, state_folder

if TYPE_CHECKING:
    from engram_diagnose.kernels.measure.suite import Done

Json = dict[str, Any]

_LONGEST: Final = 160
"""Characters of a message that quotes the file."""

GATE: Final = "noise"
"""What the gate measured stands in the record like a part."""


class NoRecordError(ValueError):
    """Nobody has measured this host; says what to do."""


def part_entry(done: "Done", *, of: Mapping[str, Any], measured_at: float, holds_for: float) -> Json:
    """A part as it stands in the record; `of` is what it was measured on, `holds_for` seconds until it expires."""
    return {
        "name": done.part,
        "measured_at": measured_at,
        "expires_at": measured_at + holds_for,
        "seconds": done.seconds,
        "of": dict(of),
        "measurements": [_measurement(one) for one in done.measurements],
        "unmeasured": [_unmeasured(one) for one in done.unmeasured],
    }


def record_of(host: str, parts: Iterable[Json], earlier: Json | None = None) -> Json:
    """The record with these parts, and of an earlier one those that were not measured anew."""
    found = {part["name"]: part for part in (earlier or {}).get("parts", ())}
    found |= {part["name"]: part for part in parts}
    return {"schema": SCHEMA, "host": host, "parts": list(found.values())}


def chosen(record: Json, names: Collection[str]) -> Json:
    """The record with these parts alone, and what the gate saw; whole where none is named."""
    kept = [part for part in record["parts"] if not names or part["name"] in (*names, GATE)]
    return {**record, "parts": kept}


def measured(record: Json) -> bool:
    """Whether the record has a figure of any part."""
    return any(part["measurements"] for part in record["parts"] if part["name"] != GATE)


def kept_record(host: str) -> Json:
    """As `read_record`, where one is needed; raises `NoRecordError` as well."""
    record = read_record(host)
    if record is None:
        raise NoRecordError("nobody has measured this host yet; run `engram-diagnose kernels` while it is idle")
    return record


def read_record(host: str) -> Json | None:
    """
    The record of a host, None where there is none.

    Raises `StateError` for one that cannot be read: it was written by something else, or is damaged.
    """
    path = _path(host)
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_figure)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise StateError(f"cannot read {path}: {error}; remove it, and measure again") from None
    if problem := _problem(document):
        raise StateError(f"{path} is no record of what a host attained: {problem}; remove it, and measure again")
    found: Json = document
    return found


def _no_figure(word: str) -> float:
    raise ValueError(f"{word} is no figure")


def _problem(document: Any) -> str:
    """What is wrong with a record by its schema, the first of it; empty when nothing is."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = json.loads((Path(__file__).parent.parent / "rules" / "schema" / "attained-v1.json").read_bytes())
    error = best_match(Draft202012Validator(schema).iter_errors(document))
    return _shortened(f"{error.json_path}: {error.message}") if error is not None else ""


def _shortened(message: str) -> str:
    """What a message says in a line that can be printed: it holds what the file holds."""
    line = "".join(character if character.isprintable() else "?" for character in message)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def write_record(record: Json) -> Path:
    """Keep a record, whole or not at all; raises `StateError`."""
    path = _path(record["host"])
    make_folder(path.parent)
    try:
        write_whole(path, json.dumps(record, indent=1, sort_keys=True).encode() + b"\n")
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror or error}; the figures were not kept") from None
    return path


def _path(host: str) -> Path:
    return Path(record_path(str(state_folder(make=False)), host))


def _measurement(one: Measurement) -> Json:
    low, high = one.quartiles
    return {
        "name": one.name,
        "unit": one.unit,
        "labels": dict(one.labels),
        "threads": one.threads,
        "better": one.better,
        "median": one.median,
        "lower": low,
        "upper": high,
        "attained": one.attained,
        "repeats": len(one.values),
        "switches": one.switches,
        "steal": one.steal,
        "stability": one.stability,
        "notes": list(one.notes),
    }


def _unmeasured(one: Unmeasured) -> Json:
    return {"name": one.name, "labels": dict(one.labels), "reason": one.reason, "get_by": one.get_by}
