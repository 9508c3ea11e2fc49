"""
What the service answers: Alertmanager's webhook, probes, metrics, and the pages and API that others define.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from engram_diagnose.history.model import Notification
from engram_diagnose.history.records import Accepted
from engram_diagnose.service.announce import without
from engram_diagnose.service.commit import Full
from engram_diagnose.service.intake import PayloadError, parse_notification
from engram_diagnose.service.metrics import CONTENT_TYPE, stored
from engram_diagnose.service.problem import MEDIA_TYPE, ProblemError, details, json_response, problem
from engram_diagnose.service.refusal import RefusedError
from engram_diagnose.service.security import App, Guard, Message, Receive, Scope, Send
from engram_diagnose.service.services import Services

WEBHOOK: Final = "/api/v1/alerts"
_DISK_SECONDS: Final = 30.0
"""When to stop waiting for the disk; Alertmanager has stopped long before, and sends again."""
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PROBLEMS: Final = 20
"""Malformed alerts of one call that the answer and the log speak of; all are counted."""
_AGAIN: Final = {"retry-after": "5"}


def create_app(services: Services, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """
    The application. `routes` are the pages and the API; everything passes `security.Guard` first.

    No path is ever redirected to another: a webhook that is answered so is lost.
    """
    own = [
        _route("POST", WEBHOOK, _accept, services),
        _route("GET", "/-/healthy", _healthy, services),
        _route("GET", "/-/ready", _ready, services),
        _route("POST", "/-/reload", _reload, services),
        _route("GET", "/metrics", _metrics, services),
    ]
    app = Starlette(
        routes=[*own, *routes],
        middleware=[
            Middleware(_Counted, services=services),
            Middleware(Guard, settings=lambda: services.settings, log=services.log),
        ],
    )
    app.router.redirect_slashes = False
    return app


Handler = Callable[[Request, Services], Awaitable[Response]]


def _route(method: str, path: str, handler: Handler, services: Services) -> Route:
    """A route that answers other methods itself, since a page for whatever is not there comes behind it."""
    allowed = ("GET", "HEAD") if method == "GET" else (method,)

    async def answer(request: Request) -> Response:
        if request.method not in allowed:
            return _refused(405, f"{path} takes {method}", {"allow": ", ".join(allowed)})
        return await handler(request, services)

    return Route(path, answer, methods=_METHODS)


class _Counted:
    """Counts answers by status, and answers what nobody foresaw, without telling the caller what it was."""

    def __init__(self, app: App, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def counted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._services.metrics.answered(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except (ClientDisconnect, RefusedError):
            return  # cut short after the answer began: there is nobody left to tell
        except Exception as error:
            self._services.log.error(
                "request failed", path=scope.get("path", ""), error=f"{type(error).__name__}: {error}"
            )
            if started:
                raise
            response = _refused(500, "the service failed; its log says more")
            await response(scope, receive, counted)


def _refused(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return problem(ProblemError(status, detail, headers))


async def _accept(request: Request, services: Services) -> Response:
    """
    202 once the alerts are on the disk; 400 for what will never be right; 503 for what may be sent again.

    What is malformed beside what can be taken in is said and left out: sent again it would be no better.
    """
    body, begun = await request.body(), time.perf_counter()
    about, metrics = services.settings.incidents, services.metrics
    try:
        parsed = parse_notification(body, replica_labels=frozenset(about.replica_labels))
    except PayloadError as error:
        metrics.notified("invalid")
        services.log.seldom("notification refused", reason=str(error))
        return _refused(400, str(error))
    kept = without(parsed.notification, about.ignore)
    ignored = len(parsed.notification.alerts) - len(kept.alerts)
    metrics.alerted("ignored", ignored)
    left_out = {"ignored": ignored, **_malformed(parsed.malformed, services)}
    if not kept.alerts:
        metrics.notified("accepted")
        return json_response({"incidents": [], "new": 0, "duplicates": 0, **left_out}, 202)
    return await _keep(kept, services, left_out, begun)


def _malformed(problems: Sequence[str], services: Services) -> dict[str, object]:
    """What the answer says of malformed alerts; nothing where there are none."""
    if not problems:
        return {}
    services.metrics.alerted("malformed", len(problems))
    shown = list(problems[:_PROBLEMS])
    services.log.seldom("malformed alerts left out", number=len(problems), problems=shown)
    return {"malformed": len(problems), "problems": shown}


async def _keep(kept: Notification, services: Services, left_out: Mapping[str, object], begun: float) -> Response:
    metrics = services.metrics
    try:
        accepted = await _within(_DISK_SECONDS, services.commit.keep(kept, services.clock()))
    except Full:
        metrics.notified("full")
        return _refused(503, "too many notifications wait to be written; send it again", _AGAIN)
    except (ValueError, OSError) as error:
        metrics.notified("failed")
        services.failed_at = time.monotonic()
        services.log.error("notification not written", reason=str(error) or "the disk does not answer")
        return _refused(503, "the notification cannot be written; send it again", _AGAIN)
    metrics.accept_seconds.observe(time.perf_counter() - begun)
    metrics.notified("accepted")
    metrics.alerted("new", accepted.new)
    metrics.alerted("duplicate", accepted.duplicates)
    if accepted.opened:
        services.supervisor.wake()
    if accepted.closed:
        services.courier.wake()
    if accepted.new:
        services.log.info("alerts accepted", incidents=accepted.incidents, new=accepted.new, opened=accepted.opened)
    content = {
        "incidents": accepted.incidents,
        "new": accepted.new,
        "duplicates": accepted.duplicates,
        **left_out,
    }
    return json_response(content, 202)


async def _within(seconds: float, future: "asyncio.Future[Accepted]") -> Accepted:
    """What the future will have; raises `TimeoutError` when it has nothing by then."""
    timer = asyncio.get_running_loop().call_later(seconds, _give_up, future)
    try:
        return await future
    finally:
        timer.cancel()


def _give_up(future: "asyncio.Future[Accepted]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())


async def _healthy(request: Request, services: Services) -> Response:
    """The event loop runs."""
    return Response("healthy\n", media_type="text/plain")


async def _ready(request: Request, services: Services) -> Response:
    """Whether alerts are taken in. A worker that is starting again is no reason to refuse what can be kept."""
    reasons = services.not_ready()
    if reasons:
        content = {"ready": False, "reasons": reasons, **details(503, "; ".join(reasons))}
        return json_response(content, 503, media_type=MEDIA_TYPE)
    return json_response({"ready": True, "worker": "up" if services.running().worker else "down"})


async def _reload(request: Request, services: Services) -> Response:
    """Settings and rules as they are on the disk now, or the reason why the old ones stay."""
    failure = await services.reload()
    if failure is None:
        return json_response({"reloaded": True})
    content = {"reloaded": False, "in_force": "what was there before", **details(500, failure)}
    return json_response(content, 500, media_type=MEDIA_TYPE)


async def _metrics(request: Request, services: Services) -> Response:
    now = services.clock()
    try:
        held: Any = await services.ask_apart(stored)
    except (ValueError, OSError) as error:
        services.log.error("database cannot be read", reason=str(error))
        held = None
    return Response(
        services.metrics.page(held, services.running(), now), media_type=None, headers={"content-type": CONTENT_TYPE}
    )
