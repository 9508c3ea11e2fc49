"""
Errors as an operator reads them: what, where, and what to do next; and the exit code of each.
"""

from typing import Final

import click

from engram_diagnose.cli.output import NOT_COLLECTED, USAGE

_NOT_COLLECTED: Final = frozenset(
    {
        "BenchmarkError", "BundleError", "BusyHostError", "ClusterError", "LoadFailedError", "NoAnswerError",
        "NoCompilerError", "NoRecordError", "NothingMeasuredError", "NothingToCollectError", "NothingToCompareError",
        "PreflightError",
    }
)  # fmt: skip
"""By name, so that no command pays for importing what can only fail in another."""


def report(error: ValueError) -> int | None:
    """
    Print one of our errors to stderr and give its exit code; None for an error that is not ours.

    Ours are the errors that a module of this package defines: each says what, where and what to do next.
    """
    kind = type(error)
    if not kind.__module__.startswith("engram_diagnose."):
        return None
    if kind.__name__ == "RuleBaseError":
        _report_rules(error)
        return USAGE
    click.echo(f"engram-diagnose: {error}", err=True)
    return NOT_COLLECTED if kind.__name__ in _NOT_COLLECTED else USAGE


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
