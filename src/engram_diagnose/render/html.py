"""
The report as one HTML file: what the text says, to open offline, mail or attach.

It loads nothing and runs nothing: its one style sheet is inside, and its policy allows that sheet alone.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from jinja2 import FunctionLoader, StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from engram_diagnose.render.first_steps import first_steps
from engram_diagnose.render.neutral import printing
from engram_diagnose.render.view import NOTES, report

_TEMPLATE: Final = "report.html.j2"
_STYLE: Final = "static/engram-diagnose.css"
_TONES: Final = {"critical": "critical", "warning": "warning", "info": "info", "HEALTHY": "good"}


def render_html(document: Mapping[str, Any]) -> str:
    """
    The diagnosis as a page, everything in it told and what is not the answer folded away.

    Whatever stands in the document is shown as text; none of it becomes markup.
    """
    view = report(document, verbose=True)
    return template(_TEMPLATE).render(report=view, first=first_steps(view), policy=_policy()).strip() + "\n"


def template(name: str) -> Template:
    """A template of `templates/`, whose expressions are escaped and made harmless as they are put out."""
    return _environment().get_template(name)


@lru_cache(maxsize=1)
def stylesheet() -> Markup:
    """The style sheet, as it stands within a page."""
    return Markup("\n" + _read(_STYLE))  # noqa: S704 -- our own file


@lru_cache(maxsize=1)
def style_source() -> str:
    """What a Content-Security-Policy calls the style sheet within a page: `'sha256-...'`."""
    digest = hashlib.sha256(stylesheet().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def tone(verdict: str, label: str = "") -> str:
    """The class of a severity, or of a verdict's one word where it has none."""
    return _TONES.get(verdict) or _TONES.get(label, "open")


def _policy() -> str:
    return f"default-src 'none'; style-src {style_source()}; img-src data:; base-uri 'none'; form-action 'none'"


@lru_cache(maxsize=1)
def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        autoescape=True, finalize=_shown, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        loader=FunctionLoader(_read),
    )  # fmt: skip
    environment.filters["tone"] = tone
    environment.globals |= {"notes": NOTES, "stylesheet": stylesheet}
    return environment


def _read(name: str) -> str:
    return resources.files("engram_diagnose").joinpath("templates", name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """What an expression of a template puts out: nothing that acts, on the page or where it is pasted."""
    return value if isinstance(value, Markup) else printing(str(value))
