"""
The JSON API: incidents, their diagnoses, their evidence and their notes. `openapi.py` describes it.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from engram_diagnose.history.incidents import IncidentStore, Mark, Page, TooManyNotesError
from engram_diagnose.history.model import Job
from engram_diagnose.service.caching import unchanging
from engram_diagnose.service.forms import FormError, note_of
from engram_diagnose.service.openapi import openapi
from engram_diagnose.service.problem import ProblemError, json_response, problem
from engram_diagnose.service.query import MOST, cursor_of, part_of, search_of
from engram_diagnose.service.representation import alert_of, happened, job_of, note, summary, whole
from engram_diagnose.service.resource import EVERY, Resource, body_of
from engram_diagnose.service.services import Services

BASE: Final = "/api/v1"


def api_routes(services: Services) -> list[BaseRoute]:
    """The routes of the API. What stands below it and is nothing answers 404 as problem+json, too."""
    api = _Api(services)
    one = f"{BASE}/incidents/{{id}}"
    return [
        api.route(f"{BASE}/incidents", GET=api.incidents),
        api.route(one, GET=api.incident),
        api.route(f"{one}/alerts", GET=api.alerts),
        api.route(f"{one}/timeline", GET=api.timeline),
        api.route(f"{one}/document", GET=api.document),
        api.route(f"{one}/bundle", GET=api.bundle),
        api.route(f"{one}/notes", GET=api.notes, POST=api.add_note),
        api.route(f"{one}/retry", POST=api.retry),
        api.route(f"{BASE}/openapi.json", GET=api.description),
        api.route("/api/{rest:path}", **EVERY),
    ]


class _Api:
    def __init__(self, services: Services) -> None:
        self._services = services

    def route(self, path: str, **handlers: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(path, Resource(handlers, lambda request, error: problem(error), self._failed))

    def _failed(self, path: str, error: str) -> None:
        self._services.log.error("request failed", path=path, error=error)

    async def incidents(self, request: Request) -> Response:
        search = search_of(request.query_params.multi_items())
        return await self._services.ask(lambda store: _page(store.search(search)))

    async def incident(self, request: Request) -> Response:
        id = _id(request)
        return await self._services.ask(lambda store: _incident(store, id))

    async def alerts(self, request: Request) -> Response:
        id, (limit, after) = _id(request), part_of(request.query_params.multi_items())
        return await self._services.ask(lambda store: _alerts(store, id, limit, after))

    async def timeline(self, request: Request) -> Response:
        id, (limit, after) = _id(request), part_of(request.query_params.multi_items())
        return await self._services.ask(lambda store: _timeline(store, id, limit, after))

    async def document(self, request: Request) -> Response:
        return await self._services.ask(lambda store: _document(store, request))

    async def bundle(self, request: Request) -> Response:
        return await self._services.ask(lambda store: _bundle(store, request))

    async def notes(self, request: Request) -> Response:
        id = _id(request)
        return await self._services.ask(lambda store: _notes(store, id))

    async def add_note(self, request: Request) -> Response:
        id = _id(request)
        author, text = await _note(request)
        now = self._services.clock()
        try:
            kept = _there(await self._services.ask(lambda store: store.add_note(id, author, text, now)))
        except TooManyNotesError as error:
            raise ProblemError(409, str(error), _FRESH) from None
        self._services.log.info("note written", incident=id, note=kept.id)
        where = f"{self._services.settings.base_path}{BASE}/incidents/{quote(id, safe='')}/notes"
        return json_response(note(kept), 201, {"Location": where})

    async def retry(self, request: Request) -> Response:
        id = _id(request)
        job = await self._services.ask(lambda store: _released(store, id))
        self._services.supervisor.wake()
        self._services.log.info("diagnosis released", incident=id)
        return json_response(job_of(job), 202, _FRESH)

    async def description(self, request: Request) -> Response:
        return json_response(openapi(self._services.settings.base_url))


# Each answer is made in the thread that reads the database: a large one takes a while.


def _page(page: Page) -> Response:
    listed = [summary(one) for one in page.items]
    return json_response({"incidents": listed, "cursor": page.cursor or None}, headers=_FRESH)


def _incident(store: IncidentStore, id: str) -> Response:
    found = _there(store.outline(id))
    alerts, _ = store.alerts_part(id, MOST)
    moments, _ = store.timeline_part(id, MOST)
    return json_response(whole(found, store.finding(id), store.job(id), alerts, moments), headers=_FRESH)


def _alerts(store: IncidentStore, id: str, limit: int, after: Mark | None) -> Response:
    _there(store.job(id))
    alerts, more = store.alerts_part(id, limit, after)
    return json_response({"alerts": [alert_of(one) for one in alerts], "cursor": cursor_of(more)}, headers=_FRESH)


def _timeline(store: IncidentStore, id: str, limit: int, after: Mark | None) -> Response:
    _there(store.job(id))
    moments, more = store.timeline_part(id, limit, after)
    return json_response({"timeline": [happened(one) for one in moments], "cursor": cursor_of(more)}, headers=_FRESH)


def _document(store: IncidentStore, request: Request) -> Response:
    id = _id(request)
    document, finding = store.document(id), store.finding(id)
    if document is None or finding is None:
        raise _not_yet(store, id)
    body = (json.dumps(document, indent=2) + "\n").encode()
    return unchanging(request, body, finding.made_at, "application/json")


def _bundle(store: IncidentStore, request: Request) -> Response:
    id = _id(request)
    bundle, finding = store.bundle(id), store.finding(id)
    if bundle is None or finding is None:
        raise _not_yet(store, id)
    return unchanging(request, bundle, finding.made_at, "application/gzip", download=f"{id}.bundle")


def _notes(store: IncidentStore, id: str) -> Response:
    _there(store.job(id))
    return json_response({"notes": [note(one) for one in store.notes(id)]}, headers=_FRESH)


def _released(store: IncidentStore, id: str) -> Job:
    released = store.release(id)
    job: Job = _there(store.job(id))
    if not released:
        raise ProblemError(409, f"this diagnosis is {job.state}; only one that is parked can be tried again", _FRESH)
    return job


def _not_yet(store: IncidentStore, id: str) -> ProblemError:
    job = store.job(id)
    if job is None:
        return _missing()
    return ProblemError(404, f"this incident has no diagnosis yet; it is {job.state}", _FRESH)


_FRESH: Final = {"Cache-Control": "no-store"}


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _there(found: Any) -> Any:
    if found is None:
        raise _missing()
    return found


def _missing() -> ProblemError:
    return ProblemError(404, "there is no such incident; it may have been deleted when it grew old")


async def _note(request: Request) -> tuple[str, str]:
    """Author and text of a note sent as JSON; a browser's form cannot send that from another site."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ProblemError(415, "send the note as application/json")
    try:
        given = json.loads(await body_of(request))
    except (ValueError, RecursionError):
        raise ProblemError(400, "the body is no JSON") from None
    if not isinstance(given, dict) or set(given) - {"author", "text"} or "text" not in given:
        raise ProblemError(400, 'send an object with "text" and, if you like, "author"')
    author, text = given.get("author", ""), given["text"]
    if not isinstance(author, str) or not isinstance(text, str):
        raise ProblemError(400, "author and text are strings")
    try:
        return note_of(author, text)
    except FormError as error:
        raise ProblemError(400, str(error)) from None
