"""
What `tune` does: advise and print, apply, roll back, look back.
"""

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from engram_diagnose.applying import apply_now, apply_saved, history_of, ledger_or_none, undo
from engram_diagnose.cli.options import progress, request_of, say
from engram_diagnose.cli.output import NOT_MEASURED, USAGE, refuse_overwriting, text_width, write_text
from engram_diagnose.collectors.bundle import read_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.diagnosing import collect_bundle, save_bundle, sizing_bundle
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.patch.apply import AlreadyApplied, AppliedFile
from engram_diagnose.render.neutral import visible
from engram_diagnose.render.tuning import render_tuning
from engram_diagnose.rulebase import load_rules
from engram_diagnose.tuning import (
    CannotTuneError,
    Tuning,
    Wish,
    application_of,
    configuration_of,
    file_content,
    ledger_name,
    tune,
)
from engram_diagnose.wizard.asking import Asking, asking

OWN: Final = frozenset({"bundle", "sizing", "interactive", "only", "without", "in_effect", "applying", "patch_file",
                        "rollback", "history", "form", "output", "save", "packs", "workload", "cores", "memory",
                        "storage", "numa_nodes", "simd"})  # fmt: skip
"""Options that are tune's own; all others say what to collect."""


def advise(given: dict[str, Any]) -> None:
    """Collect or read, advise, print; with `applying` also write."""
    collection = {name: value for name, value in given.items() if name not in OWN}
    target_set, named = collection["target_set"] or "", collection["config_file"]
    refuse_overwriting(given["output"], {"--config": named, "--bundle": given["bundle"], "--save": given["save"]})
    bundle = _bundle(given, collection)
    if given["save"]:
        save_bundle(given["save"], bundle, say=say)
    if given["interactive"] and sys.stdin is None:
        raise click.UsageError("--interactive reads answers from its input; without one use --size and its flags")
    ask = asking(sys.stdin.buffer, sys.stderr, terminal=sys.stdin.isatty()) if given["interactive"] else None
    found = _tuning(bundle, expert(load_rules(given["packs"], thorough=False)), _wish(given), named, target_set, ask)
    if found is None:
        sys.exit(USAGE)
    _print(found, given["form"], given["output"], applying=given["applying"])
    if given["applying"] and ask is not None and ask.ended:
        raise CannotTuneError(
            "the answers ended before the questions did, so nothing was written; to accept every value unasked: "
            "engram-diagnose tune --size --apply"
        )
    at_terminal = ask is not None and sys.stdin.isatty()
    if _wants_it(found) if at_terminal else given["applying"]:
        _apply(found)
    _refuse_unmeasured(found)


def _refuse_unmeasured(found: Tuning) -> None:
    """That nothing was measured is not that nothing is wrong: exit 4."""
    if not found.document["sizing"] and found.document["verdict"]["state"] == "untested":
        say("engram-diagnose: no target could be tested, so nothing can be advised; see what is missing with run")
        sys.exit(NOT_MEASURED)


def _bundle(given: dict[str, Any], collection: dict[str, Any]) -> Bundle:
    if given["bundle"]:
        return read_bundle(given["bundle"])
    collect = sizing_bundle if given["sizing"] or given["interactive"] else collect_bundle
    return collect(request_of(dict(collection)), given["packs"], say=say, progress=progress)


def _wish(given: dict[str, Any]) -> Wish:
    from engram_diagnose.wizard.flags import facts_of_options

    return Wish(
        sizing=given["sizing"] or given["interactive"],
        only=frozenset(given["only"]),
        without=frozenset(given["without"]),
        stated=facts_of_options(given),
        in_effect=given["in_effect"],
    )


def _tuning(
    bundle: Bundle, ready: Expert, wish: Wish, named: str, target_set: str, ask: Asking | None
) -> Tuning | None:
    configuration = configuration_of(bundle, named)
    file = ledger_name(configuration.path) if configuration.path is not None else ""
    history = history_of(ledger_or_none(say=say, make=False), file, bundle.instance, say=say)
    now = time.time()

    def tuned(wanted: Wish) -> Tuning:
        return tune(bundle, ready, configuration, wanted, now=now, history=history, target_set=target_set)

    if ask is None:
        return tuned(wish)
    from engram_diagnose.wizard.interview import interview

    answered = interview(tuned, ask, say, wish)
    return tuned(answered) if answered is not None else None


