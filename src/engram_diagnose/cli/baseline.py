"""`engram-diagnose baseline`: keep a good day, and hold later ones against it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engram_diagnose.cli.options import bundle_of, bundle_or_collection, progress, say
from engram_diagnose.cli.output import NOT_COLLECTED, NOT_MEASURED
from engram_diagnose.cli.verify import CODES, assume_option, form_options, print_verification

if TYPE_CHECKING:
    from engram_diagnose.collectors.bundle_format import Bundle

_sources = bundle_or_collection("Take this bundle instead of collecting.")


@click.group()
def command() -> None:
    """Save a good day; compare with it later."""


@command.command("save")
@click.argument("name", required=False)
@click.option("--output", "-o", default="", metavar="FILE", help="Keep it there, and under no name.")
@click.option("--replace", is_flag=True, help="Replace the baseline that is there.")
@_sources
@click.pass_context
def save(ctx: click.Context, /, name: str | None, output: str, replace: bool, bundle: str | None,
         packs: tuple[Path, ...], **collection: Any) -> None:  # fmt: skip
    """Keep what is collected now, or a bundle, as the baseline NAME."""
    from engram_diagnose.baselines import checked_name, save_baseline, save_to

    if bool(name) == bool(output):
        raise click.UsageError("give the baseline a NAME, or --output FILE, and not both")
    if name:
        checked_name(name)
    collected = _collected(ctx, bundle, packs, collection)
    if not any(answer.answered for answer in collected.answers):
        say("engram-diagnose: nothing answered, so there is nothing to keep")
        sys.exit(NOT_COLLECTED)
    if name:
        path = save_baseline(name, collected, replace=replace)
    else:
        path = save_to(Path(output), collected, replace=replace)
    say(f"baseline written to {path}")
    say(f"hold a later day against it with: engram-diagnose baseline compare {name or path}")


@command.command("list")
def list_() -> None:
    """List the saved baselines."""
    from engram_diagnose.baselines import saved_baselines
    from engram_diagnose.engine.facts.instant import iso
    from engram_diagnose.render.neutral import visible

    found = saved_baselines()
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        what = visible(one.problem) if one.problem else f"{iso(one.time)}  {visible(one.instance)}"
        click.echo(f"{one.name:<{width}}  {what}")
    if not found:
        say("no baseline is saved; save one with: engram-diagnose baseline save NAME")


@command.command("compare")
@click.argument("name")
@assume_option
@_sources
@form_options
@click.pass_context
def compare(ctx: click.Context, /, name: str, assumed: bool, bundle: str | None, packs: tuple[Path, ...], form: str,
            output: str, **collection: Any) -> None:  # fmt: skip
    """
    Hold what is collected now, or a bundle, against the baseline NAME (or a file).

    By the regression rules in force, and outside the noise; the load is compared first. Exit: 0 held, 1 regressed,
    2 usage, 3 nothing could be read, 4 not comparable or inconclusive.
    """
    from engram_diagnose.baselines import resolved
    from engram_diagnose.diagnosing import read_bundle
    from engram_diagnose.verifying import compare_with_baseline

    baseline = read_bundle(resolved(name))
    collected = _collected(ctx, bundle, packs, collection)
    document = compare_with_baseline(name, baseline, bundle or "now", collected, packs, assumed=assumed)
    print_verification(document, form, output)
    ctx.exit(CODES.get(document["verdict"]["state"], NOT_MEASURED))


def _collected(ctx: click.Context, bundle: str | None, packs: tuple[Path, ...], collection: dict[str, Any]) -> "Bundle":
    from engram_diagnose.diagnosing import collect_bundle

    return bundle_of(
        ctx, bundle, collection, lambda request: collect_bundle(request, packs, say=say, progress=progress)
    )
