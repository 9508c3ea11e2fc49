"""
Printing a diagnosis, and the exit code it comes to.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

FORMATS: Final = ("text", "json", "markdown")
DIAGNOSIS_FORMATS: Final = (*FORMATS, "html")
SEVERITIES: Final = ("info", "warning", "critical")

CLEAN, FINDINGS, USAGE, NOT_COLLECTED, NOT_MEASURED = range(5)
"""Exit codes."""


def rendered(document: dict[str, Any], form: str, *, verbose: bool = False, width: int = 0, color: bool = False) -> str:
    """A diagnosis document in one of `DIAGNOSIS_FORMATS`; HTML always holds everything."""
    if form == "json":
        from engram_diagnose.render.json import render_json

        return render_json(document)
    if form == "markdown":
        from engram_diagnose.render.markdown import render_markdown

        return render_markdown(document)
    if form == "html":
        from engram_diagnose.render.html import render_html

        return render_html(document)
    from engram_diagnose.render.text import render_text

    return render_text(document, console_width=width or 80, color=color, verbose=verbose)


def print_document(document: dict[str, Any], form: str, output: str, *, verbose: bool) -> None:
    """
    Print to stdout, or write to a file, whole or not at all.

    Raises `CannotWriteError` when it cannot be written.
    """
    print_text(lambda width, color: rendered(document, form, verbose=verbose, width=width, color=color), output)


def print_text(render: Callable[[int, bool], str], output: str = "") -> None:
    """
    Print what `render` makes of so many columns, with colour or without, or write it to a file.

    Raises `CannotWriteError` when it cannot be written.
    """
    terminal = not output and sys.stdout is not None and sys.stdout.isatty()
    text = render(text_width(terminal=terminal), terminal and not os.environ.get("NO_COLOR"))
    if output:
        write_text(Path(output), text)
    else:
        click.echo(text, nl=not text.endswith("\n"))


def text_width(*, terminal: bool) -> int:
    """Columns of the terminal; of what COLUMNS says, else 80, where there is none."""
    if terminal:
        return shutil.get_terminal_size((80, 24)).columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and columns.isascii() else 80


def refuse_overwriting(output: str, read: dict[str, str | None]) -> None:
    """Keep what is written from taking the place of what is read; raises `click.UsageError`."""
    for option, name in read.items():
        if output and name and os.path.realpath(output) == os.path.realpath(name):
            raise click.UsageError(f"--output names the file of {option}, which would be lost; name another")


class CannotWriteError(click.ClickException):
    """Output that could not be written; not to be taken for findings."""

    exit_code = USAGE


def write_text(path: Path, text: str) -> None:
    """
    Write a file whole or not at all; a device or a pipe is written to.

    Raises `CannotWriteError`.
    """
    from engram_diagnose.collectors.whole_file import write_whole

    try:
        write_whole(path, (text if text.endswith("\n") else text + "\n").encode())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotWriteError(f"cannot write {path}: {reason}; choose another --output") from None


def exit_code(document: dict[str, Any], fail_on: str) -> int:
    """1 for findings at or above `fail_on`, else 4 when no target could be tested, else 0."""
    severity = document["verdict"]["severity"]
    if fail_on != "never" and severity is not None and SEVERITIES.index(severity) >= SEVERITIES.index(fail_on):
        return FINDINGS
    return NOT_MEASURED if document["verdict"]["state"] == "untested" else CLEAN
