"""Cache lines that cores fight over: `perf c2c`, which needs a CPU that samples memory accesses by address."""

from __future__ import annotations

import re

from engram_diagnose.collectors.capture.memory_samples import sampled
from engram_diagnose.collectors.capture.reading import Reading
from engram_diagnose.collectors.capture.step import Step
from engram_diagnose.collectors.capture.tool import run_tool
from engram_diagnose.collectors.capture.tracepoints import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.step import Context

COLLECTOR = "c2c"
REPORT = "perf c2c report"
"""The answer with the report."""

LINES_KEPT = 8
"""Cache lines whose accesses are kept: the report's first are the most contended."""

_REPORT_SECONDS = 20.0


def look_at_lines(context: Context) -> list[Answer]:
    """The report on shared cache lines, or why there is none."""
    return sampled(context, COLLECTOR, REPORT, tool="c2c", report=_report)


STEP = Step(
    "false sharing",
    "cache lines that several cores modify",
    "sampled loads and stores for as long as it watches; needs PEBS, IBS or SPE",
    look_at_lines,
)


def _report(context: Context, data: str) -> Reading:
    report = ["perf", "c2c", "report", "-i", data, "--stdio", "-NN", "--full-symbols", "--no-source"]
    printed = run_tool(report, seconds=_REPORT_SECONDS, stop=context.stop)
    context.spending.add("perf c2c report", printed.cpu_seconds)
    return refusal(printed, context.machine) or Reading(first_lines(printed.output))


def first_lines(report: str) -> str:
    """A report with the accesses of its first `LINES_KEPT` cache lines only."""
    rows = report.splitlines(keepends=True)
    rules = [index for index, row in enumerate(rows) if re.fullmatch(r"\s*-{20,}\s*", row)]
    beyond = 2 * LINES_KEPT  # one rule above and one below each cache line's own row
    return "".join(rows[: rules[beyond]] if len(rules) > beyond else rows)
