"""`engram-diagnose slow-queries`: which operations are slow, in which spaces, with what pattern, and why."""

from pathlib import Path
from typing import Any

import click

from engram_diagnose.cli.options import Duration, bundle_of, bundle_or_collection, progress, say
from engram_diagnose.cli.output import (
    CLEAN,
    FINDINGS,
    FORMATS,
    NOT_COLLECTED,
    NOT_MEASURED,
    USAGE,
    print_text,
    refuse_overwriting,
)


class Latency(click.ParamType):  # type: ignore[type-arg]  # as the other types of options
    """A latency with its unit, such as 10ms, 250us or 1.5s; in seconds."""

    name = "LATENCY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuses figures without a unit: 10 could be meant in two."""
        from engram_diagnose.engine.facts.unit import TIME, parse_quantity

        if isinstance(value, float):
            return value
        try:
            found = parse_quantity(value)
        except ValueError:
            found = None
        if found is None or found.unit.dimension != TIME or not 0 < found.value < 3600:
            self.fail(f"{value!r} is no latency; write 10ms, 250us or 1.5s", param, ctx)
        return found.value


@click.command()
@click.option("--over", type=Latency(), metavar="LATENCY", help="From where on a P99 is slow.  [default: (10ms)]")
@click.option("--since", type=Duration(), metavar="DURATION", help="How far to look back.  [default: (1h)]")
@click.option("--summary", is_flag=True, help="One line for each slow operation.")
@bundle_or_collection("Analyse a bundle instead of collecting.", targets=False)
@click.option("--save", metavar="FILE", help="Keep the bundle that was collected.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", "-o", default="", metavar="FILE", help="Write there instead of stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    over: float | None,
    since: float | None,
    summary: bool,
    bundle: str | None,
    packs: tuple[Path, ...],
    save: str | None,
    form: str,
    output: str,
    **collection: Any,
) -> None:
    """
    Find slow operations by memory space, each with its own ranked causes, advice, pattern and PromQL to paste.

    Exit: 0 nothing is slow, 1 something is, 2 usage, 3 nothing could be collected, 4 no latency is known.
    """
    from engram_diagnose.diagnosing import save_bundle
    from engram_diagnose.slow_queries.command import analysed, collected_since

    refuse_overwriting(output, {"--config": collection["config_file"], "--bundle": bundle, "--save": save})
    gathered = bundle_of(
        ctx, bundle, collection, lambda request: collected_since(request, packs, since, say=say, progress=progress)
    )
    document = analysed(gathered, packs, over)
    _print(document, form, output, summary=summary)
    saved = not save or save_bundle(save, gathered, say=say)
    ctx.exit(USAGE if not saved else _exit_code(document, collected=any(one.answered for one in gathered.answers)))


def _exit_code(document: dict[str, Any], *, collected: bool) -> int:
    if document["slow"]:
        return FINDINGS
    if not collected:
        return NOT_COLLECTED
    return CLEAN if document["within"] or document["unsure"] else NOT_MEASURED


def _print(document: dict[str, Any], form: str, output: str, *, summary: bool) -> None:
    from engram_diagnose.render.json import render_json
    from engram_diagnose.render.slow_queries import render_slow_queries, slow_queries_markdown

    def rendered(width: int, color: bool) -> str:
        if form == "json":
            return render_json(document)
        if form == "markdown":
            return slow_queries_markdown(document, summary=summary)
        return render_slow_queries(document, summary=summary, console_width=width, color=color)

    print_text(rendered, output)
