"""
A benchmark as one HTML file, to open offline, mail or attach: verdicts, advice, curves, and what happened when.

It loads nothing and runs nothing: its one style sheet is inside, and its policy allows that sheet alone.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from markupsafe import Markup

from engram_diagnose.render.bench import SAYS, bench_view
from engram_diagnose.render.html import stylesheet, template

_TEMPLATE: Final = "bench.html.j2"
_STYLES: Final = ("plot.css", "bench.css")
_TONES: Final = {"pass": "good", "fail": "critical", "invalid": "warning"}


def bench_html(document: Mapping[str, Any]) -> str:
    """The report as a page; whatever stands in the document is shown as text, and none of it becomes markup."""
    page = {"view": bench_view(document), "says": SAYS, "tones": _TONES, "style": _style(), "policy": _policy()}
    return template(_TEMPLATE).render(page=page).strip() + "\n"


@lru_cache(maxsize=1)
def _style() -> Markup:
    folder = resources.files("engram_diagnose").joinpath("templates")
    own = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in _STYLES)
    return Markup(f"{stylesheet()}\n{own}")  # noqa: S704 -- our own files


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
