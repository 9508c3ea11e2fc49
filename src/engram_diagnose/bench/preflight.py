"""
Before a load: is this a server of ours, is it well, does it let us in, do its answers make sense?
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.bench.asking import Asking, NoAnswerError, Reply
from engram_diagnose.bench.targets import Routes, memories_in, names_of, recalled, routes_of, stored_id
from engram_diagnose.collectors.capture.interface import Interface, dialect_by_form

_WORDS: Final = "quiet harbour lantern copper meadow"
_NOT_FOUND: Final = 404
_ABSENT: Final = (_NOT_FOUND, 405, 501)
_CLOSED: Final = (401, 403)
_BUSY: Final = 429
_ILL: Final = 503


class PreflightError(ValueError):
    """A server that cannot be loaded; says what it answered, and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """
    What a preflight found out.

    `memories` is how many it holds (None where it does not say), `removes_spaces` whether it takes a memory space away
    again, `notes` what is worth a word beside the figures.
    """

    address: str
    dialect: str
    version: str
    routes: Routes
    memories: int | None
    removes_spaces: bool
    notes: tuple[str, ...] = ()


def look_at(asking: Asking, interfaces: Mapping[str, Interface], *, dialect: str, space: str) -> Server:
    """
    Ask for health and metrics, store one memory into `space` and recall it, then take the space away again.

    `interfaces` are those of the dialects, of which `dialect` is one, or empty to be told by the metrics. Raises
    `PreflightError` and `NoAnswerError`, both of which say what to do.
    """
    usual = routes_of(dialect)
    version = _health(asking, usual)
    told, notes = _dialect(asking, interfaces, dialect)
    routes = routes_of(told)
    memories = _count(asking, routes)
    try:
        notes += _stores_and_recalls(asking, routes, space)
    except (PreflightError, NoAnswerError) as error:
        try:
            remove_space(asking, routes, space)
        except NoAnswerError:
            raise type(error)(f"{error}; one memory may be left in the memory space {space}") from None
        raise
    removes = remove_space(asking, routes, space) == ""
    if not removes:
        notes += ("it offers no way to remove a memory space: what the load stores stays in its bench-… spaces",)
    return Server(asking.address.authority, told, version, routes, memories, removes, notes)


# One question each


def _health(asking: Asking, routes: Routes) -> str:
    """The version where it says one; raises `PreflightError` for a server that is ill or lets nobody in."""
    for path in routes.health:
        reply = asking.get(path)
        _let_in(reply, path, asking)
        if reply.status == _ILL:
            raise PreflightError(f"{asking.address.authority} says of itself that it is not well ({path}: HTTP 503 "
                                 f"{reply.shown!r}); a load would not make it better")  # fmt: skip
        if reply.status == 200:
            return _version(reply)
        if reply.status not in _ABSENT:
            raise PreflightError(f"{asking.address.authority} answers {path} with HTTP {reply.status}{_where(reply)}; "
                                 "name the port of the Engram server itself")  # fmt: skip
    raise PreflightError(f"{asking.address.authority} knows none of {', '.join(routes.health)}: another service stands "
                         "on that port; name the Engram server's (7432 unless it was taken)")  # fmt: skip


def _where(reply: Reply) -> str:
    return " (a redirect, which is not followed)" if 300 <= reply.status < 400 else ""


def _version(reply: Reply) -> str:
    document = reply.json
    version = document.get("version") if isinstance(document, dict) else None
    shaped = isinstance(version, str) and re.fullmatch(r"[\w.+~-]{1,60}", version)
    return str(version) if shaped else ""


def _let_in(reply: Reply, path: str, asking: Asking) -> None:
    """Raises `PreflightError` for a server that refuses the token, or asks for fewer requests already."""
    if reply.status in _CLOSED:
        raise PreflightError(f"{asking.address.authority} lets nobody in without its API key ({path}: HTTP "
                             f"{reply.status}); give --server-token-file FILE")  # fmt: skip
    if reply.status == _BUSY:
        after = f", and again after {reply.retry_after[:20]} s" if reply.retry_after else ""
        raise PreflightError(f"{asking.address.authority} asks for fewer requests before the load has begun ({path}: "
                             f"HTTP 429{after}); lift its rate limit for this client, or wait")  # fmt: skip


def _dialect(asking: Asking, interfaces: Mapping[str, Interface], named: str) -> tuple[str, tuple[str, ...]]:
    """The dialect, by the form of its metrics unless one is named; and a note where nothing tells it."""
    if named:
        return named, ()
    reply = asking.get("/metrics")
    _let_in(reply, "/metrics", asking)
    if reply.status != 200:
        usual = dialect_by_form(interfaces, "")
        return usual, (f"/metrics answers HTTP {reply.status}: taken for the dialect {usual}; name it with --dialect",)
    return dialect_by_form(interfaces, reply.text), ()


def _count(asking: Asking, routes: Routes) -> int | None:
    reply = asking.get(routes.counts)
    return memories_in(reply.json) if reply.status == 200 else None


def _stores_and_recalls(asking: Asking, routes: Routes, space: str) -> tuple[str, ...]:
    """Notes; raises `PreflightError` for answers that are none to a store or a recall."""
    body = {"content": f"{_WORDS} of {space}", "confidence": 0.9, "memory_space_id": space}
    reply = asking.post(routes.remember, body, space=space)
    _let_in(reply, routes.remember, asking)
    told = stored_id(reply.json) if reply.status in (200, 201) else None
    if told is None:
        raise PreflightError(_senseless(asking, "store", routes.remember, reply))
    query = {"query": _WORDS, "max_results": "10"}
    reply = asking.get(routes.recall, query=query, space=space)
    _let_in(reply, routes.recall, asking)
    found = recalled(reply.json) if reply.status == 200 else None
    if found is None:
        raise PreflightError(_senseless(asking, "recall", routes.recall, reply))
    names = {str(body["content"]), told} - {""}
    if not any(names & names_of(one) for one in found):
        return ("a recall right after a store does not find what was stored",)
    return ()


def _senseless(asking: Asking, what: str, path: str, reply: Reply) -> str:
    if reply.status in _ABSENT:
        return (
            f"{asking.address.authority} has no {path} (HTTP {reply.status}): it is no Engram server, or of another API"
        )
    if reply.status >= 300:
        return f"{asking.address.authority} refuses to {what} ({path}: HTTP {reply.status} {reply.shown!r})"
    return (f"{asking.address.authority} answers a {what} with HTTP {reply.status} and {reply.shown!r}, which is no "
            "answer to it: another service stands there")  # fmt: skip


def remove_space(asking: Asking, routes: Routes, space: str, *, offered: bool = False) -> str:
    """
    Take a memory space of ours away; gives why it could not be, empty when it is gone.

    Of a server that is known to offer it, "not found" says that there is no such space. Raises `NoAnswerError`.
    """
    reply = asking.delete(routes.spaces.replace("{name}", space))
    if reply.status in (200, 202, 204) or (offered and reply.status == _NOT_FOUND):
        return ""
    if reply.status in _ABSENT:
        return "this server offers no removal of spaces"
    return f"HTTP {reply.status} {reply.shown!r}"
