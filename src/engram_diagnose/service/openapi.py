"""
The API's description, OpenAPI 3.1, written by hand: what may be sent, and everything that may come back.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from engram_diagnose import __version__
from engram_diagnose.service.forms import AUTHOR, TEXT
from engram_diagnose.service.query import LIMIT, LONGEST, MOST, PLACE, SEVERITIES, STATES
from engram_diagnose.service.representation import NAMES

Json = dict[str, Any]

_DIAGNOSIS: Final = "diagnosis-v1.json"
_REFUSED: Final = {
    "401": "No valid bearer token or login.",
    "403": "Sent by a browser on behalf of another site's page.",
    "421": "Sent to a name that this service does not have.",
}
"""What is answered before a request reaches the API."""


def openapi(server: str) -> Json:
    """The description, for a service whose links start with `server`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "engram-diagnose",
            "version": __version__,
            "summary": "Incidents, their diagnoses and their evidence.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "security": [{}, {"bearer": []}, {"basic": []}],
        "tags": [
            {"name": "incidents", "description": "What was diagnosed."},
            {"name": "alerts", "description": "What Alertmanager sends."},
        ],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
            "schemas": _schemas() | _diagnosis(),
        },
    }


_ABOUT: Final = (
    "Times are ISO 8601 in UTC. `cursor` of one page asks for the next. An incident has one "
    "diagnosis, which never changes: its document and its bundle carry an ETag and may be cached for good. Errors are "
    "problem details (RFC 9457)."
)


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


# Paths


def _paths() -> Json:
    one = "/api/v1/incidents/{id}"
    return {
        "/api/v1/alerts": {"post": _webhook()},
        "/api/v1/incidents": {"get": _search()},
        one: {"parameters": [_ID], "get": _incident()},
        f"{one}/alerts": {"parameters": [_ID], "get": _part("alerts", "Its alerts, by their start", "AlertPage")},
        f"{one}/timeline": {
            "parameters": [_ID],
            "get": _part("timeline", "What happened, oldest first", "TimelinePage"),
        },
        f"{one}/document": {"parameters": [_ID, *_CONDITIONS], "get": _document()},
        f"{one}/bundle": {"parameters": [_ID, *_CONDITIONS], "get": _bundle()},
        f"{one}/notes": {"parameters": [_ID], "get": _notes(), "post": _add_note()},
        f"{one}/retry": {"parameters": [_ID], "post": _retry()},
        "/api/v1/openapi.json": {
            "get": _operation(
                "description",
                "This description",
                {"200": _json("OpenAPI 3.1.", {"type": "object", "required": ["openapi", "info", "paths"]})},
                "503",
                tag="incidents",
            )
        },
    }


