"""`engram-diagnose collect`: a bundle, without a diagnosis."""

import sys
from pathlib import Path
from typing import Any

import click

from engram_diagnose.cli.options import (
    login_options,
    progress,
    request_of,
    rules_option,
    say,
    source_options,
    target_set_option,
)
from engram_diagnose.cli.output import NOT_COLLECTED, refuse_overwriting


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@source_options
@login_options
@target_set_option
@rules_option
@click.option("--output", "-o", default="", metavar="FILE", help="Write the bundle there; stdout otherwise.")
@click.option("--redact", is_flag=True, help="Replace names of hosts, spaces and paths by stable pseudonyms.")
def command(packs: tuple[Path, ...], output: str, redact: bool, **collection: Any) -> None:
    """Collect everything a diagnosis needs into one bundle, to be diagnosed here or elsewhere with `run --bundle`."""
    from engram_diagnose.collectors.bundle import encode_bundle, write_bundle
    from engram_diagnose.collectors.bundle import redact as redacted
    from engram_diagnose.diagnosing import collect_bundle, tells_of_the_server

    refuse_overwriting(output, {"--config": collection["config_file"]})
    if not output and sys.stdout.isatty():
        raise click.UsageError("a bundle is compressed data: give --output FILE, or redirect stdout")
    bundle = collect_bundle(request_of(collection), packs, say=say, progress=progress)
    bundle = redacted(bundle) if redact else bundle
    if output and not tells_of_the_server(bundle) and Path(output).is_file():
        say(f"engram-diagnose: nothing of the server was collected, so {output} is kept as it was")
        sys.exit(NOT_COLLECTED)
    if output:
        write_bundle(output, bundle)
        say(f"bundle written to {output}; diagnose it with: engram-diagnose run --bundle {output}")
    else:
        sys.stdout.buffer.write(encode_bundle(bundle))
    if not tells_of_the_server(bundle):
        sys.exit(NOT_COLLECTED)
