"""`engram-diagnose explain`: why, how and why not."""

import sys
from pathlib import Path

import click

from engram_diagnose.cli.options import rules_option, say
from engram_diagnose.cli.output import text_width


@click.command()
@click.argument("name")
@click.option("--bundle", metavar="FILE", help="The bundle that was diagnosed; the bundled example incident otherwise.")
@rules_option
def command(name: str, bundle: str | None, packs: tuple[Path, ...]) -> None:
    """
    Explain one part of a diagnosis: NAME is a rule or a fact.

    A cause that was concluded: why. One that was not: why not. A fact: how its value came about.
    """
    from engram_diagnose.diagnosing import diagnosis_document, read_bundle
    from engram_diagnose.incidents import example_incident
    from engram_diagnose.render.why import explain

    if not bundle:
        say("This explains the example incident that `demo` shows; give --bundle FILE for one of yours.")
    collected = read_bundle(bundle) if bundle else example_incident()
    width = text_width(terminal=sys.stdout is not None and sys.stdout.isatty())
    click.echo(explain(diagnosis_document(collected, packs), name, console_width=width))
