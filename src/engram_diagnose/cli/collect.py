"""`engram-diagnose collect`: a bundle, without a diagnosis."""

import sys
from pathlib import Path
from typing import Any

import click

from engram_diagnose.cli.options import collection_options, progress, redact_label_option, request_of, say
from engram_diagnose.cli.output import NOT_COLLECTED, refuse_overwriting, write_text


@click.command()
@collection_options
@click.option("--output", "-o", default="", metavar="FILE", help="Write the bundle there; stdout otherwise.")
@click.option("--redact", is_flag=True, help="Replace names of hosts, spaces and paths by stable pseudonyms.")
@redact_label_option
@click.option(
    "--script",
    metavar="FILE",
    help="Collect nothing, but write collect.pyz there (- for stdout), which collects on hosts without this tool.",
)
def command(
    packs: tuple[Path, ...], output: str, redact: bool, labels: tuple[str, ...], script: str | None, **collection: Any
) -> None:
    """Collect everything a diagnosis needs into one bundle, to be diagnosed here or elsewhere with `run --bundle`."""
    if script:
        _write_script(script, packs)
        return
    from engram_diagnose.collectors.bundle import content_digest, encode_bundle, write_bundle
    from engram_diagnose.collectors.bundle import redact as redacted
    from engram_diagnose.diagnosing import collect_bundle, tells_of_the_server

    refuse_overwriting(output, {"--config": collection["config_file"]})
    if not output and sys.stdout is None:
        raise click.UsageError("stdout is closed: give --output FILE, or redirect stdout")
    if not output and sys.stdout.isatty():
        raise click.UsageError("a bundle is compressed data: give --output FILE, or redirect stdout")
    bundle = collect_bundle(request_of(collection), packs, say=say, progress=progress)
    bundle = redacted(bundle, labels=labels) if redact or labels else bundle
    if output and not tells_of_the_server(bundle) and Path(output).is_file():
        say(f"engram-diagnose: nothing of the server was collected, so {output} is kept as it was")
        sys.exit(NOT_COLLECTED)
    if output:
        write_bundle(output, bundle)
        say(f"bundle written to {output}; diagnose it with: engram-diagnose run --bundle {output}")
    else:
        sys.stdout.buffer.write(encode_bundle(bundle))
    say(f"sha256 of what it says: {content_digest(bundle)}")
    if not tells_of_the_server(bundle):
        sys.exit(NOT_COLLECTED)


def _write_script(path: str, packs: tuple[Path, ...]) -> None:
    """The script for the rules in force: their dialects, limits and tables of events stand in it."""
    from engram_diagnose.rulebase import load_rules
    from engram_diagnose.script import collect_script

    script = collect_script(load_rules(packs, thorough=False))
    if path == "-":
        sys.stdout.buffer.write(script)
    else:
        write_text(Path(path), script.decode("ascii"))
        say(f"written to {path}; collect with: ssh HOST python3 - < {path} > host.bundle")
