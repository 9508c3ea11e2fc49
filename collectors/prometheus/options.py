"""
How to reach a Prometheus, and why it could not be reached.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from engram_diagnose.engine.facts.fact import Reason

MAX_ANSWER_BYTES: Final = 64 * 2**20
_SHOWN: Final = 300
_TELLING: Final = 8
"""Characters from which the value of an extra header may be a secret; a tenant's number is none."""


@dataclass(frozen=True, slots=True)
class PrometheusOptions:
    """
    Where and how to ask. Secrets are left out of `repr`.

    `url` is the part before `/api/v1`, such as `http://localhost:9090` or
    `https://mimir/prometheus`; a user and password in it count as `user` and `password`. `ca_file`
    replaces the system's certificates; `client_key` may be empty when `client_cert` holds both.
    `timeout` is in seconds, for a whole question; `max_bytes` caps an answer.
    """

    url: str
    bearer_token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool = True
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    timeout: float = 10.0
    max_bytes: int = MAX_ANSWER_BYTES


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer: a reason for facts, the particular, and what to do next."""

    reason: Reason
    detail: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.detail}; {self.next_step}"


def address_of(options: PrometheusOptions) -> str:
    """
    The URL without user and password, fit for messages, and without a trailing slash or `/api/v1`.

    Raises `ValueError` for what is not an http or https URL with a host.
    """
    parts = _split(options.url)
    path = re.sub(r"/api(/v1(/query)?)?$", "", parts.path.rstrip("/"))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))


def login_of(options: PrometheusOptions) -> tuple[str, str] | None:
    """User and password for basic authentication; None when there is neither."""
    parts = _split(options.url)
    user = options.user or unquote(parts.username or "")
    password = options.password or unquote(parts.password or "")
    return (user, password) if user or password else None


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isprintable():
        raise ValueError("the address of Prometheus is not a URL such as http://localhost:9090")
    return parts


def problem_of(options: PrometheusOptions) -> str:
    """What is wrong with the options before anything is sent; empty when nothing is. Shows no secret."""
    for name, value in {**options.headers, "the bearer token": options.bearer_token}.items():
        if not (value.isascii() and value.isprintable()):
            return f"the value of {shown(name)} holds what no header may, such as a line end"
    for name in options.headers:
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            return f"{shown(name)} is not the name of a header"
    return ""


def redacted(text: str, options: PrometheusOptions) -> str:
    """`text` as one printable line of at most 300 characters in which no secret of the options stands."""
    for secret in sorted(_secrets(options), key=len, reverse=True):
        text = text.replace(secret, "***")
    return shown(text)


def _secrets(options: PrometheusOptions) -> set[str]:
    secrets = {options.bearer_token, options.password}
    secrets |= {value for value in options.headers.values() if len(value) >= _TELLING}
    try:
        login = login_of(options)
    except ValueError:
        login = None
    if login is not None:
        secrets |= {login[1], base64.b64encode(":".join(login).encode()).decode()}
    return {secret for secret in secrets if secret}


def shown(text: str) -> str:
    """`text` as one line fit for any terminal, 300 characters at most."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * _SHOWN])
    line = " ".join(line.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
