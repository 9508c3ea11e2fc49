"""`engram-diagnose demo`: a real diagnosis with no server at hand."""

from pathlib import Path

import click

from engram_diagnose.cli.options import say
from engram_diagnose.cli.output import DIAGNOSIS_FORMATS, print_document

NARRATION = """\
This is a recorded incident: a server whose clients complain of slow stores. Its
metrics, configuration and host were collected into a bundle, as the command
`engram-diagnose collect` does; here is what the rules conclude from it.
"""

NEXT = """\
Next: engram-diagnose explain storage.wal-write-amplification  why so sure
      engram-diagnose explain wal.amplification         where a figure comes from
      engram-diagnose rules list                        what it looks for
      engram-diagnose --prometheus URL                  your own server
"""


@click.command()
@click.option("--format", "form", type=click.Choice(DIAGNOSIS_FORMATS), default="text", show_default=True)
@click.option("--verbose", "-v", is_flag=True, help="Show everything that could not be tested, and why.")
@click.option(
    "--save",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write its bundle and its server's configuration there instead, to try other commands on.",
)
def command(form: str, verbose: bool, folder: Path | None) -> None:
    """Diagnose the incident that comes with the tool."""
    if folder is not None:
        _save(folder)
        return
    from engram_diagnose.diagnosing import diagnosis_document
    from engram_diagnose.incidents import example_incident

    say(NARRATION)
    print_document(diagnosis_document(example_incident(), ()), form, "", verbose=verbose)
    say(NEXT)


def _save(folder: Path) -> None:
    from engram_diagnose.incidents import save_example

    try:
        written = save_example(folder)
    except OSError as error:
        raise click.UsageError(f"cannot write {error.filename}: {error.strerror}; name another folder") from None
    for path in written:
        say(f"written: {path}")
