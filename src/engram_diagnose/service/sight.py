"""
Incidents as a reader of the pages meets them: words, in the order in which they are read.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from markupsafe import Markup, escape

from engram_diagnose.history.model import Alert, Finding, Job
from engram_diagnose.history.records import Listed, Moment, Note
from engram_diagnose.render.figures import count, instant, named, percent, some
from engram_diagnose.render.neutral import clean, printing, visible
from engram_diagnose.render.view import Report
from engram_diagnose.service.query import LONGEST
from engram_diagnose.service.times import instant as iso_of

_STATES: Final = {"met": "HEALTHY", "partly-tested": "PARTLY TESTED", "untested": "NOT TESTED"}
_NAMES: Final = 3
_NAMELESS: Final = "an alert without a name"
_ROOM: Final = 200
"""Characters of one text in a list."""
_AGES: Final = ((86400, "day"), (3600, "hour"), (60, "minute"))


class When(NamedTuple):
    """An instant: for machines, for people, and how long ago."""

    iso: str
    words: str
    ago: str


class Row(NamedTuple):
    """
    An incident in a list, its texts cut to what a list has room for.

    `label` is the finding's severity, or what there is instead of a finding. `same` is the query for its instance.
    """

    id: str
    label: str
    tone: str
    state: str
    headline: str
    instance: str
    same: Markup
    cause: str
    action: str
    alerts: str
    at: When


class Waiting(NamedTuple):
    """Why there is no diagnosis, and what can be done."""

    title: str
    sentence: str
    error: str
    stuck: bool
    parked: bool = False


class AlertView(NamedTuple):
    """One alert."""

    name: str
    status: str
    starts: When
    ends: When | None
    labels: tuple[tuple[str, str], ...]
    annotations: tuple[tuple[str, str], ...]


class Happened(NamedTuple):
    """A line of the timeline."""

    at: When
    what: str


class NoteView(NamedTuple):
    """A note; each line by itself, since a line break is the only thing in it that is kept."""

    id: int
    author: str
    at: When
    lines: tuple[str, ...]


class FactRow(NamedTuple):
    """One fact as it was."""

    name: str
    value: str
    origin: str


def when(seconds: float, now: float) -> When:
    """An instant as it is shown."""
    iso = iso_of(seconds)[:19] + "Z"
    return When(iso, instant(iso), _ago(now - seconds))


def _ago(seconds: float) -> str:
    for size, unit in _AGES:
        if seconds >= size:
            return f"{count(int(seconds // size), unit)} ago"
    return "just now" if seconds >= 0 else "in the future"


def row(listed: Listed, now: float) -> Row:
    """An incident of a list."""
    incident, finding, job = listed.incident, listed.finding, listed.job
    label, tone = _label(finding, job)
    return Row(
        id=incident.id,
        label=label,
        tone=tone,
        state=incident.state,
        headline=_short(finding.sentence if finding else waiting(job).title),
        instance=_short(incident.instance),
        same=query({"instance": incident.instance}) if 0 < len(incident.instance) <= LONGEST else Markup(""),
        cause=_cause(finding),
        action=_short(finding.action) if finding else "",
        alerts=_short(alert_names(listed.names)),
        at=when(incident.at, now),
    )


def _label(finding: Finding | None, job: Job) -> tuple[str, str]:
    if finding is None:
        return ("NOT DIAGNOSED", "critical") if job.state == "parked" else ("WAITING", "open")
    if finding.severity:
        return finding.severity.upper(), finding.severity
    label = _STATES.get(finding.state, "NOT TESTED")
    return label, "good" if label == "HEALTHY" else "open"


def _cause(finding: Finding | None) -> str:
    if finding is None or not finding.title:
        return ""
    sure = "" if finding.confidence is None else f" ({percent(finding.confidence)})"
    return f"{_short(finding.title)}{sure}"


def beyond(finding: Finding | None, report: Report) -> str:
    """What the finding says and the report does not: that Prometheus could not be asked, for one."""
    sentence = visible(finding.sentence) if finding else ""
    if sentence in report.verdict.counts:
        return ""
    clauses = sentence.split("; ")
    told = next((number for number in range(len(clauses), 0, -1)
                 if report.verdict.answer.endswith("; ".join(clauses[:number]))), 0)  # fmt: skip
    return "; ".join(clauses[told:])


def _short(text: str) -> str:
    """At most what stands in two or three lines."""
    return visible(text if len(text) <= _ROOM else f"{text[:_ROOM].rstrip()}...")


def query(parameters: Mapping[str, str]) -> Markup:
    """The query of a link; it is whole, however long."""
    return Markup(escape("?" + urlencode(parameters)))  # noqa: S704 -- escaped


def alert_names(names: Iterable[str]) -> str:
    """Which alerts an incident is made of."""
    return some(sorted({visible(name) or _NAMELESS for name in names}), _NAMES)


def waiting(job: Job | None) -> Waiting:
    """What stands in the place of a diagnosis."""
    if job is None or job.state == "done":
        return Waiting("There is no diagnosis", "It is not in the database any more.", "", stuck=True)
    tried = f"It was tried {count(job.attempts, 'time')}." if job.attempts else ""
    if job.state == "parked":
        said = f"{tried} It is not tried again until somebody asks for it; the alerts were not lost."
        return Waiting("The diagnosis failed", said, visible(job.error), stuck=True, parked=True)
    if job.state == "running":
        return Waiting("The diagnosis is being made", f"It takes seconds. {tried}", visible(job.error), stuck=False)
    return Waiting(
        "The diagnosis has not begun", f"It takes seconds once it does. {tried}", visible(job.error), stuck=False
    )


def alert_view(alert: Alert, now: float) -> AlertView:
    """An alert."""
    ends = None if alert.ends_at is None else when(alert.ends_at, now)
    name = visible(alert.name) or _NAMELESS
    return AlertView(name, alert.status, when(alert.starts_at, now), ends, _pairs(alert.labels),
                     _pairs(alert.annotations))  # fmt: skip


def _pairs(texts: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((visible(name), visible(value)) for name, value in sorted(texts.items()))


def happened(one: Moment, now: float) -> Happened:
    """A line of the timeline."""
    name = (visible(one.alert.name) or _NAMELESS) if one.alert else ""
    words = {
        "firing": f"{name} fires",
        "resolved": f"{name} is resolved",
        "opened": "Its first alert arrived",
        "diagnosed": f"Diagnosed: {visible(one.text)}",
        "closed": "Closed: all of its alerts are resolved",
    }
    told = f" (told {one.times:,} times)" if one.times > 1 else ""
    asked = " (found by asking Alertmanager)" if one.source == "reconciled" else ""
    return Happened(when(one.at, now), words[one.what] + told + asked)


def note_view(note: Note, now: float) -> NoteView:
    """A note."""
    lines = tuple(map(printing, note.text.split("\n")))
    return NoteView(note.id, visible(note.author) or "somebody", when(note.at, now), lines)


def fact_rows(document: Mapping[str, Any]) -> tuple[FactRow, ...]:
    """Every fact of the document, with where it is from, or why it is unknown and how to get it."""
    return tuple(map(_fact, clean(document)["facts"]))


def _fact(fact: Mapping[str, Any]) -> FactRow:
    unknown = fact["unknown"]
    if unknown:
        why = f"{unknown['why']}: {unknown['detail']}" if unknown["detail"] else unknown["why"]
        how = f"; get it by: {unknown['get_by']}" if unknown["get_by"] else ""
        return FactRow(named(fact), "unknown", f"{why}{how}")
    status = "" if fact["status"] == "measured" else fact["status"]
    origin = ", ".join(filter(None, (fact["source"], fact["host"], instant(fact["time"]), status)))
    return FactRow(named(fact), fact["text"], origin)


def today(now: float) -> str:
    """The time at which a page was made."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def field(seconds: float | None) -> str:
    """An instant as a form's field has it: `2026-11-22T03:00`, in UTC."""
    return "" if seconds is None else iso_of(seconds)[:16]