def _wants_it(found: Tuning) -> bool:
    """Asked at the end of the wizard, of somebody who is there to be asked."""
    if not found.changes or found.configuration.path is None or not sys.stdin.isatty():
        return False
    return click.confirm(f"Write this to {found.configuration.path}?", default=False, err=True)


def _print(found: Tuning, form: str, output: str, *, applying: bool) -> None:
    """What was advised; a file gets the document where that was asked for, else the patch."""
    document = json.dumps(found.document, indent=2, ensure_ascii=False, allow_nan=False)
    if output:
        write_text(Path(output), document if form == "json" else patch_text(found))
        say(f"{'advice' if form == 'json' else 'patch'} written to {visible(output)}")
    if form == "json":
        if not output:
            click.echo(document)
    elif form == "patch":
        click.echo(patch_text(found), nl=False)
    else:
        terminal = sys.stdout.isatty()
        color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        text = render_tuning(found.document, console_width=text_width(terminal=terminal), color=color,
                             kept=output, applying=applying)  # fmt: skip
        click.echo(text, nl=False, color=color)


def patch_text(found: Tuning) -> str:
    """The patch file; raises `CannotTuneError` where there can be none."""
    if not found.changes:
        raise CannotTuneError("there is nothing to change in the file, so there is no patch")
    if found.configuration.masked:
        raise CannotTuneError(
            f"the bundle holds {found.configuration.name} without its secrets, and a patch is made for the whole file; "
            "give the file itself with --config"
        )
    from engram_diagnose.history.memo import memo_line
    from engram_diagnose.render.patch import render_patch

    return render_patch(found.document, memo_line(application_of(found, at=0.0, patch="")))


def _apply(found: Tuning) -> None:
    configuration = found.configuration
    if not found.changes:
        say("nothing to apply: no change to the file is advised")
        return
    if configuration.path is None:
        raise CannotTuneError(f"{configuration.name} is not on this host; name the file with --config")
    now = time.time()
    application = application_of(found, at=now, patch=patch_text(found))
    outcome = apply_now(application, configuration.path, found.result, ledger_or_none(say=say), say=say)
    _report(outcome, configuration.path)


def apply_patch(patch: Path, named: str) -> None:
    """Apply a patch that was kept."""
    text = file_content(patch).decode("utf-8", "surrogateescape")
    outcome = apply_saved(text, Path(named) if named else None, ledger_or_none(say=say), now=time.time(), say=say)
    _report(outcome, Path(outcome.path))


def _report(outcome: AppliedFile | AlreadyApplied, path: Path) -> None:
    if isinstance(outcome, AlreadyApplied):
        say(f"{visible(str(path))} is as the patch leaves it already; nothing was written")
        return
    say(f"applied to {visible(str(path))}; what it was is kept in {visible(str(outcome.backup))}")
    say("nothing was restarted: the server reads it at its next start")
    say(f"to undo it: engram-diagnose tune --rollback --config {visible(shlex.quote(str(path)))}")
    say("to see whether it helped: engram-diagnose verify --before BEFORE.bundle --after AFTER.bundle")


def roll_back(named: str) -> None:
    """Put back what was there before."""
    if not named:
        raise click.UsageError("--rollback needs --config FILE, the configuration to put back")
    outcome = undo(Path(named), ledger_or_none(say=say), say=say)
    path, source = visible(str(outcome.path)), visible(str(outcome.restored_from))
    say(f"{path} is as it was before, from {source}; restart the server to run with it")


def show_history(instance: str, form: str, output: str) -> None:
    """What was applied, what it promised and what it brought."""
    from engram_diagnose.history import open_ledger
    from engram_diagnose.history.view import history_document, history_text

    with open_ledger() as ledger:
        document = history_document(ledger, instance, catalogue=load_rules(thorough=False).catalogue)
    text = json.dumps(document, indent=2, ensure_ascii=False) if form == "json" else history_text(document)
    if output:
        write_text(Path(output), text)
    else:
        click.echo(text, nl=not text.endswith("\n"))
