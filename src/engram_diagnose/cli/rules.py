"""`engram-diagnose rules …`"""

from pathlib import Path

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, show, check, test and scaffold rules."""


@command.command()
@click.option("--rules", "packs", multiple=True, type=click.Path(path_type=Path))
def check(packs: tuple[Path, ...]) -> None:
    """Check rule files."""
    from engram_diagnose.engine.language.loader import texts_of
    from engram_diagnose.engine.language.problem import RuleBaseError, excerpt
    from engram_diagnose.rulebase import builtin_files, load_rules, pack_files

    try:
        loaded = load_rules(packs)
    except RuleBaseError as error:
        texts = texts_of(builtin_files(), *(pack_files(p) for p in packs))
        for problem in error.problems:
            click.echo(excerpt(problem, texts))
        raise SystemExit(2)
    for problem in loaded.warnings:
        click.echo(excerpt(problem, loaded.texts))
    click.echo(
        f"{len(loaded.rules.rules)} rules, {len(loaded.catalogue.facts)} facts: no errors, {len(loaded.warnings)} warnings"
    )


@command.command()
@click.argument("ids", nargs=-1)
@click.option("--rules", "packs", multiple=True, type=click.Path(path_type=Path))
def test(ids: tuple[str, ...], packs: tuple[Path, ...]) -> None:
    """Run the rules' own tests."""
    from engram_diagnose.engine.diagnosis import expert
    from engram_diagnose.engine.rule_tests import missing_metadata, run_tests
    from engram_diagnose.rulebase import load_rules

    loaded = load_rules(packs)
    rules = [r for r in loaded.rules.rules.values() if not ids or r.id in ids]
    results = run_tests(expert(loaded), rules)
    failed = [r for r in results if r.failure]
    for r in failed:
        click.echo(f"{r.mark}: {r.rule}: {r.name}: {r.failure}")
    for rule, what in missing_metadata({r.id: r for r in rules}):
        click.echo(f"{rule.mark}: {rule.id} lacks {what}")
    click.echo(f"{len(results)} tests of {len(rules)} rules, {len(failed)} failed")
    raise SystemExit(1 if failed else 0)
