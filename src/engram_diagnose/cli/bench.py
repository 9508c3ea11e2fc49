"""`engram-diagnose bench`: load a server, and say what came of it."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final, Self

import click

from engram_diagnose.cli.options import SETS, Duration, named_option, rules_option, say
from engram_diagnose.cli.output import (
    CLEAN,
    FINDINGS,
    NOT_MEASURED,
    USAGE,
    CannotWriteError,
    print_text,
    refuse_overwriting,
)

FORMATS: Final = ("text", "json", "markdown", "html", "junit")
WORKLOADS: Final = ("suite", "store", "recall", "mixed", "multi-tenant", "burst", "ramp")
_CODES: Final = {"pass": CLEAN, "partly": CLEAN, "fail": FINDINGS}
"""Exit codes of verdicts; every other one is `NOT_MEASURED`."""


@click.command()
@click.argument("url", required=False)
@click.option("--workload", type=click.Choice(WORKLOADS), default="suite", show_default=True, help="What to ask for.")
@click.option("--set", "targets", type=click.Choice(SETS), default="target", show_default=True,
              help="Which set of targets to hold it to.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Operations a second.  [default: the set's]")
@click.option("--seconds", type=Duration(), help="How long each load is measured.  [default: (20s)]")
@click.option("--connections", type=click.IntRange(min=1), help="Clients at the same time.  [default: (64)]")
@click.option("--memories", type=click.IntRange(min=0), help="Stored before the first recall.  [default: (4000)]")
@click.option("--spaces", type=click.IntRange(min=1), help="Memory spaces of the multi-tenant load.  [default: (4)]")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that send.  [default: by the rate and CPUs]")
@click.option("--cluster", default="", metavar="ADDRESS",
              help="A Dask scheduler whose machines send, instead of this one.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="The same seed, the same load."
)
@click.option(
    "--confirm", multiple=True, metavar="HOSTNAME", help="Say that this host may be loaded; for any other machine."
)
@click.option("--dry-run", is_flag=True, help="Show the plan, and send nothing.")
@click.option("--warm-up/--no-warm-up", default=True, help="Whether to load until the figures are stable first.")
@click.option("--quality/--no-quality", default=True, help="Whether to measure how many true neighbours recalls find.")
@click.option("--diagnose/--no-diagnose", default=True, help="Whether to look at the server meanwhile, and advise.")
@click.option(
    "--against", default="", metavar="NAME|URL", help="A saved run to compare with, or a server to alternate with."
)
@click.option("--runs", type=click.IntRange(1, 100), default=8, show_default=True, help="Runs a side, against a URL.")
@click.option("--save", default="", metavar="NAME", help="Keep the report under a name.")
@click.option("--replace", is_flag=True, help="Also where there is one of that name.")
@click.option("--bundles", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Keep a bundle of each load there, for run --bundle.")  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="List the saved runs.")
@click.option("--show", default="", metavar="NAME|FILE", help="Show a saved run again.")
@click.option("--prune", type=click.IntRange(min=0), metavar="N", help="Remove all but the N newest saved runs.")
@named_option("--config", "config_file", default="", metavar="FILE", help="The server's configuration file.")
@named_option("--data-dir", default="", metavar="DIR", help="Where the server keeps its data.")
@named_option("--pid", type=click.IntRange(min=1), help="The server's process on this host.")
@named_option("--dialect", default="", metavar="NAME", help="Which release's names to expect, when it cannot be told.")
@named_option("--server-token-file", type=click.Path(exists=True, dir_okay=False), help="File with the API key.")
@rules_option
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", "-o", default="", metavar="FILE", help="Write there instead of stdout.")
@click.pass_context
def command(ctx: click.Context, /, url: str | None, form: str, output: str, **options: Any) -> None:
    """
    Load the server at URL, hold it to a set of targets, and say what limits it.

    Open loop: requests start when the plan says, whatever the server does. The plan is shown first; it writes to
    memory spaces of its own, and removes them. Exit: 0 passed, 1 failed, 2 usage, 3 no server to load, 4 INVALID (the
    client was the bottleneck) or not measured.
    """
    refuse_overwriting(output, {"--config": options["config_file"]})
    _refuse_unwritable(output)
    if options["listing"] or options["prune"] is not None:
        _saved(listing=options["listing"], keep=options["prune"])
        return
    if options["show"]:
        from engram_diagnose.bench.saved import load_run

        report = load_run(options["show"])
    elif not url:
        raise click.UsageError("name the server to load, such as http://127.0.0.1:7432")
    elif "://" in options["against"]:
        _alternate(ctx, url, form, output, options)
        return
    else:
        found = _benchmarked(url, options)
        if found is None:
            return
        report = found
    code = _printed(report, form, output)
    ctx.exit(_kept(report, options) or code or _CODES.get(report["verdict"]["state"], NOT_MEASURED))


def _refuse_unwritable(output: str) -> None:
    """Before minutes of load, not after them; raises `click.UsageError`."""
    folder = Path(output).absolute().parent
    if output and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise click.UsageError(f"--output: {folder} is no folder that can be written to")


def _printed(report: dict[str, Any], form: str, output: str) -> int:
    """Print or write the report; where it cannot be written it goes to stdout instead, and the code is `USAGE`."""
    try:
        print_text(lambda width, color: rendered(report, form, width, color), output)
    except CannotWriteError as error:
        say(f"engram-diagnose: {error.message}; here it is instead")
        print_text(lambda width, color: rendered(report, form, width, color))
        return USAGE
    return 0


class Talk:
    """What is said while a load runs: lines that stay, and below them, where somebody watches, one that changes."""

    def __init__(self) -> None:
        self._watched = sys.stderr is not None and sys.stderr.isatty()
        self._shown = False

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        say(text)

    def progress(self, text: str) -> None:
        """The line that changes."""
        if self._watched:
            width = shutil.get_terminal_size((80, 24)).columns
            click.echo(f"\r\x1b[K… {text}"[: width + 3], nl=False, err=True)
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()


def _benchmarked(url: str, options: dict[str, Any]) -> dict[str, Any] | None:
    from engram_diagnose.bench.command import benchmarked
    from engram_diagnose.bench.saved import check_free, load_run

    if options["save"]:
        check_free(options["save"], replace=options["replace"])
    before = load_run(options["against"]) if options["against"] else None
    with Talk() as talk:
        report = benchmarked(_order(url, options), options["packs"], say=talk.say, progress=talk.progress)
    if report is not None and before is not None:
        from engram_diagnose.bench.against import beside

        report["notes"] += beside(before, report, options["packs"], name=options["against"])
    return report


def _order(url: str, options: dict[str, Any]) -> Any:
    from engram_diagnose.bench.command import Order, tag
    from engram_diagnose.bench.plans import Wanted
    from engram_diagnose.cli.options import secret

    for option, name in (("--config", "config_file"), ("--data-dir", "data_dir")):
        if options[name] and not Path(options[name]).exists():
            raise click.UsageError(f"{option}: there is no {options[name]}")
    token = secret(options["server_token_file"]) if options["server_token_file"] else ""
    wanted = Wanted(
        options["workload"], options["targets"], tag(), options["seed"], options["rate"], options["seconds"],
        options["connections"], options["workers"] or 0, options["memories"], options["spaces"],
        options["quality"], options["warm_up"],
    )  # fmt: skip
    return Order(
        url, wanted, token, options["confirm"], options["dialect"], options["config_file"], options["data_dir"],
        options["pid"], options["diagnose"], options["dry_run"], options["bundles"],
        options["cluster"],
    )  # fmt: skip


def _kept(report: dict[str, Any], options: dict[str, Any]) -> int:
    """Save the report where that was asked for; `USAGE` when it could not be, which comes before any verdict."""
    if not options["save"]:
        return 0
    from engram_diagnose.bench.saved import save_run
    from engram_diagnose.state import StateError

    try:
        say(f"saved as {options['save']}: {save_run(options['save'], report)}")
    except StateError as error:
        say(f"engram-diagnose: {error}")
        return USAGE
    return 0


def _saved(*, listing: bool, keep: int | None) -> None:
    from engram_diagnose.bench.saved import prune_runs, saved_runs

    for name in prune_runs(keep) if keep is not None else ():
        say(f"removed: {name}")
    for one in saved_runs() if listing else ():
        told = one.problem or f"{one.started}  {one.address}  {', '.join(one.workloads)}  {one.target_set}: {one.state}"
        click.echo(f"{one.name}  {told}")


def _alternate(ctx: click.Context, url: str, form: str, output: str, options: dict[str, Any]) -> None:
    from engram_diagnose.bench.against import alternated
    from engram_diagnose.cli.verify import CODES, print_verification

    if form not in ("text", "json", "markdown"):
        raise click.UsageError(f"a comparison is shown as text, json or markdown, not as {form}")
    for name in ("save", "bundles"):
        if options[name]:
            raise click.UsageError(f"--{name} keeps what is measured of one server; a comparison of two is kept with "
                                   "--format json --output FILE")  # fmt: skip
    with Talk() as talk:
        document = alternated(_order(url, options), options["against"], options["packs"], runs=options["runs"],
                              say=talk.say, progress=talk.progress)  # fmt: skip
    if document is None:
        return
    print_verification(document, form, output)
    ctx.exit(CODES.get(document["verdict"]["state"], NOT_MEASURED))


def rendered(report: dict[str, Any], form: str, width: int, color: bool) -> str:
    """A report in one of `FORMATS`."""
    if form == "json":
        from engram_diagnose.render.json import render_json

        return render_json(report)
    if form == "markdown":
        from engram_diagnose.render.bench_markdown import bench_markdown

        return bench_markdown(report)
    if form == "html":
        from engram_diagnose.render.bench_html import bench_html

        return bench_html(report)
    if form == "junit":
        from engram_diagnose.render.bench_junit import bench_junit

        return bench_junit(report)
    from engram_diagnose.render.bench_text import bench_text

    return bench_text(report, console_width=width, color=color)
