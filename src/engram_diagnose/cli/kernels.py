"""`engram-diagnose kernels`: what this host can attain."""

import codecs
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engram_diagnose.cli.options import named_option, progress, rules_option, say
from engram_diagnose.cli.output import CLEAN, NOT_COLLECTED, print_text, refuse_overwriting
from engram_diagnose.kernels.measure.suite import INDEX, PARTS

if TYPE_CHECKING:
    from engram_diagnose.attaining.standing import Attained

FORMATS = ("text", "json", "html")


class Share(click.ParamType):  # type: ignore[type-arg]  # as the other types of options
    """A share, such as 95% or 0.95."""

    name = "SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuses 95: of 100 or of 1, it cannot be meant."""
        from engram_diagnose.engine.facts.unit import NUMBER, parse_quantity

        if isinstance(value, float):
            return value
        try:
            found = parse_quantity(value)
        except ValueError:
            found = None
        if found is None or found.unit.dimension != NUMBER or not 0 < found.value <= 1:
            self.fail(f"{value!r} is no share; write 95% or 0.95", param, ctx)
        return found.value


_LISTED = "\n".join(f"  {part.name:<11} {part.about}{'' if part.usual else '; when named'}" for part in PARTS)


@click.command(epilog=f"\b\nNAME is one of these, all of the usual ones when none is given:\n{_LISTED}")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice([part.name for part in PARTS]))
@named_option("--data-dir", default="", metavar="DIR", help="Where the server keeps its data: wal writes there.")
@click.option("--although-busy", is_flag=True, help="Measure also while others use the host.")
@click.option("--show", is_flag=True, help="Print what was measured before, and measure nothing.")
@click.option("--vectors", default="", metavar="FILE.npy", help="hnsw: a sample of your own vectors, one a row.")
@click.option("--recall", type=Share(), metavar="SHARE", help="hnsw: the recall that is wanted, such as 95%.")
@rules_option
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", "-o", default="", metavar="FILE", help="Write there instead of stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    data_dir: str,
    although_busy: bool,
    show: bool,
    vectors: str,
    recall: float | None,
    packs: tuple[Path, ...],
    form: str,
    output: str,
) -> None:
    """
    Measure what this host can attain, and keep it for a month: later diagnoses hold the server against it.

    To be run on the server's host while it is idle; takes about ten seconds of all CPUs and up to 1 GiB of memory.
    What was measured before Ctrl-C is kept. Exit: 0 done, 2 usage, 3 nothing could be measured, or nothing to show.
    """
    from engram_diagnose.attaining.measuring import Wish, folder_of, measure_host
    from engram_diagnose.attaining.record import chosen, kept_record, measured
    from engram_diagnose.attaining.standing import attained_here
    from engram_diagnose.collectors.capture.ending import end_like_interrupted
    from engram_diagnose.collectors.capture.machine import host_identity

    refuse_overwriting(output, {"--vectors": vectors})
    if (vectors or recall) and INDEX not in names:
        raise click.UsageError(f"--vectors and --recall are for {INDEX}; name it: engram-diagnose kernels {INDEX}")
    wish = Wish(names, folder_of(data_dir), although_busy, vectors, recall or 0.0)
    if show:
        record = kept_record(host_identity().id)
    else:
        end_like_interrupted()
        record = measure_host(wish, packs, say=say, progress=progress)
    shown = attained_here(chosen(record, names), packs, folder=data_dir)
    _print(shown, form, output)
    ctx.exit(CLEAN if measured(shown.record) else NOT_COLLECTED)


def _print(attained: "Attained", form: str, output: str) -> None:
    def rendered(width: int, color: bool) -> str:
        if form == "json":
            from engram_diagnose.render.json import render_json

            return render_json(attained.record)
        if form == "html":
            from engram_diagnose.render.kernels_html import render_kernels_html

            return render_kernels_html(attained)
        from engram_diagnose.render.kernels import render_kernels

        return render_kernels(attained, console_width=width, color=color, ascii_only=not output and not _draws())

    print_text(rendered, output)


def _draws() -> bool:
    """Whether what is printed to can show the characters that lines are drawn with."""
    try:
        return codecs.lookup(sys.stdout.encoding).name.startswith("utf")
    except (AttributeError, LookupError, TypeError):
        return False
