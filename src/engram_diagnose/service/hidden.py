"""
What must stand in no line of the log: every secret that the settings name, in each form in which it travels.
"""

import base64
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from engram_diagnose.service.passwords import parse_secrets
from engram_diagnose.service.settings import Login, Settings

_TELLING: Final = 4
"""Characters of the shortest text that is hidden; without shorter ones no line could be read."""
_HEADER: Final = 8
"""Likewise for headers: a tenant's number is none."""

_Seen = tuple[int, int, int] | None


class Secrets:
    """
    The secrets of the settings in force. Call it for all of them.

    Files are read again when they have changed, and what was secret once stays so: a line may tell of an earlier call.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._of: Settings | None = None
        self._files: dict[Path, _Seen] = {}
        self._known: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        """Every secret there is or was; a file that cannot be read holds none."""
        settings = self._settings()
        if settings is not self._of:
            self._known |= _telling(_written(settings))
            self._files = dict.fromkeys(_files(settings))
            self._of = settings
        for path, before in self._files.items():
            if (seen := _status(path)) != before:
                self._known |= _telling(_forms(_text(path)))
                self._files[path] = seen
        return self._known


def _logins(settings: Settings) -> tuple[Login, ...]:
    return settings.prometheus.login, settings.alertmanager.login, settings.webhook.login


def _files(settings: Settings) -> list[Path]:
    found = [*settings.auth.bearer_token_files, settings.auth.basic_auth_file, settings.webhook.url_file]
    for login in _logins(settings):
        found += [login.bearer_token_file, login.basic_auth_file]
    return [path for path in found if path is not None]


def _written(settings: Settings) -> Iterator[str]:
    """What the settings hold themselves: addresses and headers."""
    for url in (settings.prometheus.url, *settings.alertmanager.urls):
        yield from _of_login(url)
    yield from _of_url(settings.webhook.url)
    for login in _logins(settings):
        yield from (value for value in login.headers.values() if len(value) >= _HEADER)


def _forms(text: str) -> Iterator[str]:
    """A file's lines, the passwords of logins, and an address's path, as written and as they travel."""
    for secret in parse_secrets(text):
        yield from (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode())
    for line in text.split():
        yield from _of_url(line)


def _of_url(url: str) -> Iterator[str]:
    """Of the webhook's address everything after the host may be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if parts.scheme in ("http", "https"):
        yield from (parts.path, unquote(parts.path), parts.query)
        yield from _of_login(url)


def _of_login(url: str) -> Iterator[str]:
    """The password in an address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if parts.password:
        login = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
        yield from (parts.password, unquote(parts.password), base64.b64encode(login.encode()).decode())


def _telling(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(text for text in texts if len(text) >= _TELLING)


def _status(path: Path) -> _Seen:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
