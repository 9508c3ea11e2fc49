"""
Answers of HTTP/1.1 servers, taken from a stream: usual ones by a glance, all others by httptools.
"""

from typing import Any, Final, NamedTuple

import httptools

_HEAD_END: Final = b"\r\n\r\n"
_MOST_HEAD: Final = 65536
_MOST_BODY: Final = 16 << 20
_KEPT_BODY: Final = 65536
"""What is kept of a body: enough to know a good answer by, however many of them arrive at once."""
_SHOWN: Final = 60


class NoHttpError(ValueError):
    """What a server sent is no HTTP."""


class Answer(NamedTuple):
    """One answer: the beginning of its body, whether its connection stays open, and when to come back."""

    status: int
    body: bytes
    stays: bool
    retry_after: str = ""


def usual_heading(heading: bytes) -> tuple[int, int] | None:
    """
    Status and length of the body of a usual answer, by its heading with the empty line at its end.

    Usual is a final HTTP/1.1 answer with one plain length and no word on its connection; None for any other.
    """
    head = heading.lower()
    if not head.startswith(b"http/1.1 ") or head[9:10] not in b"2345" or b"\r\ntransfer-encoding:" in head:
        return None
    if head.count(b"\r\ncontent-length:") != 1 or (b"\r\nconnection:" in head and not _stays(head)):
        return None
    at = head.index(b"\r\ncontent-length:") + 17
    digits = head[at : head.index(b"\r\n", at)].strip()
    status = head[9:12]
    usual = status.isdigit() and head[12:13] in b" \r" and digits.isdigit() and len(digits) < 9
    # 204 and 304 have no body whatever their length says, and 429 and 503 may say when to come back.
    return (int(status), int(digits)) if usual and status not in (b"204", b"304", b"429", b"503") else None


def _stays(head: bytes) -> bool:
    return b"\r\nconnection: keep-alive\r\n" in head and head.count(b"\r\nconnection:") == 1


class AnswerReader:
    """
    Reads one answer from the bytes of a connection; a new one for each.

    Raises `NoHttpError` for what is no HTTP, for a heading or a body beyond all measure, and for more than one answer.
    """

    __slots__ = ("_body", "_done", "_framed", "_head_size", "_headed", "_kept", "_parser", "_retry", "_size", "_stays")

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._head_size = self._size = self._kept = 0
        self._headed = self._done = self._framed = self._stays = False
        self._retry = ""

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is complete."""
        if not self._headed:
            self._head_size += len(data)
        self.on_message_begin()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise NoHttpError("it switches to another protocol, which nobody asked for") from None
        except httptools.HttpParserError as error:
            raise NoHttpError(str(error)[:_SHOWN]) from None
        if not self._headed and self._head_size > _MOST_HEAD:
            raise NoHttpError(f"the heading is longer than {_MOST_HEAD} bytes")
        if self._size > _MOST_BODY:
            raise NoHttpError(f"the body is longer than {_MOST_BODY} bytes")
        return self._answer(stays=self._stays) if self._done else None

    def closed(self) -> Answer | None:
        """The answer that the end of the connection completes: one without a length."""
        return self._answer(stays=False) if self._headed and not self._framed and not self._done else None

    def _answer(self, *, stays: bool) -> Answer:
        found = Answer(self._parser.get_status_code(), b"".join(self._body), stays, self._retry)
        # The parser holds the methods of this reader: without this a cycle is left for the collector.
        self._parser = None
        return found

    # Called by httptools

    def on_message_begin(self) -> None:
        if self._done:
            raise NoHttpError("more was answered than was asked")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._framed |= name.lower() in (b"content-length", b"transfer-encoding")
        if name.lower() == b"retry-after":
            self._retry = "".join(letter for letter in value[:40].decode("latin-1") if letter.isprintable())

    def on_headers_complete(self) -> None:
        # An answer in between (1xx) is followed by the real one.
        self._headed = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._kept < _KEPT_BODY:
            self._body.append(body)
            self._kept += len(body)

    def on_message_complete(self) -> None:
        # Asked later, the parser would speak of the next answer.
        self._done, self._stays = self._headed, self._parser.should_keep_alive()
