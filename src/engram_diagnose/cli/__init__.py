"""
The command line. Each command imports what it needs when it runs, so that `--help` answers at once.
"""

import atexit
import gc
import importlib
import os
import sys
from typing import Any

import click

from engram_diagnose import __version__

COMMANDS = {
    "run": ("engram_diagnose.cli.run", "Collect and diagnose (the default)."),
    "collect": ("engram_diagnose.cli.collect", "Collect into a bundle, without diagnosing."),
    "profile": ("engram_diagnose.cli.profile", "The deep look: counters, flame graph, locks, I/O, memory."),
    "bundle": ("engram_diagnose.cli.bundle", "Look into a bundle, check it, redact it."),
    "slow-queries": ("engram_diagnose.cli.slow_queries", "Which operations are slow, where, when and why."),
    "explain": ("engram_diagnose.cli.explain", "Why, how and why not, from a diagnosis."),
    "tune": ("engram_diagnose.cli.tune", "What to change in the configuration, as a patch; apply, undo."),
    "verify": ("engram_diagnose.cli.verify", "Compare before and after: did it help?"),
    "bench": ("engram_diagnose.cli.bench", "Load a server: latency, throughput, verdicts, what limits it."),
    "baseline": ("engram_diagnose.cli.baseline", "Save a good day; compare with it later."),
    "kernels": ("engram_diagnose.cli.kernels", "What this host can attain, measured."),
    "cases": ("engram_diagnose.cli.cases", "Labelled cases: make, list and score them; fit confidences."),
    "rules": ("engram_diagnose.cli.rules", "List, show, check, test and scaffold rules."),
    "serve": ("engram_diagnose.cli.serve", "Take Alertmanager's webhook, diagnose, keep and show."),
    "lab": ("engram_diagnose.cli.lab", "A small memory server to plant faults in."),
    "demo": ("engram_diagnose.cli.demo", "Plant a fault in a lab, find it, mend it, measure again."),
}


class Commands(click.Group):
    """Loads a command's module when it is asked for; no command, or an option first, means `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "-h", "--version")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="engram-diagnose")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Find out what is slow in an Engram memory database, why, and what to change."""
    from engram_diagnose.cli import settings

    path = settings.settings_file()
    if path is not None:
        ctx.default_map = settings.defaults(path, {name: group.get_command(ctx, name) for name in COMMANDS})


def main(arguments: list[str] | None = None) -> Any:
    """
    Run the command line; the entry point of the installed program.

    Our own errors are printed with what to do next; none of them is a traceback.
    """
    if arguments is None:
        _forget_garbage()
    try:
        return group.main(args=sys.argv[1:] if arguments is None else arguments, prog_name="engram-diagnose")
    except ValueError as error:
        from engram_diagnose.cli.failures import report

        code = report(error)
        if code is None:
            raise
        sys.exit(code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            raise
        _say_unwritable(error)
        sys.exit(2)


def _say_unwritable(error: OSError) -> None:
    """What is printed has nowhere to go: a full disk behind a redirect, most often."""
    click.echo(f"engram-diagnose: cannot write the output: {error.strerror}", err=True)
    # The interpreter flushes once more as it ends, and would complain again.
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 -- closed with the process


def _forget_garbage() -> None:
    """
    Spare the process the search for garbage, which is a tenth of a diagnosis.

    A command is over long before it has any worth finding; one that stays must `gc.enable()`. Frozen objects are not
    searched through once more as the interpreter ends.
    """
    gc.disable()
    atexit.register(gc.freeze)
