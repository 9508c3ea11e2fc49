"""`engram-diagnose verify`: did it help?"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engram_diagnose.cli.options import Instant, login_options, progress, request_of, rules_option, say, together
from engram_diagnose.cli.output import CLEAN, FINDINGS, FORMATS, NOT_MEASURED, print_text

if TYPE_CHECKING:
    from engram_diagnose.verification.prometheus import Span

CODES: Final = {"improved": CLEAN, "no change": CLEAN, "worse": FINDINGS, "held": CLEAN, "regressed": FINDINGS}
"""Exit codes of verdicts; every other one is `NOT_MEASURED`."""

_NO_SERVER: Final[dict[str, Any]] = {
    "node_instance": "", "metrics_url": "", "server_url": "", "config_file": "", "data_dir": "", "pid": None,
    "at": None, "seconds": 5.0, "before": 3600.0, "local": False, "memory_constrained": False, "target_set": None,
}  # fmt: skip
"""What a comparison of windows does not ask: it knows nothing but Prometheus."""

form_options = together(
    click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True),
    click.option("--output", "-o", default="", metavar="FILE", help="Write there instead of stdout."),
)
assume_option = click.option(
    "--assume-comparable", "assumed", is_flag=True, help="Say that the load was the same; the report repeats it."
)


@click.command()
@click.option(
    "--before",
    multiple=True,
    required=True,
    metavar="SIDE",
    help="A bundle, a benchmark, or FROM/TO; repeatable.",
)
@click.option("--after", multiple=True, required=True, metavar="SIDE", help="The same, after the change; repeatable.")
@click.option("--figure", "figures", multiple=True, metavar="NAME{LABELS}", help="Compare this figure; repeatable.")
@assume_option
@click.option("--prometheus", metavar="URL", envvar="ENGRAM_DIAGNOSE_PROMETHEUS", help="Compare two windows of it.")
@click.option(
    "--instance", default="", metavar="HOST:PORT", envvar="ENGRAM_DIAGNOSE_INSTANCE", help="The server, in Prometheus."
)
@click.option("--dialect", default="", metavar="NAME", envvar="ENGRAM_DIAGNOSE_DIALECT", help="Which names to expect.")
@login_options
@rules_option
@click.option("--record/--no-record", default=True, help="Whether to tell the ledger what came of a patch.")
@form_options
@click.pass_context
def command(ctx: click.Context, /, before: tuple[str, ...], after: tuple[str, ...], figures: tuple[str, ...],
            assumed: bool, packs: tuple[Path, ...], record: bool, form: str, output: str,
            **source: Any) -> None:  # fmt: skip
    """
    Compare before and after: did the change help?

    SIDE is a bundle of `collect`, a benchmark result (FILE#LABEL for one label's runs), or with FROM/TO a window of
    Prometheus: 2026-11-22T01:00Z/2026-11-22T01:30Z, or 90m/60m ago. The load is compared first. Exit: 0 improved or no
    change, 1 worse, 2 usage, 3 nothing could be read, 4 not comparable or inconclusive.
    """
    from engram_diagnose.verifying import Wish, usual_ledger, verify_files, verify_windows

    wish, now = Wish(figures, assumed, record), time.time()
    windows = _windows(ctx, before, after, source["prometheus"])
    with usual_ledger(say) as ledger:
        if windows:
            request = request_of({**_NO_SERVER, **source})
            document = verify_windows(
                *windows, request, packs, wish, now=now, say=say, progress=progress, ledger=ledger
            )
        else:
            document = verify_files(before, after, packs, wish, now=now, say=say, ledger=ledger)
    print_verification(document, form, output)
    ctx.exit(CODES.get(document["verdict"]["state"], NOT_MEASURED))


def _windows(ctx: click.Context, before: tuple[str, ...], after: tuple[str, ...],
             prometheus: str | None) -> "tuple[list[Span], list[Span]] | None":  # fmt: skip
    """The windows that the sides are; None where they are files. Raises `click.UsageError`."""
    if all(os.path.exists(name.rpartition("#")[0] or name) or os.path.exists(name) for name in (*before, *after)):
        return None
    spans = [_span(ctx, text) for text in (*before, *after)]
    if not any(spans):
        if prometheus and ctx.get_parameter_source("prometheus") is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{before[0]!r} is no window; write FROM/TO, such as 90m/60m")
        return None
    if not prometheus:
        raise click.UsageError("a window needs --prometheus URL to be asked")
    found = [span for span in spans if span is not None]
    if len(found) < len(spans):
        raise click.UsageError("one side is a window and another is a file; give sides of one kind")
    then, now = found[: len(before)], found[len(before) :]
    if max(span.end for span in then) > min(span.start for span in now):
        raise click.UsageError("the before and after windows overlap, or are turned round")
    return then, now


def _span(ctx: click.Context, text: str) -> "Span | None":
    """`FROM/TO`; None for what is no window. Raises `click.UsageError` for one that ends before it starts."""
    from engram_diagnose.verification.prometheus import Span

    start, slash, end = text.partition("/")
    if not slash:
        return None
    try:
        first, last = (Instant().convert(part.strip(), None, ctx) for part in (start, end))
    except click.BadParameter as error:
        if text.count("/") == 1 and text[:1].isdigit():
            raise click.UsageError(f"{text!r} is no window: {error.message}") from None
        return None
    if last <= first:
        raise click.UsageError(f"the window {text} ends before it starts")
    return Span(first, last, text)


def print_verification(document: dict[str, Any], form: str, output: str) -> None:
    """Print a comparison to stdout, or write it to a file; raises `CannotWriteError`."""
    print_text(lambda width, color: _rendered(document, form, width, color), output)


def _rendered(document: dict[str, Any], form: str, width: int, color: bool) -> str:
    if form == "json":
        from engram_diagnose.render.json import render_json

        return render_json(document)
    if form == "markdown":
        from engram_diagnose.render.verification_markdown import verification_markdown

        return verification_markdown(document)
    from engram_diagnose.render.verification_text import verification_text

    return verification_text(document, console_width=width, color=color)
