"""
What an API says when it cannot do what was asked: problem details (RFC 9457).
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"


class ProblemError(Exception):
    """A request that is answered with `status` and a sentence that says what is wrong and what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase


def problem(error: ProblemError) -> Response:
    """The problem as JSON. The path is not repeated in it: the caller knows what it asked."""
    return json_response(details(error.status, error.detail), error.status, error.headers, MEDIA_TYPE)


def details(status: int, detail: str) -> dict[str, object]:
    """What a problem says of itself."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def json_response(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    """JSON in ASCII, so that no text in it acts on a terminal."""
    return Response(json.dumps(content, allow_nan=False) + "\n", status, headers, media_type)
