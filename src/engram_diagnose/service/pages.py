"""
The pages: the list of incidents, one incident, and what is said when there is nothing.

No page needs a script. Forms carry a token; everything that comes from outside is escaped where it is put out.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from engram_diagnose.history.incidents import IncidentStore, TooManyNotesError
from engram_diagnose.history.model import Alert, Finding, Job
from engram_diagnose.history.records import Moment, Note, Outline, Search
from engram_diagnose.render.first_steps import first_steps
from engram_diagnose.render.html import render_html, style_source, stylesheet, template
from engram_diagnose.render.neutral import visible
from engram_diagnose.render.view import report
from engram_diagnose.service import sight
from engram_diagnose.service.caching import unchanging
from engram_diagnose.service.forms import (
    AUTHOR,
    COOKIE,
    TEXT,
    FormError,
    NoteForm,
    Tokens,
    note_of,
    parse_form,
)
from engram_diagnose.service.problem import ProblemError
from engram_diagnose.service.query import SEVERITIES, STATES, lenient, search_of
from engram_diagnose.service.resource import EVERY, Resource, body_of
from engram_diagnose.service.services import Services

_SHOWN: Final = 200
"""Alerts, and lines of the timeline, that a page holds; the JSON has all of them."""
_ROWS: Final = 25
_STYLE: Final = "/static/engram-diagnose.css"
_HTML: Final = "text/html; charset=utf-8"
_REPORT_POLICY: Final = (
    "default-src 'none'; style-src {}; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_GONE: Final = "There is no such incident. It may have been deleted when it grew old."
_STALE_BUTTON: Final = "This page was out of date, so nothing was done. It is as it is now: press the button again."
_STALE: Final = "This form is out of date, so nothing was kept. What you wrote is still here: send it again."


def page_routes(services: Services) -> list[BaseRoute]:
    """The routes of the pages. The last answers whatever no other route does, so these come last."""
    pages = _Pages(services)
    one = "/incidents/{id}"
    return [
        pages.route("/", GET=pages.incidents),
        pages.route("/incidents", GET=pages.incidents),
        pages.route(one, GET=pages.incident),
        pages.route(f"{one}/report.html", GET=pages.report),
        pages.route(f"{one}/notes", POST=pages.add_note),
        pages.route(f"{one}/retry", POST=pages.retry),
        pages.route(_STYLE, GET=pages.style),
        pages.route("/{rest:path}", **EVERY),
    ]


class _Kept(NamedTuple):
    """What a page shows of one incident."""

    outline: Outline
    alerts: list[Alert]
    job: Job | None
    finding: Finding | None
    document: dict[str, Any] | None
    timeline: list[Moment]
    notes: tuple[Note, ...]


def _kept(store: IncidentStore, id: str) -> _Kept:
    found = store.outline(id)
    if found is None:
        raise ProblemError(404, _GONE)
    alerts, _ = store.alerts_part(id, _SHOWN)
    timeline, _ = store.timeline_part(id, _SHOWN)
    return _Kept(found, alerts, store.job(id), store.finding(id), store.document(id), timeline, store.notes(id))


class _Pages:
    """What takes long, which is reading and laying out, happens in the threads that read the database."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tokens = Tokens()

    def route(self, path: str, **handlers: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(path, Resource(handlers, self.problem, self._failed))

    def _failed(self, path: str, error: str) -> None:
        self._services.log.error("request failed", path=path, error=error)

    def problem(self, request: Request, error: ProblemError) -> Response:
        """The page for what cannot be answered."""
        response = self._page("problem", error.status, title=error.title, detail=error.detail)
        response.headers.update(error.headers)
        return response

    def _page(self, name: str, status: int = 200, **content: Any) -> Response:
        root = self._services.settings.base_path
        made = sight.today(self._services.clock())
        text = template(f"pages/{name}.html.j2").render(root=root, style=root + _STYLE, made=made, **content)
        return Response(text.strip() + "\n", status, {"Cache-Control": "no-store"}, _HTML)

    async def style(self, request: Request) -> Response:
        headers = {"Cache-Control": "private, max-age=300"}
        return Response(str(stylesheet()).lstrip(), headers=headers, media_type="text/css")

    # The list

    async def incidents(self, request: Request) -> Response:
        """Incidents, newest first. A filter that is wrong is said, and lists nothing."""
        asked = lenient(request.query_params.multi_items())
        filters = {name: value for name, value in asked if name != "cursor"}
        try:
            search = search_of(asked, limit=_ROWS)
        except ProblemError as error:
            return self._list(400, filters, Search(), error.detail)
        return await self._services.ask(lambda store: self._found(store, filters, search))

    def _found(self, store: IncidentStore, filters: dict[str, str], search: Search) -> Response:
        found, now = store.search(search), self._services.clock()
        rows = tuple(sight.row(one, now) for one in found.items)
        return self._list(200, filters, search, rows=rows, cursor=found.cursor)

    def _list(
        self, status: int, filters: dict[str, str], search: Search, wrong: str = "",
        *, rows: tuple[sight.Row, ...] = (), cursor: str = "",
    ) -> Response:  # fmt: skip
        times = {"since": sight.field(search.since), "until": sight.field(search.until)}
        return self._page(
            "incidents",
            status,
            rows=rows,
            filters={name: filters.get(name, "") for name in ("text", "state", "severity", "instance")} | times,
            narrowed=any(name != "limit" for name in filters),
            wrong=wrong,
            states=STATES,
            severities=SEVERITIES,
            older=sight.query({**filters, "cursor": cursor}) if cursor else "",
            newest=sight.query(filters) if search.cursor else "",
        )

    # One incident

    async def incident(self, request: Request) -> Response:
        """The answer, the evidence, and the rest."""
        return await self._shown(request, NoteForm())

    async def _shown(self, request: Request, form: NoteForm | None, wrong: str = "", status: int = 200) -> Response:
        id = str(request.path_params["id"])
        return await self._services.ask(lambda store: self._incident(request, _kept(store, id), form, wrong, status))

    def _incident(self, request: Request, kept: _Kept, form: NoteForm | None, wrong: str, status: int) -> Response:
        """Without a form, what is wrong is about the button."""
        now, incident = self._services.clock(), kept.outline.incident
        id = incident.id
        session = self._tokens.session(request.cookies.get(COOKIE))
        told = report(kept.document, verbose=True) if kept.document else None
        response = self._page(
            "incident",
            status,
            id=id,
            state=incident.state,
            instance=visible(incident.instance) or "no instance",
            path=f"{self._services.settings.base_path}/incidents/{quote(id, safe='')}",
            data=f"{self._services.settings.base_path}/api/v1/incidents/{quote(id, safe='')}",
            alert_names=sight.alert_names(kept.outline.names),
            at=sight.when(incident.at, now),
            report=told,
            beyond=sight.beyond(kept.finding, told) if told else "",
            first=first_steps(told) if told else (),
            waiting=None if told else sight.waiting(kept.job),
            alerts=[sight.alert_view(one, now) for one in kept.alerts],
            alerts_in_all=kept.outline.alerts,
            timeline=[sight.happened(one, now) for one in kept.timeline],
            timeline_in_all=kept.outline.moments,
            notes=[sight.note_view(one, now) for one in kept.notes],
            facts=sight.fact_rows(kept.document) if kept.document else (),
            form=form or NoteForm(),
            token=self._tokens.issue(session, id),
            wrong=wrong if form else "",
            stale="" if form else wrong,
            most={"author": AUTHOR, "text": TEXT},
        )
        self._keep_session(request, response, session)
        return response

    def _keep_session(self, request: Request, response: Response, session: str) -> None:
        if request.cookies.get(COOKIE) != session:
            secure = self._services.settings.base_url.startswith("https:")
            path = self._services.settings.base_path + "/incidents"
            response.set_cookie(COOKIE, session, path=path, secure=secure, httponly=True, samesite="strict")

    async def report(self, request: Request) -> Response:
        """The report as one file, to keep or mail."""
        return await self._services.ask(lambda store: self._report(store, request))

    def _report(self, store: IncidentStore, request: Request) -> Response:
        id = str(request.path_params["id"])
        document, finding = store.document(id), store.finding(id)
        if document is None or finding is None:
            raise ProblemError(404, "There is no such diagnosis, or it is not made yet.")
        # Not forever: another version of this program may lay it out better.
        response = unchanging(request, render_html(document).encode(), finding.made_at, _HTML)
        response.headers["Cache-Control"] = "private, no-cache"
        response.headers["Content-Security-Policy"] = _REPORT_POLICY.format(style_source())
        return response

    async def add_note(self, request: Request) -> Response:
        """Keep a note and show the incident again; what cannot be kept stays in the form."""
        id, form = str(request.path_params["id"]), await _form(request)
        if not self._tokens.fits(form.token, request.cookies.get(COOKIE), id):
            return await self._shown(request, form, _STALE, 403)
        try:
            author, text = note_of(form.author, form.text)
        except FormError as error:
            return await self._shown(request, form, f"Not kept: {error}.", 400)
        now = self._services.clock()
        try:
            note = await self._services.ask(lambda store: store.add_note(id, author, text, now))
        except TooManyNotesError as error:
            return await self._shown(request, form, f"Not kept: {error}.", 409)
        if note is None:
            raise ProblemError(404, _GONE)
        self._services.log.info("note written", incident=id, note=note.id)
        where = f"{self._services.settings.base_path}/incidents/{quote(id, safe='')}#note-{note.id}"
        return RedirectResponse(where, HTTPStatus.SEE_OTHER)

    async def retry(self, request: Request) -> Response:
        """Try a parked diagnosis again, and show the incident; one that is not parked any more needs no word."""
        id, form = str(request.path_params["id"]), await _form(request)
        if not self._tokens.fits(form.token, request.cookies.get(COOKIE), id):
            return await self._shown(request, None, _STALE_BUTTON, 403)
        if await self._services.ask(lambda store: store.release(id)):
            self._services.supervisor.wake()
            self._services.log.info("diagnosis released", incident=id)
        where = f"{self._services.settings.base_path}/incidents/{quote(id, safe='')}"
        return RedirectResponse(where, HTTPStatus.SEE_OTHER)


async def _form(request: Request) -> NoteForm:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise ProblemError(415, "Send the form from the incident's page; programs use the API.")
    try:
        return parse_form(await body_of(request))
    except FormError as error:
        raise ProblemError(400, str(error)) from None
