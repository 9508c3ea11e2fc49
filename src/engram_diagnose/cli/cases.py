"""`engram-diagnose cases …`: incidents whose cause is known, and how well diagnoses of them do."""

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from engram_diagnose.cli.options import progress, rules_option, say
from engram_diagnose.cli.output import CLEAN, FINDINGS, FORMATS, NOT_COLLECTED, write_text

if TYPE_CHECKING:
    from engram_diagnose.cases.corpus import Case

_DAY: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))


@click.group()
@rules_option
@click.pass_context
def command(ctx: click.Context, packs: tuple[Path, ...]) -> None:
    """Make labelled cases with the lab, list them, score diagnoses of them, fit confidences on them."""
    ctx.default_map = {name: {"packs": packs} for name in command.commands} if packs else None


@command.command()
@folder_argument
@click.option(
    "--only", "faults", multiple=True, metavar="FAULT", help="Only this fault; can be repeated. All otherwise."
)
@click.option("--severity", "severities", multiple=True, metavar="NAME", help="Only mild, plain or severe.")
@click.option(
    "--hosts",
    default="",
    metavar="N,…",
    help="Host shapes, as numbers of cores; 1, 2 and three quarters of all otherwise.",
)
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="How often each.")
@click.option(
    "--without",
    "sources",
    multiple=True,
    type=click.Choice(("host", "config", "metrics")),
    help="Also make of each what is left without this source; can be repeated.",
)
@click.option("--although-busy", is_flag=True, help="Make cases also while others use the host; labels say so.")
@rules_option
def make(
    folder: Path,
    faults: tuple[str, ...],
    severities: tuple[str, ...],
    hosts: str,
    repeat: int,
    sources: tuple[str, ...],
    although_busy: bool,
    packs: tuple[Path, ...],
) -> None:
    """
    Plant faults into the lab, load it, and keep what is collected as labelled cases, some 25 seconds each.

    What is there is not made again, so it can be ended with Ctrl-C and gone on with. Exit: 0 all is there, 1 some cases
    could not be made here, 2 usage, 3 none could.
    """
    from engram_diagnose.cases.making import Order
    from engram_diagnose.cases.making import make as made
    from engram_diagnose.demo.beginning import folder as lab_folder
    from engram_diagnose.demo.beginning import require_machine
    from engram_diagnose.rulebase import load_rules

    order = Order(faults, severities, _cores(hosts), repeat, sources)
    require_machine()
    from engram_diagnose.cases.staging import LabStage

    found = made(order, folder, LabStage(lab_folder(), load_rules(packs, thorough=False), although_busy), say=say)
    say(
        f"{len(found.made)} made, {len(found.there)} were there, {len(found.failed)} could not be made; "
        f"score them: engram-diagnose cases score {folder}"
    )
    if found.failed:
        sys.exit(FINDINGS if found.made or found.there else NOT_COLLECTED)


def _cores(text: str) -> tuple[int, ...]:
    """The host shapes that are asked for; raises `click.UsageError` for what is no number of this machine's cores."""
    own = len(os.sched_getaffinity(0))
    if not text:
        # The largest leaves a quarter to the clients: on the server's own cores they would be neighbours.
        most = max(1, own - max(1, own // 4))
        return tuple(sorted({1, min(2, most), most}))
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and 1 <= int(part) <= own for part in parts):
        raise click.UsageError(f"--hosts lists numbers of cores between 1 and {own}, such as 1,{own}; not {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


@command.command("list")
@folder_argument
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@rules_option
def list_command(folder: Path, form: str, packs: tuple[Path, ...]) -> None:
    """List the cases of a folder, each with the side of the split on which it stands."""
    from engram_diagnose.cases.corpus import cases_in
    from engram_diagnose.engine.language.limits_reader import read_limits
    from engram_diagnose.rulebase import load_rules

    limits = read_limits(load_rules(packs, thorough=False).texts, "cases")
    rows = [_row(case, limits["held_out"]) for case in cases_in(folder)]
    if form == "json":
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    for row in rows:
        click.echo("  ".join(value.ljust(widths[key]) for key, value in row.items()).rstrip())
    click.echo(f"{len(rows)} case{'' if len(rows) == 1 else 's'}")


def _row(case: "Case", share: float) -> dict[str, str]:
    from engram_diagnose.cases.split import place_of

    label = case.label
    return {"case": label.name, "family": label.family, "host": label.host.shape, "visible": label.visible,
            "place": place_of(label, share=share), "when": label.when}  # fmt: skip


@command.command()
@folder_argument
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", "-o", default="", metavar="FILE", help="Write there instead of stdout.")
@rules_option
def score(folder: Path, form: str, output: str, packs: tuple[Path, ...]) -> None:
    """
    Diagnose every case of a folder, and say how often what was planted comes first, and how well confidences are kept.

    Cases are split by fault family and host shape; what is held out stands apart.
    """
    from engram_diagnose.cases.corpus import corpus_digest
    from engram_diagnose.cases.reading import diagnosed
    from engram_diagnose.cases.report import score_document, score_text

    found = diagnosed(folder, packs, progress=progress)
    document = score_document(found.judged, found.limits, found.ready.loaded.scales, corpus=corpus_digest(found.cases))
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n" if form == "json" else score_text(
        document, markdown=form == "markdown"
    )  # fmt: skip
    if output:
        write_text(Path(output), text)
    else:
        click.echo(text, nl=False)


@command.command()
@folder_argument
@click.option("--date", required=True, metavar="DAY", help="The day to write into the fit, such as 2027-03-31.")
@click.option("--output", "-o", default="", metavar="FILE", help="Write there instead of stdout.")
@click.option("--although-worse", is_flag=True, help="Write the fit although it does no better on cases held out.")
@rules_option
def fit(folder: Path, date: str, output: str, although_worse: bool, packs: tuple[Path, ...]) -> None:
    """
    Fit confidences on the training cases of a folder, as a file that --rules lays over the rule base.

    Exit: 0 written, 1 it does no better on what is held out and is not written, 2 too few cases, or usage.
    """
    from engram_diagnose.cases.calibration_file import calibration_text
    from engram_diagnose.cases.fitting import fit_cases
    from engram_diagnose.cases.reading import diagnosed

    if not _DAY.fullmatch(date):
        raise click.UsageError(f"--date is a day such as 2027-03-31, not {date!r}")
    found = diagnosed(folder, packs, progress=progress)
    fitted = fit_cases(found.judged, found.limits)
    before, after = (side[1].brier.score if side[1].brier else 0.0 for side in (fitted.before, fitted.after))
    say(f"intercept {fitted.line.intercept:.3f}, slope {fitted.line.slope:.3f}, from {len(fitted.train)} cases; "
        f"Brier on {len(fitted.held_out)} held out: {before:.4f} before, {after:.4f} after")  # fmt: skip
    if not fitted.helps and not although_worse:
        say("it does no better on what is held out, and is not written; --although-worse writes it all the same")
        sys.exit(FINDINGS)
    text = calibration_text(fitted, found.cases, found.ready.loaded, date=date)
    if output:
        write_text(Path(output), text)
        say(f"written to {output}; diagnose with it: engram-diagnose run --rules {output}")
    else:
        click.echo(text, nl=False)
    sys.exit(CLEAN)
