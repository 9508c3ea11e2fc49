"""
What the lab answers to whom: the released server's routes, in the guide's dialect.

`Api.handle` takes one whole request and gives the answer, or the ticket of the operation that will have one; nothing
here waits. What a client sent wrongly is told as 400 with the field's name.
"""

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
import numpy as np
import numpy.typing as npt

from engram_diagnose import __version__
from engram_diagnose.lab.asking import (
    DEFAULT_SPACE,
    DIMENSIONS,
    DISK_FULL,
    DONE,
    MOST_CONTENT_BYTES,
    MOST_RESULTS,
    NO_ROOM,
    Answer,
    Busy,
    Engine,
    NoSuchSpace,
    TooManySpaces,
)
from engram_diagnose.lab.text import CREATED, METRICS, OK, Reply, document, trouble

_SPACE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
_MODES: Final = {b"similarity": "recall", b"spreading": "activation", b"hybrid": "activation"}
_VIVID: Final = 0.7
_ASSOCIATED: Final = 0.4
"""Cosines from which a memory is in these of the released server's three groups; the rest is reconstructed."""
_SERVER: Final = "engram-lab"
_BUSY: Final = trouble(503, "the lab has as many operations in flight as it takes; come back in a second")
_NO_METRICS: Final = trouble(404, "monitoring.metrics_enabled is false")


class Refused(Exception):  # noqa: N818 -- it is an answer, not a fault
    """A request that cannot be carried out; holds the answer that says why."""

    def __init__(self, status: int, message: str, *, extra: str = "") -> None:
        super().__init__(message)
        self.reply = trouble(status, message, extra=extra)


class _Remember(msgspec.Struct):
    content: str
    embedding: list[float] | None = None
    confidence: float = 0.5
    memory_space_id: str | None = None


class _Partial(msgspec.Struct):
    known_fields: dict[str, str] = {}
    partial_embedding: list[float | None] | None = None


class _Complete(msgspec.Struct):
    content: str | None = None
    query: str | None = None
    embedding: list[float] | None = None
    partial_episode: _Partial | None = None
    max_results: int = 10
    memory_space_id: str | None = None


_remember: Final = msgspec.json.Decoder(_Remember)
_complete: Final = msgspec.json.Decoder(_Complete)
_numbers: Final = msgspec.json.Decoder(list[float])


class Call:
    """One whole request as it came, and what its answer needs to know of it."""

    __slots__ = ("arrived_ns", "body", "content_type", "finish", "metadata", "method", "operation", "path", "query",
                 "space", "started_ns", "texts", "threshold")  # fmt: skip

    def __init__(self, method: bytes, target: bytes, *, arrived_ns: int) -> None:
        self.method = method
        self.path, _, self.query = target.partition(b"?")
        self.arrived_ns = arrived_ns
        self.space = b""
        self.content_type = b""
        self.body: bytes | bytearray = b""
        self.finish: Callable[[Api, Call, Answer], Reply] = _found
        self.operation = ""
        self.threshold = -2.0
        self.metadata = False
        self.texts = False


Handler = Callable[["Api", Call], Reply | int]


@dataclass(slots=True)
class Counts:
    """What the front counts itself: operations it turned away, by operation and space, and repeats clients tell of."""

    refused: Counter[tuple[str, str]]
    retries: int = 0
    retries_told: bool = False


