"""
Looks at what the settings name, before the service depends on it: secrets, certificates, templates.
"""

from collections.abc import Iterator

from engram_diagnose.service.doors import unusable_secrets
from engram_diagnose.service.listening import ListenError, tls_context
from engram_diagnose.service.login import LoginError, options_of, secret_of
from engram_diagnose.service.settings import Settings
from engram_diagnose.service.webhook import template_problem


def problems_of(settings: Settings) -> tuple[str, ...]:
    """What cannot be used, each with what to do about it; empty when everything can."""
    return tuple(_problems(settings))


def _problems(settings: Settings) -> Iterator[str]:
    yield from unusable_secrets(settings.auth)
    try:
        tls_context(settings.tls)
    except ListenError as error:
        yield f"tls: {error}"
    for name, urls in _asked(settings).items():
        for url in urls:
            try:
                options_of(url, getattr(settings, name).login)
            except LoginError as error:
                yield f"{name}: {error}"
    if problem := template_problem(settings.webhook.template, settings):
        yield problem


def _asked(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The addresses that are asked, by the table that names them."""
    about = settings.webhook
    url = _of_file(settings) if about.url_file else about.url
    found = {"prometheus": (settings.prometheus.url,), "alertmanager": settings.alertmanager.urls, "webhook": (url,)}
    return {name: tuple(url for url in urls if url) for name, urls in found.items()}


def _of_file(settings: Settings) -> str:
    assert settings.webhook.url_file is not None  # noqa: S101 -- narrows the type
    try:
        return secret_of(settings.webhook.url_file)
    except LoginError:
        return "?"  # which is no URL, and said to be none
