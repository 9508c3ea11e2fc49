"""`engram-diagnose bundle`: what a bundle holds, whether it is whole, and a copy that names nobody."""

import os
import sys

import click

from engram_diagnose.cli.options import redact_label_option, say
from engram_diagnose.cli.output import refuse_overwriting


@click.group()
def command() -> None:
    """Look into a bundle, check it, redact it."""


@command.command("show")
@click.argument("file")
@click.option("--answer", "name", metavar="NAME", help="Print this raw answer instead, such as /proc/PID/stat.")
@click.option("--number", type=click.IntRange(min=1), help="Which of several answers of that name; the last otherwise.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
def show(file: str, name: str | None, number: int | None, form: str) -> None:
    """List what a bundle holds: when, of whom, from which sources, and what is missing and why."""
    from engram_diagnose.bundle_summary import answer_named, bundle_summary
    from engram_diagnose.collectors.bundle import read_bundle
    from engram_diagnose.render.bundle import render_bundle
    from engram_diagnose.render.json import render_json

    bundle = read_bundle(file)
    if name is not None:
        _print_raw(answer_named(bundle, name, number=number).body, name)
        return
    if number is not None:
        raise click.UsageError("--number counts the answers of one name; give --answer NAME as well")
    document = bundle_summary(bundle, compressed_bytes=os.path.getsize(file))
    click.echo(render_json(document) if form == "json" else render_bundle(document), nl=False)


def _print_raw(body: str | None, name: str) -> None:
    """As it came; on a terminal without what would act on it."""
    from engram_diagnose.collectors.bundle_format import BundleError

    if body is None:
        raise BundleError(f"the answer {name} has no text: `bundle show` without --answer says why")
    if sys.stdout.isatty():
        from engram_diagnose.render.neutral import printed

        click.echo("\n".join(printed(line) for line in body.split("\n")), nl=False)
    else:
        sys.stdout.buffer.write(body.encode("utf-8", "surrogateescape"))


@command.command("check")
@click.argument("file")
@click.option("--sha256", "expected", metavar="HEX", help="What whoever collected it was told it is.")
def check(file: str, expected: str | None) -> None:
    """
    Check that a bundle is whole and as it was collected.

    Every bundle ends with a checksum over all that it says; a damaged one is refused. Who changed a bundle can have
    changed that as well: compare with what collecting said, by another way than the bundle came.
    """
    from engram_diagnose.collectors.bundle import content_digest, read_bundle
    from engram_diagnose.collectors.bundle_format import BundleError

    bundle = read_bundle(file)
    digest = content_digest(bundle)
    if expected and expected.strip().lower() != digest:
        raise BundleError(f"{file}: whole, but not what was collected: its sha256 is {digest}; get it again")
    click.echo(f"{file}: whole, {len(bundle.answers)} answers, sha256 {digest}")


@command.command("redact")
@click.argument("file")
@click.option("--output", "-o", required=True, metavar="FILE", help="Write the redacted bundle there.")
@redact_label_option
def redact(file: str, output: str, labels: tuple[str, ...]) -> None:
    """Replace names of hosts, spaces, addresses and paths by stable pseudonyms, and secrets by asterisks."""
    from engram_diagnose.collectors.bundle import content_digest, read_bundle, write_bundle
    from engram_diagnose.collectors.bundle import redact as redacted

    refuse_overwriting(output, {"FILE": file})
    bundle = redacted(read_bundle(file), labels=labels)
    write_bundle(output, bundle)
    say(f"redacted bundle written to {output}; sha256 of what it says: {content_digest(bundle)}")
