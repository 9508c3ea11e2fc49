"""
The generic webhook: one JSON body for each diagnosis, made from a template.

Templates are the operator's. One that breaks must not lose the message, so a minimal body stands in for it.
"""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engram_diagnose.collectors.prometheus.options import PrometheusOptions, shown
from engram_diagnose.history.model import Alert, Finding, Incident
from engram_diagnose.service.announce import content_of
from engram_diagnose.service.login import LoginError, options_of, secret_of
from engram_diagnose.service.outgoing import Outgoing, Refused
from engram_diagnose.service.settings import Settings
from engram_diagnose.service.settings import Webhook as WebhookSettings

_BUILT_IN: Final = "webhook.json.j2"
_LARGEST: Final = 1 << 20
"""Bytes of a body."""

_HOSTILE: Final = 'a "quoted" \\ \n {{ value }} </script> 😀'


class WebhookTemplateError(ValueError):
    """A template that cannot be used; the message says where, why and what to do."""


class Webhook:
    """The place that is told. Nothing is raised when sending: what went wrong is a `Refused`."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._outgoing = Outgoing(lambda: _options(settings))

    async def close(self) -> None:
        """Close the connections."""
        await self._outgoing.close()

    async def send(self, body: bytes, key: str) -> Refused | None:
        """Post one message; None once it was taken. `key` is the same each time the same message is sent."""
        answer = await self._outgoing.post("", body, {"Idempotency-Key": key})
        return answer if isinstance(answer, Refused) else None


def template_of(path: Path | None) -> Template:
    """The operator's template, else the one that comes with the tool; raises `WebhookTemplateError`."""
    try:
        text = path.read_text(encoding="utf-8") if path else _built_in()
        return _environment().from_string(text)
    except OSError as error:
        raise WebhookTemplateError(
            f"cannot read {path}: {error.strerror or error}; check its path and its mode"
        ) from None
    except UnicodeDecodeError:
        raise WebhookTemplateError(f"{path} is not UTF-8 text; save it as that") from None
    except TemplateError as error:
        line = f", line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
        raise WebhookTemplateError(f"{path}{line}: {shown(str(error))}; correct the template") from None


def rendered(template: Template, content: Mapping[str, Any], key: str) -> bytes:
    """The body of one message; raises `WebhookTemplateError` where the template gives none, or what is not JSON."""
    try:
        text = template.render(**content, key=key)
    except Exception as error:  # it is the operator's program, and may fail in any way
        raise WebhookTemplateError(f"it fails with {type(error).__name__}: {shown(str(error))}") from None
    body = text.strip().encode("utf-8", "replace")
    if len(body) > _LARGEST:
        raise WebhookTemplateError(f"it makes {len(body):,} bytes, of which {_LARGEST:,} are allowed")
    try:
        json.loads(body, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        detail = f"what it makes is not JSON ({shown(str(error))}); pass each value through `tojson`"
        raise WebhookTemplateError(detail) from None
    return body


def minimal(content: Mapping[str, Any], key: str) -> bytes:
    """A body that needs no template: what was found, and where to read on."""
    found = {
        "key": key,
        "text": content["finding"]["summary"],
        "severity": content["finding"]["severity"],
        "incident": content["incident"]["id"],
        "link": content["incident"]["link"],
    }
    return json.dumps(found).encode()


def template_problem(path: Path | None, settings: Settings) -> str:
    """
    What is wrong with a template; empty when nothing is.

    It is tried on a diagnosis, on one without a cause, and on texts that would break out of a string.
    """
    try:
        template = template_of(path)
        for sample in _samples(settings):
            rendered(template, sample, "sample.webhook")
    except WebhookTemplateError as problem:
        text = str(problem)
        return text if path is None or text.startswith(("cannot read", str(path))) else f"{path}: {text}"
    return ""


def _built_in() -> str:
    return resources.files("engram_diagnose").joinpath("templates", _BUILT_IN).read_text(encoding="utf-8")


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # JSON, in which `tojson` escapes
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False, "default": _not_json}
    return environment


def _options(settings: WebhookSettings) -> PrometheusOptions:
    """Raises `LoginError`; the address may come from a file, since it may be a secret itself."""
    url = secret_of(settings.url_file) if settings.url_file else settings.url
    try:
        return options_of(url, settings.login)
    except LoginError as error:
        raise LoginError(f"[webhook]: {error}") from None


def _not_json(value: object) -> str:
    """An undefined name says so here; raises `TypeError` for anything else."""
    if isinstance(value, Undefined):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _samples(settings: Settings) -> list[dict[str, Any]]:
    def sample(text: str, finding: Finding) -> dict[str, Any]:
        labels = {"alertname": text, "severity": "critical"}
        alert = Alert("0", "firing", labels, {}, 1_700_000_000.0)
        incident = Incident("sample", "sample", text, 1_700_000_000.0, 1_700_000_001.0, alerts=(alert,))
        return content_of(incident, finding, settings)

    plain = Finding("sample", 1_700_000_002.0, "missed", "critical", "1 symptom found, 1 cause concluded",
                    "a-rule", "A cause", 0.87, "do this")  # fmt: skip
    nothing = Finding("sample", 1_700_000_002.0, "untested", "", "no target could be tested")
    hostile = Finding("sample", 1_700_000_002.0, "missed", "warning", _HOSTILE, "a-rule", _HOSTILE, 0.5, _HOSTILE)
    return [sample("server", plain), sample("", nothing), sample(_HOSTILE, hostile)]
