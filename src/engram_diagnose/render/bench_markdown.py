"""
A benchmark as Markdown, to paste into an issue.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from engram_diagnose.render.bench import SAYS, bench_view
from engram_diagnose.render.escape import cell_code, code, fenced, markdown

_GAPS: Final = re.compile(r"\n{3,}")


def bench_markdown(document: Mapping[str, Any]) -> str:
    """The report as Markdown: what the text says. Whatever stands in the document is shown as text."""
    return _GAPS.sub("\n\n", _template().render(view=bench_view(document), says=SAYS).strip()) + "\n"


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = SandboxedEnvironment(
        autoescape=True, finalize=_shown, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"cell_code": cell_code, "code": code, "fenced": fenced}
    text = resources.files("engram_diagnose").joinpath("templates", "bench.md.j2").read_text(encoding="utf-8")
    return environment.from_string(text)


def _shown(value: object) -> Markup:
    """What an expression of the template puts out: escaped, unless a filter has seen to it."""
    return value if isinstance(value, Markup) else markdown(str(value))
