"""
The API's description, OpenAPI 3.1, written by hand: what may be sent where, and everything that may come back.

What bodies hold is said in `service.openapi_schemas`.
"""

from typing import Any, Final

from engram_diagnose import __version__
from engram_diagnose.service.openapi_schemas import Json, ref, schemas
from engram_diagnose.service.query import LIMIT, LONGEST, MOST, PLACE, SEVERITIES, STATES

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
            "schemas": schemas(),
        },
    }


_ABOUT: Final = (
    "Times are ISO 8601 in UTC. `cursor` of one page asks for the next. An incident has one "
    "diagnosis, which never changes: its document and its bundle carry an ETag and may be cached for good. Errors are "
    "problem details (RFC 9457)."
)


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
    return {"description": description, "content": {"application/problem+json": {"schema": ref("Problem")}}}


def _json(description: str, schema: Json, headers: Json | None = None) -> Json:
    found: Json = {"description": description, "content": {"application/json": {"schema": schema}}}
    return found | ({"headers": headers} if headers else {})


def _webhook() -> Json:
    body = {"description": "Version 4 of Alertmanager's webhook. Unknown fields are ignored.", "required": True,
            "content": {"application/json": {"schema": ref("Notification")}}}  # fmt: skip
    answers = {"202": _json("The alerts are on the disk.", ref("Accepted"))}
    return _operation(
        "accept", "Take alerts", answers, "400", "413", "415", "503", tag="alerts", requestBody=body,
        description="Answered once the alerts are on the disk; until then Alertmanager sends them again. A malformed "
        "alert is left out and said; where all are, the answer is 400.",
    )  # fmt: skip


def _search() -> Json:
    answers = {"200": _json("One page.", ref("IncidentPage"))}
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
    return _operation(id, summary, {"200": _json("One page.", ref(schema))}, "400", "404", "503", parameters=asked)


def _incident() -> Json:
    return _operation("incident", "One incident", {"200": _json("The incident.", ref("Incident"))}, "404", "503")


_LASTING: Final[Json] = {
    "ETag": {"description": "Of this body.", "required": True, "schema": {"type": "string"}},
    "Last-Modified": {"description": "When it was made.", "required": True, "schema": {"type": "string"}},
}
_SAME: Final[Json] = {"304": {"description": "The caller's copy is the one there is.", "headers": _LASTING}}


def _document() -> Json:
    answers = _SAME | {"200": _json("The diagnosis.", ref("Diagnosis"), _LASTING)}
    return _operation("document", "The diagnosis, whole", answers, "404", "503")


def _bundle() -> Json:
    whole = {
        "description": "The evidence as it was: gzip of JSON lines.",
        "headers": _LASTING,
        "content": {"application/gzip": {"schema": {"type": "string", "contentMediaType": "application/gzip"}}},
    }
    return _operation("bundle", "The evidence", _SAME | {"200": whole}, "404", "503")


def _notes() -> Json:
    return _operation("notes", "Its notes, oldest first", {"200": _json("The notes.", ref("Notes"))}, "404", "503")


def _add_note() -> Json:
    body = {"required": True, "content": {"application/json": {"schema": ref("NewNote")}}}
    where = {"Location": {"description": "The notes.", "required": True, "schema": {"type": "string"}}}
    answers = {"201": _json("The note as it was kept.", ref("Note"), where)}
    return _operation("addNote", "Write a note", answers, "400", "404", "409", "413", "415", "503", requestBody=body)


def _retry() -> Json:
    answers = {"202": _json("It is tried again, at once and with no attempt counted.", ref("Job"))}
    return _operation("retry", "Try a parked diagnosis again", answers, "404", "409", "413", "415", "503")
