"""
What works, and is seldom meant: notes on settings that can be used, for whoever checks them.
"""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from engram_diagnose.service.certificates import CertificateError, valid_until
from engram_diagnose.service.reading import described, is_loopback
from engram_diagnose.service.settings import DAY, MEBIBYTE, Settings

SOON: Final = timedelta(days=30)
"""How long before its end a certificate is spoken of: time enough to renew one by hand."""

ROOM: Final = 64 * MEBIBYTE
"""Room for some fifty diagnoses of a large deployment, each with its bundle of a megabyte."""


def cautions(settings: Settings, path: Path | None = None, *, now: datetime | None = None) -> Iterator[str]:
    """Each with what comes of it. `path` is the file that the settings were read from; `now` is for tests."""
    yield from _asked(settings)
    yield from _reached(settings)
    yield from _told_apart(settings)
    yield from _kept(settings)
    for certificate in _certificates(settings):
        yield from _lasting(certificate, now or datetime.now(UTC))
    for secret in _secret_files(settings):
        if _mode(secret) & 0o077:
            yield f"{secret} can be read by other users; chmod 600 {secret}"
    if path is not None and _mode(path) & 0o007 and _holds_secrets(path):
        yield f"{path} may hold a secret and can be read by other users; chmod o= {path}, or name a file that holds it"


def _asked(settings: Settings) -> Iterator[str]:
    if not settings.prometheus.url:
        yield "prometheus.url is not set: every diagnosis will say that nothing could be measured"
    if not settings.alertmanager.urls:
        yield "alertmanager.urls is not set: alerts that never arrived stay unknown, and no diagnosis is sent there"


def _reached(settings: Settings) -> Iterator[str]:
    beyond = not is_loopback(settings.host)
    if beyond and settings.auth.required and settings.tls.certificate is None:
        yield "tls is not set: secrets and pages cross the network in the clear, unless a proxy stands in between"
    if settings.public_url:
        return
    if beyond:
        yield "public_url is not set: links in messages point to the address that is listened at"
    elif settings.alertmanager.urls or settings.webhook.url or settings.webhook.url_file:
        yield f"public_url is not set: links in messages begin with {settings.base_url}, which only this host reaches"


def _told_apart(settings: Settings) -> Iterator[str]:
    about = settings.incidents
    if not about.instance_labels and not about.labels:
        yield (
            "incidents.instance_labels and incidents.labels are both empty: nothing tells incidents apart, and all "
            f"alerts within {about.window_seconds:.15g} seconds become one"
        )


def _kept(settings: Settings) -> Iterator[str]:
    kept = settings.retention
    if kept.days < 1 or kept.days * DAY < settings.incidents.window_seconds:
        yield (
            f"retention.days = {kept.days:.15g}: an incident that is closed is gone {kept.days * 24:.3g} hours later, "
            "with its page, before anybody has slept over it"
        )
    if kept.bytes < ROOM:
        yield (
            f"retention.bytes = {kept.bytes}: that is room for a few dozen diagnoses, and one storm of alerts deletes "
            "every closed incident before it"
        )


def _certificates(settings: Settings) -> list[Path]:
    logins = [settings.prometheus.login, settings.alertmanager.login, settings.webhook.login]
    return sorted({path for path in (settings.tls.certificate, *(one.client_cert for one in logins)) if path})


def _lasting(path: Path, now: datetime) -> Iterator[str]:
    try:
        until = valid_until(path.read_bytes())
    except (OSError, CertificateError) as error:
        yield f"how long {path} is valid cannot be told: {error}"
        return
    if until < now:
        yield f"{path} has a certificate that expired on {until:%Y-%m-%d}; callers refuse it: renew it and reload"
    elif until < now + SOON:
        yield f"{path} has a certificate that expires on {until:%Y-%m-%d}; renew it and reload"


def _secret_files(settings: Settings) -> list[Path]:
    logins = [settings.prometheus.login, settings.alertmanager.login, settings.webhook.login]
    found = [*settings.auth.bearer_token_files, settings.auth.basic_auth_file, settings.tls.key]
    found += [path for login in logins for path in (login.bearer_token_file, login.basic_auth_file)]
    found += [login.client_key or login.client_cert for login in logins]  # a certificate alone has its key in it
    found.append(settings.webhook.url_file)
    return sorted({path for path in found if path is not None})


def _mode(path: Path) -> int:
    """The permissions of a file; none where it cannot be asked, which others say."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0


def _holds_secrets(path: Path) -> bool:
    """Whether a key is set in this file whose value may be a secret: a header, or a URL with a password."""
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError):
        return False
    if urlsplit(str(_at(document, "webhook.url") or "")).path.strip("/"):
        return True  # of the place that is told, a path is as good as a password
    return any(about.hidden and _secret(_at(document, dotted)) for dotted, about in described(Settings))


def _at(document: dict[str, Any], dotted: str) -> Any:
    found: Any = document
    for name in dotted.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _secret(value: Any) -> bool:
    """Whether it may let somebody in: a header, a login within a URL, or a query. A plain address does not."""
    if isinstance(value, dict):
        return any(name.lower() not in _PLAIN_HEADERS for name in value)
    texts = value if isinstance(value, list) else [value]
    return any(isinstance(text, str) and ("@" in text or "?" in text) for text in texts)


_PLAIN_HEADERS: Final = frozenset({"x-scope-orgid", "accept", "user-agent"})
