"""
A benchmark as text for a terminal, a pipe or a page.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from engram_diagnose.render.bench import SAYS, AdviceView, Ladder, OperationView, RunView, VerdictRow, View, bench_view
from engram_diagnose.render.layout import Page, Span, cells
from engram_diagnose.render.shell import command_lines
from engram_diagnose.render.style import coloured_text, plain_text

Json = Mapping[str, Any]

_GUTTER: Final = 13
_INDENT: Final = 2
_STATE: Final = 14
_MEASURED: Final = 12
_LIMIT: Final = 20
_STYLES: Final = {
    "pass": "good",
    "partly": "open",
    "fail": "critical",
    "invalid": "warning",
    "untested": "open",
    "not measured": "open",
}
_AFTER: Final = ("offered", "good", "failed")
"""Words that stand behind their figure."""
_SEVERITIES: Final = {"critical": "critical", "warning": "warning", "info": "info"}


def bench_text(document: Json, *, console_width: int = 80, color: bool = False, ascii_only: bool = False) -> str:
    """
    The report as text; no line is wider than `console_width`, and without `color` no escape sequence in it.

    With `ascii_only` it is in ASCII: for a terminal whose encoding has no more.
    """
    page = Page(console_width, _GUTTER)
    _Writer(page, bench_view(document)).write()
    text = coloured_text(page.lines) if color else plain_text(page.lines)
    return text.replace("µ", "u").encode("ascii", "backslashreplace").decode("ascii") if ascii_only else text


class _Writer:
    def __init__(self, page: Page, view: View) -> None:
        self._page = page
        self._view = view
        self._what = page.columns - _INDENT - _STATE - _MEASURED - _LIMIT

    def write(self) -> None:
        view, page = self._view, self._page
        page.put((view.label, _STYLES[view.state]), ("  ", ""), (view.sentence, "title"), hang=2)
        page.put((view.name, ""), (f"; {view.when}", "dim"), indent=_INDENT, hang=2)
        for server in view.servers:
            page.put((server, "dim"), indent=_INDENT, hang=2)
        for note in view.notes:
            page.put(("note: ", "label"), (note, ""), indent=_INDENT, hang=2)
        self._verdicts()
        self._advised()
        for ladder in view.ladders:
            self._ladder(ladder)
        for run in view.runs:
            self._run(run)
        page.blank()
        page.put((SAYS, "dim"), hang=2)

    def _heading(self, title: str, note: str) -> None:
        self._page.blank()
        self._page.put((title.upper(), "heading"), (f"  {note}" if note else "", "dim"), hang=2)

    # Verdicts

    def _verdicts(self) -> None:
        if not self._view.groups:
            return
        self._heading("verdicts", f"against the set {self._view.target_set}")
        for group in self._view.groups:
            self._page.put((group.workload, "title"), indent=_INDENT)
            for row in group.rows:
                self._row(row)

    def _row(self, row: VerdictRow) -> None:
        page, style = self._page, _STYLES[row.state]
        columns = ((row.what, self._what), (row.measured, _MEASURED), (row.limit, _LIMIT))
        if page.narrow or any(cells(text) >= width for text, width in columns):
            page.put((f"{row.state}: ", style), (f"{row.what} {row.measured}, {row.limit}", ""), indent=_INDENT, hang=2)
        else:
            what = row.what + " " * (self._what - cells(row.what))
            figures = f"{row.measured:>{_MEASURED - 2}}  {row.limit}"
            page.lines.append([(" " * _INDENT, ""), (f"{row.state:<{_STATE}}", style), (what, "label"), (figures, "")])
        if row.reason:
            page.put((row.reason, "dim"), indent=_INDENT + (2 if page.narrow else _STATE), hang=2)

    # What is advised

    def _advised(self) -> None:
        view = self._view
        if not view.diagnosis:
            return
        self._heading("recommendations", view.diagnosis)
        for cause in view.advice:
            self._cause(cause)
        self._page.put((view.coverage, "dim"), indent=_INDENT, hang=2)

    def _cause(self, cause: AdviceView) -> None:
        page = self._page
        page.put((f"{cause.number}  ", _SEVERITIES.get(cause.severity, "title")), (cause.title, "title"), hang=3)
        self._field("confidence", [cause.confidence])
        self._field("explains", cause.explains)
        for step in cause.steps:
            needs = f"; {step.needs}" if step.needs else ""
            lines: list[list[Span]] = [[(f"{step.when}{needs}", "title")]]
            lines += [[(step.investigate, "")]] if step.investigate else []
            lines += [[(change.words, "change")] for change in step.changes]
            lines += [[(f"because {step.because}", "")]] if step.because else []
            lines += [[("cost: ", "warning"), (step.tradeoff, "")]] if step.tradeoff else []
            page.field(("do", "label"), lines)
            self._commands(step.commands)
        self._field("rule", [cause.rule])
        page.blank()

    def _commands(self, commands: Iterable[str]) -> None:
        indent = 3 if self._page.narrow else 3 + _GUTTER
        for command in commands:
            for position, line in enumerate(command_lines(command, self._page.columns - indent - 2)):
                self._page.exactly((f"{'  ' if position else '$ '}{line}", "command"), indent=indent)

    def _field(self, label: str, texts: Iterable[str]) -> None:
        self._page.field((label, "label"), [[(text, "")] for text in texts if text])

    # Runs

    def _ladder(self, ladder: Ladder) -> None:
        self._heading(ladder.title, ", ".join(ladder.about))
        heads = ("offered", "good", "failed", *(f"{name} P99" for name in ladder.operations))
        for row in ladder.rows:
            cells_ = (row.offered, row.good, row.failed, *row.waits)
            self._step(heads, cells_, row.invalid)

    def _step(self, heads: tuple[str, ...], figures: tuple[str, ...], invalid: str) -> None:
        words = ", ".join(f"{figure} {head}" if head in _AFTER else f"{head} {figure}"
                          for head, figure in zip(heads, figures, strict=True))  # fmt: skip
        note: list[Span] = [(f"  INVALID: {invalid}", "warning")] if invalid else []
        self._page.put((words, ""), *note, indent=_INDENT, hang=2)

    def _run(self, run: RunView) -> None:
        self._heading(f"run {run.number}", run.title)
        if run.invalid:
            self._page.put((f"INVALID: {run.invalid}", "warning"), indent=_INDENT, hang=2)
        for line in run.about:
            self._page.put((line, ""), indent=_INDENT, hang=2)
        self._page.put((f"client: {run.client}", "dim"), indent=_INDENT, hang=2)
        for operation in run.operations:
            self._operation(operation)
        if run.quality:
            self._page.put(("recall quality: ", "label"), (run.quality, ""), indent=_INDENT, hang=2)

    def _operation(self, one: OperationView) -> None:
        times = ", ".join(f"{name} {time}" for name, time in one.latencies)
        lines = (f"{one.rate} good, {one.sent} sent, {one.failed} failed", f"response {times}",
                 f"service P99 {one.service}")  # fmt: skip
        name = one.name if cells(one.name) < _GUTTER else one.name.replace("_", " ")
        if cells(name) >= _GUTTER:
            self._page.put((name, "label"), indent=_INDENT)
            name = ""
        self._page.field((name, "label"), [[(line, "")] for line in lines], indent=_INDENT)
