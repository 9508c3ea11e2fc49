"""
One path and what it answers to each method, errors included.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from engram_diagnose.service.problem import ProblemError

Handler = Callable[[Request], Awaitable[Response]]
Teller = Callable[[Request, ProblemError], Response]

_AGAIN: Final = {"Retry-After": "5"}
_BODY: Final = 64 * 1024
"""Bytes of the largest body that a page or the API takes; a note is at most a quarter of that."""


class Resource:
    """
    Answers the methods it has a handler for, HEAD as GET, and 405 to the others.

    A handler raises `ProblemError`; a database that cannot be read or written is one with status 503. `tell` makes
    a response of it.
    """

    def __init__(self, handlers: Mapping[str, Handler], tell: Teller, failed: Callable[[str, str], None]) -> None:
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]
        self._tell = tell
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive, send)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._handler(request)(request)
        except ProblemError as error:
            return self._tell(request, error)
        except (ValueError, OSError) as error:
            self._failed(request.url.path, str(error))
            detail = "the database cannot be used now; the service's log says why"
            return self._tell(request, ProblemError(503, detail, _AGAIN))

    def _handler(self, request: Request) -> Handler:
        handler = self._handlers.get(request.method)
        if handler is None:
            raise not_allowed(request.method, self._handlers)
        return handler


def not_allowed(method: str, allowed: Mapping[str, Any] | set[str]) -> ProblemError:
    """The error for a method that a path does not know."""
    names = ", ".join(sorted(allowed))
    return ProblemError(405, f"{method[:20]} is not possible here; use {names}", {"Allow": names})


async def nothing(request: Request) -> Response:
    """The handler of every path that nobody else answers; raises `ProblemError`."""
    raise _nothing_here(request)


EVERY: Final[Mapping[str, Handler]] = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), nothing)
"""What a route that catches everything answers to each method."""


def _nothing_here(request: Request) -> ProblemError:
    """The error for a path that nobody else answered; some other route may know it under another method."""
    routes: list[BaseRoute] = request.app.routes
    for route in routes:
        if isinstance(route, Route) and route.methods and route.matches(request.scope)[0] is Match.PARTIAL:
            return not_allowed(request.method, route.methods)
    return ProblemError(404, "there is nothing at this address")


async def body_of(request: Request) -> bytes:
    """The body; raises `ProblemError` as soon as it is too large."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BODY:
            raise ProblemError(413, f"the body is larger than {_BODY} bytes")
    return body
