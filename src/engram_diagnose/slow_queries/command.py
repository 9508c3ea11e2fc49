"""
What the command does: collect over the wished window, and analyse a bundle under the rules in force.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.diagnosing import collect_bundle
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.rulebase import load_rules
from engram_diagnose.slow_queries.analysis import analyse

if TYPE_CHECKING:
    from engram_diagnose.collectors.gather import Request

Say = Callable[[str], None]


def collected_since(request: "Request", packs: Iterable[Path], since: float | None, *, say: Say,
                    progress: Say) -> Bundle:  # fmt: skip
    """
    A bundle whose rates and quantiles are over `since` seconds.

    Raises `click.UsageError` for a look-back that is longer than the rules' limit or shorter than a window.
    """
    limits = read_limits(load_rules(packs, thorough=False).texts, "slow-queries")
    length = limits["since"] if since is None else since
    if not limits["window"] <= length <= limits["longest"]:
        least, most = (format_value(limits[name], UNITS["s"]) for name in ("window", "longest"))
        raise click.UsageError(f"--since goes from {least} to {most}; for a time further back give --at as well")
    return collect_bundle(replace(request, window=length), packs, say=say, progress=progress)


def analysed(bundle: Bundle, packs: Iterable[Path], over: float | None) -> dict[str, Any]:
    """The analysis of a bundle; raises `click.UsageError` for a limit that is none."""
    if over is not None and not over > 0:
        raise click.UsageError("--over is a time above 0, such as 10ms")
    return analyse(bundle, expert(load_rules(packs, thorough=False)), over=over)