class Api:
    """Routes over one engine. `scrape` gives the text of /metrics, or None where metrics are off."""

    def __init__(self, engine: Engine, *, scrape: Callable[[], bytes | None]) -> None:
        self.engine = engine
        self.scrape = scrape
        self.counts = Counts(Counter())
        self.started = time.monotonic()

    def handle(self, call: Call) -> Reply | int:
        """The answer, or the ticket whose answer `finish` makes one of."""
        handlers = _ROUTES.get(call.path)
        if handlers is None:
            handlers = _below(call.path)
        handler = handlers.get(call.method)
        if handler is None and call.method == b"HEAD":
            handler = handlers.get(b"GET")
        if handler is None:
            return _no_route(call, handlers)
        try:
            return handler(self, call)
        except Refused as refused:
            return refused.reply

    def finish(self, call: Call, answer: Answer) -> Reply:
        """The answer to a ticket."""
        status = answer.status
        if status == DONE:
            return call.finish(self, call, answer)
        if status == DISK_FULL:
            return trouble(507, "the write-ahead log could not be written: no space left on the device")
        if status == NO_ROOM:
            return trouble(507, "the memory space is full")
        return trouble(500, "the operation failed; see the lab's error output")

    def submit(self, call: Call, space: str, **given: Any) -> Reply | int:
        """Give an operation to the engine; what it cannot take now is counted as an error of that operation."""
        try:
            return self.engine.submit(call.operation, space, arrived_ns=call.arrived_ns, **given)
        except Busy:
            self.counts.refused[call.operation, space] += 1
            return _BUSY
        except NoSuchSpace:
            return trouble(404, f"there is no memory space {space!r}; storing into it makes it")
        except TooManySpaces as error:
            return trouble(507, str(error) or "the lab takes no more memory spaces")


# Operations


def _store(api: Api, call: Call) -> Reply | int:
    given = _body(_remember, call)
    text = _text(given.content, "content")
    if not 0 <= given.confidence <= 1:
        raise Refused(400, f"confidence lies between 0 and 1, not at {given.confidence:g}")
    space = _space(call, given.memory_space_id)
    vector = None if given.embedding is None else _embedding(given.embedding)
    call.operation, call.finish = "store", _stored
    return api.submit(call, space, text=text, embedding=vector, confidence=given.confidence)


def _stored(api: Api, call: Call, answer: Answer) -> Reply:
    return CREATED, b'{"memory_id":"mem_%d","status":"stored","lab":true}' % answer.rows[0]


def _recall(api: Api, call: Call) -> Reply | int:
    given = _parameters(call.query)
    call.operation = _MODES.get(given.get("mode", b"similarity"), "")
    if not call.operation:
        raise Refused(400, "mode is similarity, spreading or hybrid")
    if "threshold" in given:
        call.threshold = _threshold(given["threshold"])
    call.metadata = given.get("include_metadata") == b"true"
    call.texts = given.get("include_content") == b"true"
    limit = _limit(given["max_results"]) if "max_results" in given else 10
    space = _space(call, _name(given.get("memory_space_id") or given.get("space")))
    if "embedding" in given:
        return api.submit(call, space, embedding=_sent_embedding(given["embedding"]), limit=limit)
    text = given.get("query", b"")
    if not text.strip():
        raise Refused(400, "query or embedding says what to recall; neither is there")
    if len(text) > MOST_CONTENT_BYTES:
        raise Refused(400, f"query takes at most {MOST_CONTENT_BYTES} bytes")
    return api.submit(call, space, text=text, limit=limit)


def _complete_pattern(api: Api, call: Call) -> Reply | int:
    given = _body(_complete, call)
    if not 1 <= given.max_results <= MOST_RESULTS:
        raise Refused(400, f"max_results lies between 1 and {MOST_RESULTS}, not at {given.max_results}")
    space = _space(call, given.memory_space_id)
    call.operation = "pattern_completion"
    numbers, text = given.embedding, given.content or given.query or ""
    if given.partial_episode is not None:
        parts = given.partial_episode
        text = text or " ".join(parts.known_fields.values())
        if parts.partial_embedding is not None and numbers is None:
            numbers = [number or 0.0 for number in parts.partial_embedding]
    if numbers is not None:
        return api.submit(call, space, embedding=_embedding(numbers), limit=given.max_results)
    return api.submit(call, space, text=_text(text, "content"), limit=given.max_results)


def _found(api: Api, call: Call, answer: Answer) -> Reply:
    """Memories in the released server's groups, best first."""
    groups: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
    for row, score in zip(answer.rows, answer.scores, strict=False):
        if score < call.threshold:
            continue
        group = groups[0 if score >= _VIVID else 1 if score >= _ASSOCIATED else 2]
        group.append(
            _with_content(api, row, score) if call.texts else b'{"memory_id":"mem_%d","score":%.4f}' % (row, score)
        )
    vivid, associated, reconstructed = (b",".join(group) for group in groups)
    took = b',"metadata":{"processing_time_ms":%.3f}' % (answer.took_ns / 1e6) if call.metadata else b""
    return OK, (
        b'{"memories":{"vivid":[%b],"associated":[%b],"reconstructed":[%b]}%b,"lab":true}'
        % (vivid, associated, reconstructed, took)
    )


