"""`engram-diagnose [run]`: collect and diagnose."""

from pathlib import Path
from typing import Any

import click

from engram_diagnose.cli.options import bundle_of, bundle_or_collection, progress, say
from engram_diagnose.cli.output import (
    DIAGNOSIS_FORMATS,
    NOT_COLLECTED,
    SEVERITIES,
    USAGE,
    exit_code,
    print_document,
    refuse_overwriting,
)


@click.command()
@bundle_or_collection("Diagnose a bundle instead of collecting.")
@click.option("--baseline", metavar="NAME|FILE", help="A saved baseline, or a bundle, of better days.")
@click.option("--save", metavar="FILE", help="Keep the bundle that was collected.")
@click.option("--format", "form", type=click.Choice(DIAGNOSIS_FORMATS), default="text", show_default=True)
@click.option("--output", "-o", default="", metavar="FILE", help="Write there instead of stdout.")
@click.option(
    "--fail-on",
    type=click.Choice((*SEVERITIES, "never")),
    default="warning",
    show_default=True,
    help="Exit with 1 from this severity on.",
)
@click.option(
    "--engine",
    type=click.Choice(("closures", "durable", "reference")),
    default="closures",
    show_default=True,
    help="Which inference engine decides.",
)
@click.option("--verbose", "-v", is_flag=True, help="Show everything that could not be tested, and why.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    bundle: str | None,
    packs: tuple[Path, ...],
    baseline: str | None,
    save: str | None,
    form: str,
    output: str,
    fail_on: str,
    engine: str,
    verbose: bool,
    **collection: Any,
) -> None:
    """
    Collect and diagnose: what is slow, why, how sure, and what to change.

    With nothing named, looks for the server and a Prometheus on this host. Exit: 0 clean, 1 findings, 2 usage,
    3 nothing could be collected, 4 no target could be tested.
    """
    from engram_diagnose.diagnosing import collect_bundle, diagnosis_document, save_bundle

    refuse_overwriting(output, {"--config": collection["config_file"], "--bundle": bundle, "--save": save})
    collected = bundle_of(
        ctx, bundle, collection, lambda request: collect_bundle(request, packs, say=say, progress=progress)
    )
    if baseline:
        from engram_diagnose.baselines import resolved

        baseline = resolved(baseline)
    target_set = collection["target_set"] or ""
    document = diagnosis_document(collected, packs, baseline=baseline, target_set=target_set, engine=engine)
    print_document(document, form, output, verbose=verbose)
    saved = not save or save_bundle(save, collected, say=say)
    answered = any(answer.answered for answer in collected.answers)
    ctx.exit(USAGE if not saved else exit_code(document, fail_on) if answered else NOT_COLLECTED)
