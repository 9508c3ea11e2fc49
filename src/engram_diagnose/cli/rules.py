"""`engram-diagnose rules …`: the rule base itself, rather than a server."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engram_diagnose.cli.options import rules_option
from engram_diagnose.cli.output import CLEAN, FINDINGS, USAGE, write_text

if TYPE_CHECKING:
    from engram_diagnose.engine.language.problem import Problem
    from engram_diagnose.reference.index import Index
    from engram_diagnose.rulecheck import Checked

KINDS: Final = ("symptom", "cause", "table", "derive")
PARTS: Final = ("reference", "operations")
form_option = click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)


@click.group()
@rules_option
@click.pass_context
def command(ctx: click.Context, packs: tuple[Path, ...]) -> None:
    """List, show, check, test, scaffold and document rules."""
    ctx.default_map = {name: {"packs": packs} for name in command.commands} if packs else None


@command.command()
@rules_option
@click.option("--strict", is_flag=True, help="Fail on warnings too, and on what a shipped rule lacks.")
@form_option
def check(packs: tuple[Path, ...], strict: bool, form: str) -> None:
    """
    Name every mistake in the rules, each at its place.

    Exit: 0 usable, 2 errors (with --strict, warnings as well).
    """
    from engram_diagnose.rulecheck import check_rules

    checked = check_rules(packs, strict=strict)
    click.echo(_problems_json(checked) if form == "json" else _problems_text(checked))
    sys.exit(USAGE if checked.errors or (strict and checked.problems) else CLEAN)


def _problems_text(checked: "Checked") -> str:
    from engram_diagnose.engine.language.problem import excerpt

    warnings = len(checked.problems) - checked.errors
    found = f"{_count(checked.errors, 'error')}, {_count(warnings, 'warning')}"
    if checked.loaded is not None:
        found = f"{len(checked.loaded.rules.rules)} rules, {len(checked.loaded.catalogue.facts)} facts: {found}"
    return "\n".join([*(excerpt(problem, checked.texts) for problem in checked.problems), found])


def _problems_json(checked: "Checked") -> str:
    return _json(
        {
            "errors": checked.errors,
            "warnings": len(checked.problems) - checked.errors,
            "rules": None if checked.loaded is None else len(checked.loaded.rules.rules),
            "problems": [_problem_row(problem) for problem in checked.problems],
        }
    )


def _problem_row(problem: "Problem") -> dict[str, Any]:
    mark = problem.mark
    return {"severity": problem.severity, "file": mark.file, "line": mark.line, "column": mark.column,
            "length": problem.length, "message": problem.message, "hint": problem.hint or None,
            "rule": problem.rule or None}  # fmt: skip


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@rules_option
def test(ids: tuple[str, ...], packs: tuple[Path, ...]) -> None:
    """
    Run the tests that rules carry, and those made from their gates.

    Exit: 0 all passed, 1 some failed or a shipped rule lacks something, 2 errors in the rules.
    """
    from engram_diagnose.engine.diagnosis import expert
    from engram_diagnose.engine.language.problem import excerpt
    from engram_diagnose.engine.rule_tests import run_tests
    from engram_diagnose.rulebase import load_rules
    from engram_diagnose.rulecheck import unfinished

    loaded = load_rules(packs)
    rules = _chosen(loaded.rules.rules, ids)
    results = run_tests(expert(loaded), rules)
    failed = [result for result in results if result.failure]
    lacking = [problem for problem in unfinished(loaded) if not ids or problem.rule in ids]
    for result in failed:
        click.echo(f"{result.mark}: {result.rule}: {result.name}\n    {result.failure}")
    for problem in lacking:
        click.echo(excerpt(problem, loaded.texts))
    untested = f", {_count(len(lacking), 'gap')} in shipped rules" if lacking else ""
    click.echo(f"{_count(len(results), 'test')} of {_count(len(rules), 'rule')}, {len(failed)} failed{untested}")
    sys.exit(FINDINGS if failed or lacking else CLEAN)


def _chosen(rules: Any, ids: Sequence[str]) -> list[Any]:
    """The rules of these ids, or all; raises `click.UsageError` for an id that no rule has."""
    from engram_diagnose.engine.language.problem import did_you_mean

    for name in ids:
        if name not in rules:
            raise click.UsageError(f"there is no rule {name}; {did_you_mean(name, rules) or 'see rules list'}")
    return [rule for name, rule in rules.items() if not ids or name in ids]


@command.command("list")
@click.argument("word", default="")
@click.option("--kind", type=click.Choice(KINDS), default=None, help="Only rules of this kind.")
@click.option("--tag", default="", help="Only rules with this tag.")
@click.option("--facts", is_flag=True, help="List the catalogue of facts instead.")
@rules_option
@form_option
def list_command(word: str, kind: str | None, tag: str, facts: bool, packs: tuple[Path, ...], form: str) -> None:
    """List rules, or facts; WORD narrows it to those whose name or text holds it."""
    from engram_diagnose.reference.listing import fact_rows, facts_text, rule_rows, rules_text
    from engram_diagnose.rulebase import load_rules

    if facts and (kind or tag):
        raise click.UsageError("--facts lists facts, which have neither --kind nor --tag; give a WORD instead")
    loaded = load_rules(packs)
    rows = fact_rows(loaded, word=word) if facts else rule_rows(loaded, word=word, kind=kind or "", tag=tag)
    shown = (facts_text if facts else rules_text)(rows, width=_width())
    click.echo(_json(rows) if form == "json" else f"{shown}\n{_count(len(rows), 'fact' if facts else 'rule')}".lstrip())


@command.command()
@click.argument("name", metavar="ID")
@rules_option
def show(name: str, packs: tuple[Path, ...]) -> None:
    """Everything about one rule, fact, setting or target."""
    from engram_diagnose.reference.block import to_text
    from engram_diagnose.reference.lookup import UnknownNameError, described

    try:
        blocks = described(name, _index(packs))
    except UnknownNameError as error:
        raise click.UsageError(str(error)) from None
    click.echo(to_text(blocks, width=_width()))


@command.command()
@click.argument("name", metavar="ID")
@click.option("--kind", type=click.Choice(KINDS), default="cause", show_default=True)
@click.option("--output", "-o", default="", metavar="FILE", help="Write there instead of stdout.")
def new(name: str, kind: str, output: str) -> None:
    """Write a rule to start from: it loads, and what is to be filled in says so."""
    from engram_diagnose.engine.language.scaffold import scaffold

    try:
        text = scaffold(name, kind)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not output:
        click.echo(text, nl=not text.endswith("\n"))
        return
    if Path(output).exists():
        raise click.UsageError(f"{output} is there already; name another file, or add the rule by hand")
    write_text(Path(output), text)
    click.echo(f"written to {output}; next: engram-diagnose rules check --rules {output}", err=True)


@command.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit with 1 when a page is stale.")
@click.option(
    "--part",
    type=click.Choice(PARTS),
    default="reference",
    show_default=True,
    help="The reference pages; or for operations, the settings of the tuning page and the example configurations.",
)
@rules_option
def docs(folder: Path, only_check: bool, part: str, packs: tuple[Path, ...]) -> None:
    """Write the pages that are made from the rule base into a folder."""
    from engram_diagnose.reference.pages import stale_pages, write_pages
    from engram_diagnose.reference.tuning_page import stale_operations, write_operations

    index = _index(packs)
    if only_check:
        try:
            stale = (stale_operations if part == "operations" else stale_pages)(folder, index)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        again = f"engram-diagnose rules docs{' --part operations' if part == 'operations' else ''} {folder}"
        for name in stale:
            click.echo(f"{folder / name} is stale: run {again}")
        sys.exit(FINDINGS if stale else CLEAN)
    try:
        written = (write_operations if part == "operations" else write_pages)(folder, index)
    except OSError as error:
        raise click.UsageError(f"cannot write to {folder}: {error.strerror}; name another folder") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{_count(len(written), 'page')} written to {folder}", err=True)


def _index(packs: tuple[Path, ...]) -> "Index":
    from engram_diagnose.reference.index import index_of
    from engram_diagnose.rulebase import load_rules

    return index_of(load_rules(packs))


def _width() -> int:
    """The terminal's columns, 80 where there is none; COLUMNS says otherwise."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=2)
