"""
Advice as text: what to change, why, what it should bring and cost, and the lines of the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.render.figures import count, instant, labels, percent
from engram_diagnose.render.layout import Page
from engram_diagnose.render.neutral import clean, visible
from engram_diagnose.render.style import coloured_text, plain_text

Json = Mapping[str, Any]
_GUTTER: Final = 12
_SHOWN: Final = 6
HEADINGS: Final = {
    "now": ("Now", "can be undone at once"),
    "next restart": ("At the next restart", "read when the server starts"),
    "planned": ("Planned", "the index is built anew, or the machine is changed: choose the hour"),
}
UNMEASURED: Final = "unmeasured: no cause asks for it, so no figure is promised; verify against what is measured now"
CLASSES: Final = {
    "reload": "takes effect when the server reloads its configuration",
    "restart": "takes effect when the server is restarted",
    "reindex": "takes effect when the index is built anew",
    "host": "a setting of the machine, not of this file, and lost when it boots unless it is made permanent there",
}


def render_tuning(document: Json, *, console_width: int = 80, color: bool = False, kept: str = "",
                  applying: bool = False) -> str:  # fmt: skip
    """
    The advice as text, no line wider than `console_width` but for those of the diff and of queries.

    `kept` names the file that the patch was written to; with `applying` it is about to be applied.
    """
    page = Page(console_width, _GUTTER)
    # A diff's lines are shown as they are, but for what a terminal would obey.
    _Writer(clean(_without_diff(document)), page, kept, applying=applying).write(document["file"]["diff"])
    return coloured_text(page.lines) if color else plain_text(page.lines)


def _without_diff(document: Json) -> dict[str, Any]:
    return {**document, "file": {**document["file"], "diff": "", "reverse": ""}}


def source(voice: Json) -> str:
    """Who asks: `storage.wal-write-amplification, 97 %`, or the table."""
    scope = labels(voice["scope"])
    if voice["sizing"]:
        return f"{voice['rule']} (sizing)"
    return f"{voice['rule']}{scope}, {percent(voice['confidence'])}"


def effect_words(effect: Json) -> str:
    """What mending one cause should bring."""
    prediction = effect["prediction"]
    if prediction is None:
        return f"unmeasured: {effect['unmeasured']}"
    what = f"{prediction['on']}{labels(prediction['scope'])}"
    learned = f", scaled by {count(effect['learned_from'], 'verified case')}" if effect.get("learned_from") else ""
    calibrated = "" if effect["calibrated"] else ", uncalibrated"
    sure = f"if this is the cause ({percent(effect['confidence'])}{calibrated}){learned}"
    return f"{what} from {prediction['measured_text']} to {prediction['text']}, {sure}"


def waiting(criterion: Json) -> str:
    """From when on a criterion says anything: windows hold what was before, and a restart takes its time."""
    return f"from {format_value(criterion['after_seconds'], UNITS['s'])} after the restart on"


def total_words(document: Json) -> str:
    """One sentence: how many changes, and of what else there is."""
    changes = [one for group in document["groups"] for one in group["changes"]]
    parts = [count(len(changes), "change")] if changes else []
    for name, word in (("held", "held back"), ("unknown", "not computable"), ("ignored", "ignored by this release")):
        if document[name]:
            parts.append(f"{len(document[name])} {word}")
    return ", ".join(parts) or "nothing to change"


def budget_words(budget: Json) -> str:
    """The joint memory budget in a sentence; empty where nothing of it is known."""
    if not budget["shares"]:
        return ""
    total = f"tiers and buffers together {budget['total_text']}"
    if budget["limit"] is None:
        return f"{total}; the memory of the host is unknown, so nothing bounds it"
    over = " (over it)" if budget["total"] > budget["limit"] else ""
    return f"{total} of the {budget['limit_text']} they may take{over}"


class _Writer:
    def __init__(self, document: Json, page: Page, kept: str, *, applying: bool) -> None:
        self._document = document
        self._page = page
        self._kept = visible(kept)
        self._applying = applying

    def write(self, diff: str) -> None:
        self._verdict()
        for group in self._document["groups"]:
            self._group(group)
        self._effects()
        self._criteria()
        self._others()
        self._diff(diff)
        self._footer()

    def _heading(self, heading: str, note: str = "") -> None:
        self._page.blank()
        self._page.put((heading.upper(), "heading"), (f"  {note}", "dim"), hang=2)

    def _field(self, label: str, *texts: str | None, style: str = "") -> None:
        self._page.field((label, "label"), [[(text, style)] for text in texts if text])

    def _verdict(self) -> None:
        document, page = self._document, self._page
        changes = bool(document["groups"])
        page.put(("ADVICE", "warning" if changes else "good"), ("  ", ""), (total_words(document), "title"), hang=2)
        if not (
            changes
            or document["notes"]
            or document["sizing"]
            or document["held"]
            or document["ignored"]
            or document["unknown"]
        ):
            page.put((self._nothing(), ""), indent=2, hang=2)
        words = budget_words(document["budget"])
        if words:
            page.put((words, ""), indent=2, hang=2)
        for note in document["notes"]:
            page.put(("note: ", "warning"), (note, ""), indent=2, hang=2)

    def _nothing(self) -> str:
        """Why nothing is advised: that nothing could be told is not that all is well."""
        if self._document["verdict"]["state"] == "untested":
            return "no target could be tested, so nothing can be advised: collect from the server, then ask again"
        return "no cause that a parameter can mend was concluded; --size fits every parameter to this host and workload"

    def _group(self, group: Json) -> None:
        heading, note = HEADINGS[group["when"]]
        self._heading(heading, note)
        for change in group["changes"]:
            self._change(change)

    def _change(self, change: Json) -> None:
        page = self._page
        page.blank()
        name = change["key"] or change["parameter"]
        page.put((name, "title"), (": ", ""), (f"{change['from']} -> {change['to']}", "change"), indent=1, hang=3)
        self._field("by", "; ".join(source(voice) for voice in (change["by"], *change["agreeing"])[:_SHOWN]))
        self._field("because", change["because"])
        self._field("cost", change["tradeoff"])
        self._field("class", CLASSES[change["restart"]])
        self._field("command", change["command"])
        self._field("undo", change["undo"])
        self._field("note", *change["notes"])
        self._field("against", *(f"{source(one)} asks for {one['to']}" for one in change["conflicts"]))

    def _effects(self) -> None:
        effects = self._document["effects"]
        if not self._document["groups"]:
            return
        self._heading("What it should bring")
        self._page.blank()
        if not effects:
            self._page.put((UNMEASURED, ""), indent=1, hang=3)
        for effect in self._document["effects"]:
            self._page.put((effect["rule"], "title"), (f": {effect_words(effect)}", ""), indent=1, hang=3)

    def _criteria(self) -> None:
        criteria = self._document.get("criteria", [])
        for kind, heading, note in (
            ("success", "Success", "it helped, when all of these come out"),
            ("abort", "Abort", "undo it when one of these comes out, once its time has passed"),
        ):
            chosen = [one for one in criteria if one["kind"] == kind]
            if chosen:
                self._heading(heading, note)
                self._page.blank()
            for one in chosen:
                self._page.put((f"{one['sentence']}; {waiting(one)}", ""), indent=1, hang=3)
                if one["promql"]:
                    self._page.exactly((one["promql"], "command"), indent=3)
                else:
                    self._page.put((one["reason"], "dim"), indent=3)

    def _others(self) -> None:
        document = self._document
        self._ignored(document["ignored"])
        self._list("Held back", "asked for, and not advised",
                   [(change, change["reason"]) for change in document["held"]])  # fmt: skip
        self._uncomputed(document["unknown"])
        self._refused(document["refused"])

    def _ignored(self, changes: Sequence[Json]) -> None:
        """What causes ask for one by one; what only the tables would set, by name."""
        asked = [(change, "") for change in changes if not change["by"]["sizing"]]
        sized = [change["parameter"] for change in changes if change["by"]["sizing"]]
        heading, note = "Ignored by this release", "the server does not read them, so they are not written"
        self._list(heading, note, asked)
        if sized:
            if not asked:
                self._heading(heading, note)
                self._page.blank()
            self._page.put((f"sizing: {', '.join(sized)}", ""), indent=1, hang=3)

    def _list(self, heading: str, note: str, changes: Sequence[tuple[Json, str]]) -> None:
        if changes:
            self._heading(heading, note)
            self._page.blank()
        for change, reason in changes:
            words = f": {change['from']} -> {change['to']}, by {source(change['by'])}"
            self._page.put((change["key"] or change["parameter"], "title"), (words, ""), indent=1, hang=3)
            if reason:
                self._page.put((reason, "dim"), indent=3, hang=2)

    def _uncomputed(self, changes: Sequence[Json]) -> None:
        """The parameters that cannot be computed, by what they lack."""
        if not changes:
            return
        self._heading("Not computable", "asked for, without a figure")
        self._page.blank()
        lacking: dict[str, list[str]] = {}
        for change in changes:
            what = ", ".join(change["missing"]) or f"what {change['by']['rule']} needs"
            lacking.setdefault(what, []).append(change["key"] or change["parameter"])
        for what, names in lacking.items():
            self._page.put((what, "title"), (f" is unknown: {', '.join(names)}", ""), indent=1, hang=3)

    def _refused(self, refused: Sequence[Json]) -> None:
        if refused:
            self._heading("Concluded, and changes nothing")
            self._page.blank()
        for one in refused:
            text = f"{labels(one['scope'])}, {percent(one['confidence'])}: {one['reason']}"
            self._page.put((one["rule"], "title"), (text, ""), indent=1, hang=3)

    def _diff(self, diff: str) -> None:
        file = self._document["file"]
        if not diff:
            return
        self._heading("Patch", f"for {file['name']}")
        self._page.blank()
        for line in diff.splitlines():
            self._page.exactly((visible(line.replace("\t", "    ")), _diff_style(line)), indent=0)

    def _footer(self) -> None:
        document, page = self._document, self._page
        subject, file = document["subject"], document["file"]
        page.blank()
        where = subject["instance"] or subject["host"] or "no server"
        page.put((f"{where}, dialect {subject['dialect']}, measured {instant(subject['time'])}", "dim"), hang=2)
        for line in self._next(file):
            page.put((line, "dim"), hang=2)

    def _next(self, file: Json) -> Iterable[str]:
        if self._kept:
            return [f"the patch is kept in {self._kept}; the configuration is as it was"] if not self._applying else []
        return [] if self._applying else next_steps(file)


def next_steps(file: Json) -> Iterable[str]:
    """What the operator does with it."""
    if not file["changed"]:
        return
    if file["masked"]:
        yield (
            "the bundle holds this file without its secrets, so this is no patch yet: "
            "run it where the file is, or name the file with --config"
        )
    elif not file["here"]:
        yield "the file is not on this host: name it with --config, or keep the patch with --output and apply it there"
    else:
        yield "nothing was written; apply it with --apply, or keep it with --output FILE"


def _diff_style(line: str) -> str:
    if line.startswith(("+++", "---", "@@")):
        return "dim"
    return {"+": "for", "-": "against"}.get(line[:1], "")
