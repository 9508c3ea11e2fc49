"""
The API's schemas, as components of its OpenAPI description: what each body holds, to the last key.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from engram_diagnose.service.forms import AUTHOR, TEXT
from engram_diagnose.service.query import MOST, SEVERITIES
from engram_diagnose.service.representation import NAMES

Json = dict[str, Any]

_DIAGNOSIS: Final = "diagnosis-v1.json"


def schemas() -> Json:
    """Every schema by its name; the parts of a diagnosis have names that begin with `diagnosis.`."""
    return _incidents() | _parts() | _exchanged() | _diagnosis()


def ref(name: str) -> Json:
    """A reference to the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _closed(properties: Json, **more: Any) -> Json:
    """An object whose properties are all there, and no others."""
    return {
        "type": "object",
        "required": [*properties],
        "additionalProperties": False,
        "properties": properties,
        **more,
    }


_INSTANT: Final[Json] = {"type": "string", "format": "date-time"}
_STRING: Final[Json] = {"type": "string"}
_MAYBE: Final[Json] = {"type": ["string", "null"]}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_TEXTS: Final[Json] = {"type": "object", "additionalProperties": {"type": "string"}}
_MAYBE_INSTANT: Final[Json] = {"type": ["string", "null"], "format": "date-time"}


def _incidents() -> Json:
    listed = {
        "id": {"type": "string", "description": "Stable, and safe in a URL."},
        "instance": {"type": "string", "description": "The server, as the alerts call it."},
        "state": {"enum": ["open", "closed"], "description": "Closed once all of its alerts are resolved."},
        "at": {**_INSTANT, "description": "The time that is diagnosed: the start of its first alert."},
        "opened_at": {**_INSTANT, "description": "When its first alert arrived."},
        "closed_at": _MAYBE_INSTANT,
        "alert_names": {"type": "array", "items": _STRING, "maxItems": NAMES, "description": "The first ones of many."},
        "job": {"oneOf": [ref("Job"), {"type": "null"}]},
        "finding": {"oneOf": [ref("Finding"), {"type": "null"}], "description": "Null until it is diagnosed."},
    }
    whole = {
        **listed,
        "key": {"type": "string", "description": "What alerts of one incident share."},
        "alerts": _first("Alert", "By their start; `alerts` below this address has all of them."),
        "alerts_in_all": _COUNT,
        "timeline": _first("Moment", "Oldest first; `timeline` below this address has all of it."),
        "timeline_in_all": _COUNT,
    }
    return {
        "IncidentSummary": _closed(listed),
        "Incident": _closed(whole),
        "IncidentPage": _page("incidents", "IncidentSummary"),
        "AlertPage": _page("alerts", "Alert"),
        "TimelinePage": _page("timeline", "Moment"),
    }


def _first(schema: str, description: str) -> Json:
    """As many as one page may have."""
    return {"type": "array", "items": ref(schema), "maxItems": MOST, "description": description}


def _page(name: str, schema: str) -> Json:
    """A part of a list, and what asks for the next one."""
    cursor = {**_MAYBE, "description": "Asks for the next page; null on the last."}
    return _closed({name: {"type": "array", "items": ref(schema), "maxItems": MOST}, "cursor": cursor})


def _parts() -> Json:
    return {
        "Job": _closed(
            {
                "state": {
                    "enum": ["queued", "running", "done", "parked"],
                    "description": "`parked`: it failed too often and waits for an operator.",
                },
                "attempts": _COUNT,
                "error": {"type": "string", "description": "Of the last attempt that failed; else empty."},
            }
        ),
        "Finding": _closed(
            {
                "made_at": _INSTANT,
                "state": _STRING,
                "severity": {"enum": [*SEVERITIES, None]},
                "sentence": _STRING,
                "rule": {**_MAYBE, "description": "Of the top cause."},
                "title": {**_MAYBE, "description": "Of the top cause."},
                "confidence": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                "action": {**_MAYBE, "description": "What to do first."},
            }
        ),
        "Alert": _closed(
            {
                "name": _STRING,
                "status": {"enum": ["firing", "resolved"]},
                "labels": _TEXTS,
                "annotations": _TEXTS,
                "starts_at": _INSTANT,
                "ends_at": _MAYBE_INSTANT,
                "fingerprint": {"type": "string", "description": "Alertmanager's own."},
            }
        ),
        "Moment": _closed(
            {
                "at": {**_INSTANT, "description": "When it happened."},
                "what": {"enum": ["firing", "opened", "resolved", "diagnosed", "closed"]},
                "received_at": {**_INSTANT, "description": "When it was learnt of."},
                "alert": {**_MAYBE, "description": "Its name."},
                "source": {"enum": ["webhook", "reconciled"], "description": "`reconciled`: found by asking."},
                "times": {"type": "integer", "minimum": 0, "description": "How often it was told."},
                "text": _MAYBE,
            }
        ),
        "Notes": _closed({"notes": {"type": "array", "items": ref("Note")}}),
        "Note": _closed({"id": _COUNT, "at": _INSTANT, "author": _STRING, "text": _STRING}),
    }


def _exchanged() -> Json:
    return {
        "NewNote": {
            "type": "object",
            "required": ["text"],
            "additionalProperties": False,
            "properties": {
                "author": {"type": "string", "maxLength": AUTHOR},
                "text": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": TEXT,
                    "pattern": "[!-~]",
                    "description": "Holds one printing character at least.",
                },
            },
        },
        "Notification": {
            "type": "object",
            "required": ["version", "alerts"],
            "properties": {
                "version": {"const": "4"},
                "receiver": _STRING,
                "groupKey": _STRING,
                "externalURL": _STRING,
                "truncatedAlerts": _COUNT,
                "alerts": {"type": "array", "items": ref("SentAlert")},
            },
        },
        "SentAlert": {
            "type": "object",
            "required": ["status", "labels", "startsAt"],
            "properties": {
                "status": {"enum": ["firing", "resolved"]},
                "labels": _TEXTS,
                "annotations": _TEXTS,
                "startsAt": _INSTANT,
                "endsAt": {**_INSTANT, "description": "0001-01-01T00:00:00Z while it fires."},
                "generatorURL": {"type": "string", "description": "Kept, and never fetched."},
                "fingerprint": _STRING,
            },
        },
        "Accepted": {
            "type": "object",
            "required": ["incidents", "new", "duplicates"],
            "properties": {
                "incidents": {"type": "array", "items": _STRING},
                "new": _COUNT,
                "duplicates": _COUNT,
                "ignored": _COUNT,
                "malformed": {**_COUNT, "description": "Alerts that were left out, if there were any."},
                "problems": {
                    "type": "array",
                    "items": _STRING,
                    "description": "What is wrong with the first of them, and where.",
                },
            },
        },
        "Problem": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string", "format": "uri-reference"},
                "title": _STRING,
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {"type": "string", "description": "What is wrong, and what to do."},
            },
        },
    }


@lru_cache(maxsize=1)
def _diagnosis() -> Json:
    """The published schema of a diagnosis, its parts as components beside the others."""
    path = resources.files("engram_diagnose").joinpath("rules", "schema", _DIAGNOSIS)
    text = path.read_text(encoding="utf-8").replace('"#/$defs/', '"#/components/schemas/diagnosis.')
    schema = json.loads(text)
    parts = schema.pop("$defs")
    whole = {key: value for key, value in schema.items() if key not in ("$schema", "$id")}
    return {"Diagnosis": whole, **{f"diagnosis.{name}": part for name, part in parts.items()}}
