"""
Answers that never change: a diagnosis is made once, and its evidence is what it was.
"""

from email.utils import formatdate, parsedate_to_datetime
from hashlib import sha256
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

FOREVER: Final = "private, max-age=31536000, immutable"


def unchanging(request: Request, body: bytes, made_at: float, media_type: str, *, download: str = "") -> Response:
    """The body with its validators, or 304 where the caller has it. `download` is a file name of plain letters."""
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Last-Modified": formatdate(made_at, usegmt=True), "Cache-Control": FOREVER}
    if _held(request, tag, made_at):
        return Response(status_code=304, headers=headers)
    if download:
        headers["Content-Disposition"] = f'attachment; filename="{download}"'
    return Response(body, headers=headers, media_type=media_type)


def _held(request: Request, tag: str, made_at: float) -> bool:
    """Whether the caller's copy is this one. A tag goes before a date (RFC 9110, 13.1.3)."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in tags.split(","))
    since = request.headers.get("if-modified-since")
    try:
        return since is not None and int(made_at) <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError, TypeError):
        return False
