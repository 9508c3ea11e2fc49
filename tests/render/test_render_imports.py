"""What each format imports: a report in the terminal pays for no template, a template for no terminal."""

import subprocess
import sys

import pytest

HEAVY = ("jinja2", "jsonschema", "markdown_it", "numba", "numpy", "rich", "yaml", "engram_diagnose.engine")


def imported(module: str) -> set[str]:
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", ["text", "json", "why", "how", "view"])
def test_text_and_json_import_nothing_heavy(module: str) -> None:
    assert imported(f"engram_diagnose.render.{module}") == set()


def test_markdown_imports_templates_alone() -> None:
    assert imported("engram_diagnose.render.markdown") == {"jinja2"}
