"""`engram-diagnose demo`: a server with a planted fault, diagnosed, mended and measured again."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engram_diagnose.cli.options import say
from engram_diagnose.cli.output import DIAGNOSIS_FORMATS, NOT_COLLECTED, print_document, text_width

if TYPE_CHECKING:
    from engram_diagnose.demo.telling import Terminal

FIRST = "fsync-per-write"
STOPPED = 130

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
@click.option("--fault", metavar="NAME", default=FIRST, show_default=True, help="Which fault to plant.")
@click.option(
    "--severity", type=click.Choice(("mild", "plain", "severe")), default="plain", show_default=True, help="How badly."
)
@click.option("--list", "listing", is_flag=True, help="Show every fault that can be planted, and nothing more.")
@click.option("--keep", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Keep the bundle that the faulty server was diagnosed from.")  # fmt: skip
@click.option("--recorded", is_flag=True, help="Start nothing: diagnose the incident that comes with the tool.")
@click.option("--format", "form", type=click.Choice(DIAGNOSIS_FORMATS), default="text", show_default=True,
              help="Of the recorded incident's report.")  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Of the recorded incident, show also what could not be tested.")
@click.option(
    "--save",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the recorded incident's bundle and configuration there instead, to try other commands on.",
)
@click.pass_context
def command(ctx: click.Context, /, fault: str, severity: str, listing: bool, keep: Path | None, recorded: bool,
            form: str, verbose: bool, folder: Path | None) -> None:  # fmt: skip
    """
    Start a small server with a fault in it, find the fault, mend it, and measure whether that helped.

    Takes about a minute, a little longer the first time, and leaves nothing behind but a cache. Exit: 0 told to the
    end, 2 usage, 3 this machine cannot play it, 130 stopped by hand.
    """
    if folder is not None:
        _save(folder)
    elif listing:
        _list()
    elif recorded or _given(ctx, "form", "verbose"):
        _recorded(form, verbose=verbose)
    else:
        ctx.exit(_play(fault, severity, keep))


def _given(ctx: click.Context, *names: str) -> bool:
    """Whether any of these options stands on the command line."""
    return any(ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE for name in names)


def _play(fault: str, severity: str, keep: Path | None) -> int:
    from engram_diagnose.collectors.capture.ending import end_like_interrupted
    from engram_diagnose.demo import story
    from engram_diagnose.demo.beginning import begin
    from engram_diagnose.demo.stage import CannotPlayError

    end_like_interrupted()
    tell = _teller()
    try:
        known = begin(fault, severity, tell, save=keep)
    except CannotPlayError as error:
        say(f"engram-diagnose: {error}")
        say("an incident that was recorded can be shown anywhere: engram-diagnose demo --recorded")
        return NOT_COLLECTED
    except KeyboardInterrupt:
        return STOPPED
    story.next_steps(tell, known.fault, saved=str(keep) if keep else "")
    return 0


def _list() -> None:
    from engram_diagnose.demo.story import listed

    listed(_teller())


def _teller() -> "Terminal":
    from engram_diagnose.demo.telling import Terminal

    terminal = sys.stdout is not None and sys.stdout.isatty()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    live = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Terminal(text_width(terminal=terminal), terminal and not plain, live)


def _recorded(form: str, *, verbose: bool) -> None:
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