def _with_content(api: Api, row: int, score: float) -> bytes:
    memory = api.engine.memory(row)
    told = {"memory_id": f"mem_{row}", "score": round(score, 4)}
    return msgspec.json.encode(told if memory is None else {**told, "content": memory.content})


# What there is


def _counts(api: Api, call: Call) -> Reply:
    given = _parameters(call.query)
    if given.get("limit", b"0") != b"0":
        raise Refused(400, "the lab lists no memories; limit=0 tells how many there are")
    named = call.space or given.get("memory_space_id")
    space = _space(call, _name(named)) if named else None
    if space is not None and space not in api.engine.spaces():
        raise Refused(404, f"there is no memory space {space!r}")
    hot, warm, cold = api.engine.tier_counts(space)
    tiers = {"hot": hot, "warm": warm, "cold": cold, "total": hot + warm + cold}
    return document({"memories": [], "count": 0, "tier_counts": tiers, "lab": True})


def _memory(api: Api, call: Call) -> Reply:
    name = call.path.rpartition(b"/")[2]
    digits = name.removeprefix(b"mem_")
    memory = api.engine.memory(int(digits)) if digits.isdigit() and len(digits) < 10 else None
    if memory is None:
        raise Refused(404, "there is no such memory")
    told = {"memory_id": f"mem_{int(digits)}", "content": memory.content, "confidence": memory.confidence, "lab": True}
    return document(told)


def _spaces(api: Api, call: Call) -> Reply:
    return document({"spaces": list(api.engine.spaces()), "lab": True})


def _remove_space(api: Api, call: Call) -> Reply:
    name = _checked_space(unquote_to_bytes(call.path.rpartition(b"/")[2]).decode("utf-8", "replace"))
    if name not in api.engine.spaces():
        raise Refused(404, f"there is no memory space {name!r}")
    if name == DEFAULT_SPACE:
        raise Refused(400, f"the memory space {name!r} stays")
    if not api.engine.remove_space(name):
        return _BUSY
    return document({"removed": name, "lab": True})


def _health(api: Api, call: Call) -> Reply:
    return document({"status": "healthy", "server": _SERVER, "version": __version__, "lab": True})


def _alive(api: Api, call: Call) -> Reply:
    return document({"status": "alive", "lab": True})


def _system_health(api: Api, call: Call) -> Reply:
    hot, warm, cold = api.engine.tier_counts(None)
    return document(
        {
            "status": "healthy",
            "server": _SERVER,
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - api.started, 3),
            "spaces": len(api.engine.spaces()),
            "memories": hot + warm + cold,
            "lab": True,
        }
    )


def _metrics(api: Api, call: Call) -> Reply:
    text = api.scrape()
    return _NO_METRICS if text is None else (METRICS, text)


def _welcome(api: Api, call: Call) -> Reply:
    routes = sorted(path.decode() for path in _ROUTES if path != b"/")
    what = "engram-diagnose's lab: a memory server to plant faults in, not a product"
    return document({"server": _SERVER, "version": __version__, "what": what, "routes": routes, "lab": True})


_ROUTES: Final[dict[bytes, dict[bytes, Handler]]] = {
    b"/": {b"GET": _welcome},
    b"/health": {b"GET": _health},
    b"/health/alive": {b"GET": _alive},
    b"/metrics": {b"GET": _metrics},
    b"/api/v1/complete": {b"POST": _complete_pattern},
    b"/api/v1/memories": {b"GET": _counts},
    b"/api/v1/memories/recall": {b"GET": _recall},
    b"/api/v1/memories/remember": {b"POST": _store},
    b"/api/v1/spaces": {b"GET": _spaces},
    b"/api/v1/system/health": {b"GET": _system_health},
}
_BELOW: Final[dict[bytes, dict[bytes, Handler]]] = {
    b"/api/v1/memories": {b"GET": _memory},
    b"/api/v1/spaces": {b"DELETE": _remove_space},
}
_NOTHING: Final[dict[bytes, Handler]] = {}