_ID: Final[Json] = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The incident's id.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
_CONDITIONS: Final[list[Json]] = [
    {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
    for name, text in (
        ("If-None-Match", "The ETag of the copy that the caller has."),
        ("If-Modified-Since", "The Last-Modified of the copy that the caller has."),
    )
]


def _operation(id: str, summary: str, answers: Json, *errors: str, tag: str = "incidents", **more: Any) -> Json:
    words = {
        "400": "A parameter or the body is wrong; `detail` says which and why.",
        "404": "There is no such incident; for a document or a bundle also: it has no diagnosis yet.",
        "409": "Not as things are: the diagnosis is not parked, or no more notes are kept; `detail` says which.",
        "413": "The body is too large.",
        "415": "The body has another media type, or a Content-Encoding.",
        "503": "The database cannot be used now; try again later.",
    }
    told = {status: _problem(words[status]) for status in errors}
    refused = {status: _problem(text) for status, text in _REFUSED.items()}
    responses = dict(sorted((answers | told | refused).items()))
    return {"operationId": id, "summary": summary, "tags": [tag], **more, "responses": responses}


def _problem(description: str) -> Json:
    return {"description": description, "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _json(description: str, schema: Json, headers: Json | None = None) -> Json:
    found: Json = {"description": description, "content": {"application/json": {"schema": schema}}}
    return found | ({"headers": headers} if headers else {})


def _webhook() -> Json:
    body = {"description": "Version 4 of Alertmanager's webhook. Unknown fields are ignored.", "required": True,
            "content": {"application/json": {"schema": _ref("Notification")}}}  # fmt: skip
    answers = {"202": _json("The alerts are on the disk.", _ref("Accepted"))}
    return _operation(
        "accept", "Take alerts", answers, "400", "413", "415", "503", tag="alerts", requestBody=body,
        description="Answered once the alerts are on the disk; until then Alertmanager sends them again. A malformed "
        "alert is left out and said; where all are, the answer is 400.",
    )  # fmt: skip


def _search() -> Json:
    answers = {"200": _json("One page.", _ref("IncidentPage"))}
    return _operation(
        "search", "Incidents, newest first", answers, "400", "503", parameters=[_parameter(*one) for one in _ASKED]
    )


_WORDS: Final[Json] = {"type": "string", "minLength": 1, "maxLength": LONGEST}
_TIME: Final[Json] = {"type": "string", "format": "date-time"}
_ASKED: Final[tuple[tuple[str, str, Json], ...]] = (
    ("text", "Occurs in the instance, the alerts or the finding, whatever the case.", _WORDS),
    ("state", "The state of the incident, or of the job that diagnoses it.", {"type": "string", "enum": [*STATES]}),
    ("severity", "The severity that was found.", {"type": "string", "enum": [*SEVERITIES]}),
    ("instance", "The instance, exactly.", _WORDS),
    ("since", "No earlier than this.", _TIME),
    ("until", "Earlier than this.", _TIME),
    ("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT}),
    ("cursor", "Of the page before.", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}),
)


def _parameter(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _part(id: str, summary: str, schema: str) -> Json:
    cursor = ("cursor", "Of the page before.", {"type": "string", "pattern": f"^{PLACE}$"})
    asked = [_parameter(*one) for one in (*(one for one in _ASKED if one[0] == "limit"), cursor)]
    return _operation(id, summary, {"200": _json("One page.", _ref(schema))}, "400", "404", "503", parameters=asked)


def _incident() -> Json:
    return _operation("incident", "One incident", {"200": _json("The incident.", _ref("Incident"))}, "404", "503")


_LASTING: Final[Json] = {
    "ETag": {"description": "Of this body.", "required": True, "schema": {"type": "string"}},
    "Last-Modified": {"description": "When it was made.", "required": True, "schema": {"type": "string"}},
}
_SAME: Final[Json] = {"304": {"description": "The caller's copy is the one there is.", "headers": _LASTING}}


def _document() -> Json:
    answers = _SAME | {"200": _json("The diagnosis.", _ref("Diagnosis"), _LASTING)}
    return _operation("document", "The diagnosis, whole", answers, "404", "503")


def _bundle() -> Json:
    whole = {
        "description": "The evidence as it was: gzip of JSON lines.",
        "headers": _LASTING,
        "content": {"application/gzip": {"schema": {"type": "string", "contentMediaType": "application/gzip"}}},
    }
    return _operation("bundle", "The evidence", _SAME | {"200": whole}, "404", "503")


def _notes() -> Json:
    return _operation("notes", "Its notes, oldest first", {"200": _json("The notes.", _ref("Notes"))}, "404", "503")


def _add_note() -> Json:
    body = {"required": True, "content": {"application/json": {"schema": _ref("NewNote")}}}
    where = {"Location": {"description": "The notes.", "required": True, "schema": {"type": "string"}}}
    answers = {"201": _json("The note as it was kept.", _ref("Note"), where)}
    return _operation("addNote", "Write a note", answers, "400", "404", "409", "413", "415", "503", requestBody=body)


def _retry() -> Json:
    answers = {"202": _json("It is tried again, at once and with no attempt counted.", _ref("Job"))}
    return _operation("retry", "Try a parked diagnosis again", answers, "404", "409", "413", "415", "503")


# Schemas


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


def _schemas() -> Json:
    listed = {
        "id": {"type": "string", "description": "Stable, and safe in a URL."},
        "instance": {"type": "string", "description": "The server, as the alerts call it."},
        "state": {"enum": ["open", "closed"], "description": "Closed once all of its alerts are resolved."},
        "at": {**_INSTANT, "description": "The time that is diagnosed: the start of its first alert."},
        "opened_at": {**_INSTANT, "description": "When its first alert arrived."},
        "closed_at": _MAYBE_INSTANT,
        "alert_names": {"type": "array", "items": _STRING, "maxItems": NAMES, "description": "The first ones of many."},
        "job": {"oneOf": [_ref("Job"), {"type": "null"}]},
        "finding": {"oneOf": [_ref("Finding"), {"type": "null"}], "description": "Null until it is diagnosed."},
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
        **_parts(),
        **_exchanged(),
    }


def _first(schema: str, description: str) -> Json:
    """As many as one page may have."""
    return {"type": "array", "items": _ref(schema), "maxItems": MOST, "description": description}


def _page(name: str, schema: str) -> Json:
    """A part of a list, and what asks for the next one."""
    cursor = {**_MAYBE, "description": "Asks for the next page; null on the last."}
    return _closed({name: {"type": "array", "items": _ref(schema), "maxItems": MOST}, "cursor": cursor})


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
        "Notes": _closed({"notes": {"type": "array", "items": _ref("Note")}}),
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
                "alerts": {"type": "array", "items": _ref("SentAlert")},
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
