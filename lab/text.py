"""
HTTP answers as bytes: heads are built once, an answer is a head, its length and its body.
"""

from typing import Final

import msgspec

JSON: Final = "application/json"
PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"

_REASONS: Final = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
END: Final = b"\r\n\r\n"
END_CLOSE: Final = b"\r\nConnection: close\r\n\r\n"
END_KEEP: Final = b"\r\nConnection: keep-alive\r\n\r\n"
"""What follows a length: nothing to say, the connection ends, and it stays although HTTP/1.0 would end it."""

Reply = tuple[bytes, bytes]
"""A head up to its length, and the body."""


def head(status: int, *, content_type: str = JSON, extra: str = "") -> bytes:
    """The head of an answer, up to the number that is its length; `extra` are whole header lines."""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nServer: engram-lab\r\n{extra}"
        f"Content-Type: {content_type}\r\nContent-Length: "
    ).encode()


OK: Final = head(200)
CREATED: Final = head(201)
METRICS: Final = head(200, content_type=PLAIN)
_HEADS: Final = {
    **{status: head(status) for status in _REASONS},
    429: head(429, extra="Retry-After: 1\r\n"),
    503: head(503, extra="Retry-After: 1\r\n"),
}
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "too_large",
    414: "url_too_long",
    415: "unsupported_media_type",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal",
    503: "busy",
    507: "disk_full",
}


def trouble(status: int, message: str, *, extra: str = "") -> Reply:
    """An answer that says what is wrong: `{"error": {"code": …, "message": …}}`."""
    body = msgspec.json.encode({"error": {"code": _CODES[status], "message": message}})
    return (head(status, extra=extra) if extra else _HEADS[status]), body


def document(value: object) -> Reply:
    """An answer of 200 with a JSON document."""
    return OK, msgspec.json.encode(value)
