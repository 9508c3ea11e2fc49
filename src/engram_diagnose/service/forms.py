"""
The form for a note: what it may hold, and that it was our page that sent it.
"""

import hmac
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl

AUTHOR: Final = 80
TEXT: Final = 4000
"""Characters of the longest author and text."""

COOKIE: Final = "engram-diagnose-form"
_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_FIELDS: Final = 8
_BREAKS: Final = re.compile(r"\r\n?")


class FormError(ValueError):
    """A note that cannot be kept; the message says why."""


@dataclass(frozen=True, slots=True)
class NoteForm:
    """A note as it was sent, before anything was asked of it."""

    author: str = ""
    text: str = ""
    token: str = ""


def parse_form(body: bytes) -> NoteForm:
    """The fields of `application/x-www-form-urlencoded`; raises `FormError`."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except (UnicodeDecodeError, ValueError):
        raise FormError("the form cannot be read; send it from the incident's page") from None
    fields = dict(pairs)
    return NoteForm(fields.get("author", ""), fields.get("text", ""), fields.get("token", ""))


def note_of(author: str, text: str) -> tuple[str, str]:
    """Author and text as they are kept; raises `FormError`."""
    author, text = author.strip(), _BREAKS.sub("\n", text).strip()
    if not text:
        raise FormError("the note is empty")
    for name, value, most in (("author", author, AUTHOR), ("text", text, TEXT)):
        if len(value) > most:
            raise FormError(f"the {name} has {len(value):,} characters; {most:,} is the most")
    try:
        f"{author}{text}".encode()
    except UnicodeEncodeError:
        raise FormError("the note holds half of a character; write it again") from None
    return author, text


class Tokens:
    """
    Tokens that tell our form from one on another site: each fits one browser and one incident.

    They are good as long as the process lives; a form from before a restart is shown again with what was written.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def session(self, cookie: str | None) -> str:
        """What the browser's cookie is to be: the one it has, or a new one."""
        return cookie if cookie and _SESSION.fullmatch(cookie) else secrets.token_urlsafe(24)

    def issue(self, session: str, incident: str) -> str:
        """The token for a form."""
        return hmac.new(self._key, f"{session}:{incident}".encode(), sha256).hexdigest()

    def fits(self, token: str, session: str | None, incident: str) -> bool:
        """Whether a form that came back is one of ours."""
        if not session or not _SESSION.fullmatch(session):
            return False
        return hmac.compare_digest(token.encode(), self.issue(session, incident).encode())