def _below(path: bytes) -> dict[bytes, Handler]:
    above, _, name = path.rpartition(b"/")
    return _BELOW.get(above, _NOTHING) if name else _NOTHING


def _no_route(call: Call, handlers: dict[bytes, Handler]) -> Reply:
    shown = call.path[:100].decode("ascii", "replace")
    if not handlers:
        return trouble(404, f"the lab has nothing at {shown}; GET / lists what it has")
    allowed = ", ".join(sorted(method.decode() for method in handlers))
    return trouble(405, f"{shown} takes {allowed}", extra=f"Allow: {allowed}\r\n")


# Reading what was sent


def _body(decoder: msgspec.json.Decoder[Any], call: Call) -> Any:
    kind = call.content_type.partition(b";")[0].strip().lower()
    if kind and kind != b"application/json":
        raise Refused(415, "the body is JSON: Content-Type: application/json")
    if not call.body:
        raise Refused(400, "the body is a JSON object; there is none")
    try:
        return decoder.decode(call.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"the body: {error}") from None


def _text(text: str, name: str) -> bytes:
    """The text's bytes; half characters, which JSON can escape and UTF-8 cannot say, become question marks."""
    content = text.encode("utf-8", "replace")
    if not content.strip():
        raise Refused(400, f"{name} is empty")
    if len(content) > MOST_CONTENT_BYTES:
        raise Refused(400, f"{name} takes at most {MOST_CONTENT_BYTES} bytes, not {len(content)}")
    return content


def _embedding(numbers: list[float]) -> npt.NDArray[np.float32]:
    if len(numbers) != DIMENSIONS:
        raise Refused(400, f"embedding has {DIMENSIONS} numbers, not {len(numbers)}")
    with np.errstate(over="ignore"):
        vector = np.array(numbers, np.float32)
        squares = float(vector @ vector)
    if not 0 < squares < np.inf:
        raise Refused(400, "embedding has a direction and a finite length; this one has not")
    return vector


def _sent_embedding(text: bytes) -> npt.NDArray[np.float32]:
    """`[0.1,0.2,…]`, or the same without brackets."""
    try:
        return _embedding(_numbers.decode(text if text[:1] == b"[" else b"[%b]" % text))
    except msgspec.MsgspecError as error:
        raise Refused(400, f"embedding: {error}") from None


def _space(call: Call, stated: str | None) -> str:
    """The memory space: the header's, else the one stated elsewhere, else the default one."""
    if call.space:
        return _checked_space(call.space.decode("utf-8", "replace"))
    return DEFAULT_SPACE if stated is None else _checked_space(stated)


def _checked_space(name: str) -> str:
    if not _SPACE.fullmatch(name):
        raise Refused(400, "a memory space is named by 1 to 64 letters, digits, dots, dashes and underscores")
    return name


def _name(sent: bytes | None) -> str | None:
    return None if sent is None else sent.decode("utf-8", "replace")


def _limit(sent: bytes) -> int:
    if not sent.isdigit() or len(sent) > 6 or not 1 <= int(sent) <= MOST_RESULTS:
        raise Refused(400, f"max_results is a whole number between 1 and {MOST_RESULTS}")
    return int(sent)


def _threshold(sent: bytes) -> float:
    try:
        value = float(sent)
    except ValueError:
        value = 2
    if not -1 <= value <= 1:
        raise Refused(400, "threshold is a cosine, a number between -1 and 1")
    return value


def _parameters(query: bytes) -> dict[str, bytes]:
    """`name=value&…` with its percents and pluses undone; of two of a name the last."""
    given: dict[str, bytes] = {}
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if b"+" in value:
            value = value.replace(b"+", b" ")
        if b"%" in value:
            value = unquote_to_bytes(value)
        given[name.decode("latin-1")] = value
    return given
