"""
Errors as an operator reads them: what, where, and what to do next; and the exit code of each.
"""

import click

from engram_diagnose.cli.output import NOT_COLLECTED, USAGE


def report(error: ValueError) -> int | None:
    """Print one of our errors to stderr and give its exit code; None for an error that is not ours."""
    from engram_diagnose.collectors.bundle_format import BundleError
    from engram_diagnose.collectors.gather import NothingToCollectError
    from engram_diagnose.engine.inference.durable import EngineUnavailable
    from engram_diagnose.engine.language.problem import RuleBaseError
    from engram_diagnose.render.named import NotInDiagnosisError

    if isinstance(error, RuleBaseError):
        _report_rules(error)
        return USAGE
    codes = {
        BundleError: NOT_COLLECTED,
        NothingToCollectError: NOT_COLLECTED,
        EngineUnavailable: USAGE,
        NotInDiagnosisError: USAGE,
    }
    for kind, code in codes.items():
        if isinstance(error, kind):
            click.echo(f"engram-diagnose: {error}", err=True)
            return code
    return None


def _report_rules(error: object) -> None:
    from pathlib import Path

    from engram_diagnose.engine.language.problem import RuleBaseError, excerpt

    assert isinstance(error, RuleBaseError)  # noqa: S101 -- narrows the type; report() has asked
    texts: dict[str, str] = {}
    for problem in error.problems:
        name = problem.mark.file
        if name not in texts:
            try:
                texts[name] = Path(name).read_bytes().decode("utf-8", "replace")
            except OSError:
                texts[name] = ""
        click.echo(excerpt(problem, texts), err=True)
    count = sum(problem.severity == "error" for problem in error.problems)
    click.echo(
        f"engram-diagnose: {count} problem{'' if count == 1 else 's'} in the rules; nothing was diagnosed", err=True
    )
