"""`engram-diagnose tune`: what to change, as a patch; apply it, undo it, look back."""

from pathlib import Path
from typing import Any

import click

from engram_diagnose.cli.options import collection_options, refuse_beside_bundle
from engram_diagnose.wizard.flags import answer_options

FORMATS = ("text", "json", "patch")
_READS = {
    "rollback": frozenset({"config_file"}),
    "history": frozenset({"instance", "form", "output"}),
    "patch_file": frozenset({"applying", "config_file"}),
}
"""What each of the three reads besides itself."""
_BESIDE_BUNDLE = frozenset({"config_file", "target_set"})


@click.command()
@click.option("--bundle", metavar="FILE", help="Advise on a bundle instead of collecting.")
@click.option(
    "--size", "sizing", is_flag=True, help="Fit every parameter to the host and the workload, healthy or not."
)
@click.option("--interactive", "-i", is_flag=True, help="Ask what cannot be detected, and go through each value.")
@answer_options
@click.option("--only", multiple=True, metavar="KEY", help="Advise on this parameter or key only; may be repeated.")
@click.option("--without", multiple=True, metavar="KEY", help="Leave this parameter or key as it is; may be repeated.")
@click.option(
    "--in-effect", is_flag=True, help="Say that the server runs with its file, although that is newer than it."
)
@click.option("--apply", "applying", is_flag=True, help="Write the changes into the configuration, with a backup.")
@click.option("--patch", "patch_file", metavar="FILE", help="With --apply: a patch that was kept with --output.")
@click.option("--rollback", is_flag=True, help="Put the configuration back to what it was, byte for byte.")
@click.option("--history", is_flag=True, help="Show what was applied, what it promised and what it brought.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", "-o", default="", metavar="FILE", help="Keep the patch there, to review and apply it later.")
@click.option("--save", metavar="FILE", help="Keep the bundle that was collected, for verify.")
@collection_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """
    Advise on the configuration: one consistent set of changes, as a patch.

    Shows the patch and writes nothing, unless told with --apply. Never restarts a server. Exit: 0 done or shown,
    2 usage or refused, 3 nothing could be collected.
    """
    from engram_diagnose.cli import tuning

    refuse_together(ctx, given)
    if given["rollback"]:
        tuning.roll_back(given["config_file"])
    elif given["history"]:
        tuning.show_history(given["instance"], given["form"], given["output"])
    elif given["patch_file"]:
        tuning.apply_patch(Path(given["patch_file"]), given["config_file"])
    else:
        if given["bundle"]:
            collection = {option.name for option in ctx.command.params if option.name} & _collection(given)
            refuse_beside_bundle(ctx, (collection | {"save"}) - _BESIDE_BUNDLE)
        tuning.advise(given)


def _collection(given: dict[str, Any]) -> set[str]:
    """The options that say what to collect."""
    from engram_diagnose.cli.tuning import OWN

    return set(given) - OWN


def refuse_together(ctx: click.Context, given: dict[str, Any]) -> None:
    """Say which options mean nothing beside what was chosen; raises `click.UsageError`."""
    chosen = [name for name in _READS if given[name]]
    if len(chosen) > 1:
        raise click.UsageError("--rollback, --history and --patch exclude each other")
    if given["patch_file"] and not given["applying"]:
        raise click.UsageError("--patch names what to apply: give --apply with it")
    if chosen:
        kept = _READS[chosen[0]] | {chosen[0]}
        idle = [option.opts[0] for option in ctx.command.params if option.name not in kept
                and ctx.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE]  # fmt: skip
        if idle:
            mode = f"--{chosen[0].removesuffix('_file')}"
            raise click.UsageError(f"{', '.join(idle)} has no effect beside {mode}; leave one of them out")
    if both := set(given["only"]) & set(given["without"]):
        raise click.UsageError(f"--only and --without both name {', '.join(sorted(both))}")
