"""
The report as text for a terminal, a pipe or a page.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from engram_diagnose.render.causes import CauseView, Narrowing, Sign, Signs, Step
from engram_diagnose.render.figures import count
from engram_diagnose.render.layout import Page, Span
from engram_diagnose.render.shell import command_lines
from engram_diagnose.render.style import coloured_text, plain_text
from engram_diagnose.render.view import NOTES, Listed, Missed, Report, report

_GUTTER: Final = 12
_SCREEN: Final = 40
_SEVERITIES: Final = {"critical": "critical", "warning": "warning", "info": "info"}
_STATES: Final = {"HEALTHY": "good"}


def render_text(
    document: Mapping[str, Any], *, console_width: int = 80, color: bool = False, verbose: bool = False
) -> str:
    """
    The diagnosis as text.

    Without `color` there is no escape sequence in it. No line is wider than `console_width` (20 at least), but for a
    command with a word that is. `verbose` tells every cause in full and lists all that could not be tested.
    """
    page = Page(console_width, _GUTTER)
    _Writer(report(document, verbose=verbose), page, verbose=verbose).write()
    return coloured_text(page.lines) if color else plain_text(page.lines)


class _Writer:
    def __init__(self, view: Report, page: Page, *, verbose: bool) -> None:
        self._view = view
        self._page = page
        self._verbose = verbose

    def write(self) -> None:
        view = self._view
        self._verdict()
        self._causes("Causes", "causes", view.detailed, view.further)
        if self._verbose:
            self._causes("Unlikely", "unlikely", view.unlikely, ())
        else:
            self._unlikely()
        self._changes()
        self._changed()
        self._unexplained()
        self._causes("Also concluded", "idle", (), view.idle)
        self._masked()
        self._causes("Experimental", "experimental", (), view.experimental)
        self._suppressed()
        self._gaps()
        self._derived()
        self._footer()

    def _heading(self, heading: str, section: str) -> None:
        self._page.blank()
        self._page.put((heading.upper(), "heading"), (f"  {NOTES[section]}", "dim"), hang=2)

    def _field(self, label: str, *texts: str) -> None:
        self._page.field((label, "label"), [[(text, "")] for text in texts if text])

    # The verdict

    def _verdict(self) -> None:
        verdict, page = self._view.verdict, self._page
        self._answer()
        for missed in verdict.others:
            page.put(*_missed(missed), indent=2, hang=2)
        self._top()
        counts = f"{verdict.counts}; " if verdict.counts else ""
        page.put((f"{counts}target set {self._view.target_set}", ""), indent=2, hang=2)

    def _answer(self) -> None:
        verdict = self._view.verdict
        style = _SEVERITIES.get(verdict.severity) or _STATES.get(verdict.label, "open")
        self._page.put((verdict.label, style), ("  ", ""), (verdict.answer, "title"), hang=2)

    def _top(self) -> None:
        if self._view.verdict.top:
            self._page.put((self._view.verdict.top, "title"), indent=2, hang=2)

    # Causes

    def _causes(self, heading: str, section: str, detailed: Sequence[CauseView], brief: Sequence[CauseView]) -> None:
        if not detailed and not brief:
            return
        self._heading(heading, section)
        for cause in detailed:
            self._title(cause)
            self._detailed(cause)
        for cause in brief:
            self._title(cause)
            (self._detailed if self._verbose else self._brief)(cause)

    def _unlikely(self) -> None:
        if self._view.unlikely:
            self._heading("Unlikely", "unlikely")
        for cause in self._view.unlikely:
            self._page.put((f"{cause.number:<3}", ""), (cause.title, "title"), (f": {cause.line}", ""), hang=3)

    def _title(self, cause: CauseView) -> None:
        self._page.blank()
        if cause.tie:
            self._page.put((cause.tie, "warning"), indent=3)
            self._page.blank()
        style = _SEVERITIES.get(cause.severity, "title")
        self._page.put((f"{cause.number or '-':<3}", style), (cause.title, "title"), hang=3)

    def _detailed(self, cause: CauseView) -> None:
        self._field("confidence", cause.confidence)
        self._field("impact", cause.impact)
        self._field("explains", *cause.explains)
        self._field("why", *cause.why)
        self._field("since when", cause.moved)
        self._page.field(("for", "label"), _signs(cause.supporting))
        self._page.field(("against", "label"), _signs(cause.opposing))
        self._field("unknown", cause.unknown)
        self._narrowing(cause.narrowing)
        for step in cause.steps:
            self._step(step)
        self._field("verify", *cause.verify)
        if self._verbose:
            self._field("reason", cause.reason)
            self._field("unless", *cause.false_positives)
            self._field("sources", *cause.refs)
        self._field("rule", cause.rule)

    def _brief(self, cause: CauseView) -> None:
        self._field("confidence", cause.confidence)
        self._field("impact", cause.impact if cause.impact_known else "")
        self._field("explains", *cause.explains)
        self._field("why", "; ".join(cause.why))
        self._field("do", cause.gist)
        self._field("rule", cause.rule)

    def _narrowing(self, found: Narrowing | None) -> None:
        if found:
            how = f"; get it by: {found.how}" if found.how else ""
            self._field("measure", f"{found.fact} would tell most ({found.why}){how}")

    def _step(self, step: Step) -> None:
        needs = f"; {step.needs}" if step.needs else ""
        lines: list[Sequence[Span]] = [[(f"{step.when}{needs}", "title")]]
        lines += [[(step.investigate, "")]] if step.investigate else []
        lines += [[(change.words, "dim" if change.note else "change")] for change in step.changes]
        lines += [[(f"because {step.because}", "")]] if step.because else []
        lines += [[("cost: ", "warning"), (step.tradeoff, "")]] if step.tradeoff else []
        self._page.field(("do", "label"), lines)
        self._commands(step.commands)

    def _commands(self, commands: Sequence[str]) -> None:
        indent = 3 if self._page.narrow else 3 + _GUTTER
        for command in commands:
            lines = command_lines(command, self._page.columns - indent - 2)
            for position, line in enumerate(lines):
                self._page.exactly((f"{'  ' if position else '$ '}{line}", "command"), indent=indent)

    # What else there is

    def _unexplained(self) -> None:
        if self._view.unexplained:
            self._heading("Not explained", "unexplained")
            for item in self._view.unexplained:
                self._page.put(*_missed(item), indent=3, hang=2)

    def _changes(self) -> None:
        if self._view.changes:
            self._heading("Changes", "changes")
            self._list(self._view.changes)

    def _changed(self) -> None:
        if self._view.changed:
            self._heading(f"Since {self._view.changed_since}", "changed")
            self._list(self._view.changed)

    def _masked(self) -> None:
        if self._view.masked:
            self._heading("Masked", "masked")
        for cause in self._view.masked:
            self._title(cause)
            self._field("test again", *(f"after {name}" for name in cause.after))
            self._field("confidence", cause.confidence)
            if self._verbose:
                self._field("impact", cause.impact)
                self._field("why", *cause.why)
            self._field("rule", cause.rule)

    def _suppressed(self) -> None:
        if self._view.suppressed:
            self._heading("Suppressed", "suppressed")
            self._list(self._view.suppressed)

    def _list(self, items: Sequence[Listed]) -> None:
        for item in items:
            self._page.put((item.title, "title"), (f": {item.note}", ""), indent=3, hang=2)

    def _gaps(self) -> None:
        gaps, view = self._view.gaps, self._view
        self._heading("Coverage", "coverage")
        self._field("targets", gaps.targets)
        self._field("causes", gaps.coverage)
        self._field("next", f"{gaps.step} ({gaps.reach})" if gaps.step else "")
        self._field("ruled out", view.ruled_out_ids)
        self._field("not here", view.not_applicable_ids)
        if self._verbose:
            self._everything()
        elif gaps.any:
            self._field("all of it", "--verbose lists what is missing for each")

    def _everything(self) -> None:
        view = self._view
        for label, items in (("Ruled out", view.ruled_out), ("Not here", view.not_applicable)):
            for item in items:
                self._page.put((f"{label}: ", "label"), (f"{item.title}: {item.note}", ""), indent=3, hang=2)
        for gap in (*view.gaps.symptoms, *view.gaps.causes):
            self._page.put(("Not tested: ", "label"), (f"{gap.title} ({gap.rule})", ""), indent=3, hang=2)
            if not gap.missing:
                self._page.put(("what is known is too coarse to tell", ""), indent=5)
            for fact, why, how in gap.missing:
                self._page.put((f"{fact}: {why}{f'; get it by: {how}' if how else ''}", ""), indent=5, hang=2)

    def _derived(self) -> None:
        if self._view.derived:
            self._heading("Worked out", "derived")
        for item in self._view.derived:
            self._page.put((item.title, ""), (f" ({item.note})" if item.note else "", "dim"), indent=3, hang=2)
        if self._view.derived_more:
            self._page.put((f"and {self._view.derived_more} more", "dim"), indent=3)

    def _footer(self) -> None:
        self._page.blank()
        for line in (self._view.where, self._view.against, self._view.rules):
            self._page.put((line, "dim"), hang=2)
        for override in self._view.overrides:
            self._page.put((f"override: {override.rule} {override.note}", "dim"), hang=2)
        self._page.put(
            ("engram-diagnose explain RULE --bundle FILE tells a verdict, or a missing one, in full", "dim"), hang=2
        )
        if len(self._page.lines) > _SCREEN:
            # A terminal shows the end of a long report: what matters is read there as well.
            self._page.blank()
            self._answer()
            self._top()


def _missed(missed: Missed) -> list[Span]:
    return [(missed.severity, _SEVERITIES.get(missed.severity, "title")), (f" {missed.title}: {missed.figures}", "")]


def _signs(signs: Signs) -> list[Sequence[Span]]:
    lines: list[Sequence[Span]] = [_sign(sign) for sign in signs.shown]
    return [*lines, [(f"and {count(signs.more, 'sign')} more", "dim")]] if signs.more and lines else lines


def _sign(sign: Sign) -> list[Span]:
    note = f" ({sign.note})" if sign.note else ""
    return [(sign.strength, "title"), (f": {sign.sentence}{note}", "")]
