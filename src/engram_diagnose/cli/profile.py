"""`engram-diagnose profile`: the deep look."""

import time
from pathlib import Path
from typing import Any

import click

from engram_diagnose.cli.options import bundle_or_collection, progress, refuse_beside_bundle, request_of, say
from engram_diagnose.cli.output import CLEAN, NOT_COLLECTED, print_text


@click.command()
@bundle_or_collection("Show the profile in a bundle instead of collecting.", targets=False)
@click.option("--directory", "-d", metavar="DIR", help="Where the files go.  [default: (./profile-DATE-TIME)]")
@click.option("--no-files", is_flag=True, help="Print, and write nothing.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    bundle: str | None,
    packs: tuple[Path, ...],
    directory: str | None,
    no_files: bool,
    form: str,
    **collection: Any,
) -> None:
    """
    Look at everything at once, in under a minute: metrics, CPU profile, NUMA, memory, threads and locks, I/O, latency.

    Prints the three worst bottlenecks and the figures behind them, and writes bundle, report, flame graph and stacks.
    Looking stops when pressure on the host rises. Exit: 0 done, 2 usage, 3 nothing could be collected.
    """
    from engram_diagnose.collectors.capture.ending import end_like_interrupted
    from engram_diagnose.diagnosing import read_bundle
    from engram_diagnose.profiling import collect_profile, make_folder, profile_document, write_files

    if bundle:
        refuse_beside_bundle(ctx, set(collection))
    end_like_interrupted()
    request = None if bundle else request_of(collection)
    folder = _folder(directory, wished=not no_files and not bundle)
    if folder is not None:
        make_folder(folder)
    try:
        gathered = collect_profile(request, packs, say=say, progress=progress) if request else read_bundle(str(bundle))
    except BaseException:
        if folder is not None:
            folder.rmdir()  # nothing came of it
        raise
    document = profile_document(gathered, packs)
    # Files first: whoever reads no further than the bottlenecks closes what is printed to.
    written = write_files(folder, gathered, document) if folder is not None else ()
    _print(document, form)
    for path in written:
        say(f"written: {path}")
    ctx.exit(CLEAN if any(answer.answered for answer in gathered.answers) else NOT_COLLECTED)


def _folder(directory: str | None, *, wished: bool) -> Path | None:
    """Where files go: what was named, and the usual name where they are wished."""
    if directory:
        return Path(directory)
    return Path(time.strftime("profile-%Y%m%d-%H%M%S")) if wished else None


def _print(document: dict[str, Any], form: str) -> None:
    if form == "json":
        from engram_diagnose.render.json import render_json

        click.echo(render_json(document), nl=False)
        return
    from engram_diagnose.render.profile import render_profile

    print_text(lambda width, color: render_profile(document, console_width=width, color=color))
