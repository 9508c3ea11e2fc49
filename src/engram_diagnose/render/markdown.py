"""
The report as Markdown, to paste into an issue.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from engram_diagnose.render.escape import cell_code, code, fenced, markdown
from engram_diagnose.render.view import NOTES, report

_TEMPLATE: Final = "report.md.j2"
_GAPS: Final = re.compile(r"\n{3,}")


def render_markdown(document: Mapping[str, Any], *, verbose: bool = False) -> str:
    """
    The diagnosis as Markdown: what the text says, in headings, lists and tables.

    Whatever stands in the document is shown as text; none of it becomes markup.
    """
    text = _template().render(report=report(document, verbose=verbose), notes=NOTES, verbose=verbose)
    return _GAPS.sub("\n\n", text.strip()) + "\n"


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = SandboxedEnvironment(
        autoescape=True, finalize=_shown, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"code": code, "cell_code": cell_code, "fenced": fenced}
    text = resources.files("engram_diagnose").joinpath("templates", _TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(text)


def _shown(value: object) -> Markup:
    """What an expression of the template puts out: escaped, unless a filter has seen to it."""
    return value if isinstance(value, Markup) else markdown(str(value))
