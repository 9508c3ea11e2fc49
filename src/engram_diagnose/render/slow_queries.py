"""
Slow queries in words: one section for each slow operation and space, the slowest first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from engram_diagnose.render.causes import cause_view, worth_telling
from engram_diagnose.render.escape import code, fenced, markdown
from engram_diagnose.render.figures import count, instant, percent
from engram_diagnose.render.layout import Page
from engram_diagnose.render.neutral import clean
from engram_diagnose.render.style import coloured_text, plain_text

Json = Mapping[str, Any]
_GUTTER: Final = 12
_CAUSES: Final = 3
_NO_CAUSE: Final = "none of those that could be tested"
_STATES: Final = {"yes": "", "no": "", "unknown": "cannot be told: "}


def render_slow_queries(document: Json, *, summary: bool = False, console_width: int = 80, color: bool = False) -> str:
    """The analysis as text; with `summary` one line for each slow slice."""
    page = Page(console_width, _GUTTER)
    _Writer(clean(document), page, summary=summary).write()
    return coloured_text(page.lines) if color else plain_text(page.lines)


def slice_name(one: Json) -> str:
    """`recall in acme`; `recall` where the server tells no spaces apart."""
    name = f"{one['operation']} in {one['space']}" if one["space"] else str(one["operation"])
    return f"{name} (background)" if one["background"] else name


def headline(document: Json) -> str:
    """The answer in a sentence."""
    slow = len(document["slow"]) + len(document["also_slow"])
    over, since = document["over"], document["since"]
    if slow:
        return f"{count(slow, 'operation')} over {over} (P99 of {since})"
    if document["unsure"]:
        return f"Nothing that is surely over {over} (P99 of {since}); {len(document['unsure'])} may be"
    if document["within"]:
        return f"Nothing over {over} (P99 of {since}): {count(len(document['within']), 'operation')} looked at"
    return "No latency is known"


class _Writer:
    def __init__(self, document: Json, page: Page, *, summary: bool) -> None:
        self._document = document
        self._page = page
        self._summary = summary

    def write(self) -> None:
        document, page = self._document, self._page
        slow = [*document["slow"], *document["also_slow"]]
        style = "critical" if slow else "good" if document["within"] and not document["unsure"] else "open"
        where = document["subject"]["instance"]
        page.put((headline(document), style), (f"  {where}" if where else "", ""), hang=2)
        for one in document["slow"]:
            self._brief(one) if self._summary else self._whole(one)
        for one in document["also_slow"]:
            self._brief(one)
        self._others()
        page.blank()
        subject = document["subject"]
        page.put((f"{instant(subject['time'])}; dialect {subject['dialect']}", "dim"))

    def _brief(self, one: Json) -> None:
        cause = one["causes"][0] if one.get("causes") else None
        said = f": {cause['title']} ({_confidence(cause)})" if cause else ""
        pattern = next((f"; {item['sentence']}" for item in one.get("patterns", ()) if item["state"] == "yes"), "")
        self._page.put((slice_name(one), "title"), (f"  P99 {one['p99']}{said}{pattern}", ""), indent=2, hang=2)

    def _whole(self, one: Json) -> None:
        page = self._page
        page.blank()
        page.put((slice_name(one), "title"), (f"  P99 {one['p99']}", "critical"), hang=2)
        self._field("beside", "; ".join(f"{name} {text}" for name, text in one["figures"].items()))
        for pattern in one["patterns"]:
            self._field(pattern["name"], _pattern(pattern))
        self._causes(one)
        for query in one["queries"]:
            self._query(query)

    def _causes(self, one: Json) -> None:
        told = worth_telling(one["causes"])[:_CAUSES]
        for view in (cause_view(cause, one, str(cause["rank"])) for cause in told):
            self._field(f"cause {view.number}", f"{view.title}: {view.confidence}")
            self._field("", *view.why)
            self._field("do", view.gist)
            self._field("rule", view.rule)
        more = [cause["rule"] for cause in one["causes"] if cause not in told]
        if more:
            self._field("", f"and {count(len(more), 'further cause')}: {', '.join(more)}")
        if not told:
            self._field("cause", _NO_CAUSE)
        if one["not_testable"]:
            self._field("not tested", f"{count(len(one['not_testable']), 'cause')}: run --verbose says what each lacks")

    def _query(self, query: Json) -> None:
        page = self._page
        page.field(("look at", "label"), [[(query["shows"], "")]])
        page.exactly((query["promql"], "command"), indent=3)

    def _others(self) -> None:
        document = self._document
        self._list("not sure", document["unsure"], "the bucket of its P99 reaches over the limit and under it")
        self._list("within", document["within"], "")
        for one in document["unknown"]:
            self._page.blank()
            self._field("unknown", _unknown(one))

    def _list(self, label: str, found: Sequence[Json], note: str) -> None:
        if found:
            self._page.blank()
            said = "; ".join(f"{slice_name(one)} {one['p99']}" for one in found)
            self._field(label, f"{said} ({note})" if note else said)

    def _field(self, label: str, *texts: str) -> None:
        self._page.field((label, "label"), [[(text, "")] for text in texts if text])


def _unknown(one: Json) -> str:
    """Of what the latency is not known, why, and what would tell."""
    name = slice_name(one) if one["operation"] else "latency"
    how = f"; get it by: {one['get_by']}" if one["get_by"] else ""
    return f"{name}: {one['why']}{how}"


def _confidence(cause: Json) -> str:
    return percent(cause["confidence"]["probability"])


def slow_queries_markdown(document: Json, *, summary: bool = False) -> str:
    """The analysis as Markdown."""
    document = clean(document)
    lines = [f"**{markdown(headline(document))}** {markdown(document['subject']['instance'])}", ""]
    rows = [*document["slow"], *document["also_slow"]]
    if rows:
        lines += ["| Operation | P99 | First cause | Pattern |", "|---|---|---|---|"]
        lines += [_row(one) for one in rows]
    for one in () if summary else document["slow"]:
        lines += _section(one)
    for label in ("unsure", "within"):
        if document[label]:
            said = "; ".join(f"{slice_name(one)} {one['p99']}" for one in document[label])
            lines += ["", f"{label}: {markdown(said)}"]
    lines += [f"\nunknown: {markdown(_unknown(one))}" for one in document["unknown"]]
    return "\n".join(lines) + "\n"


def _section(one: Json) -> list[str]:
    lines = ["", f"## {markdown(slice_name(one))}", ""]
    lines += [f"- {item['name']}: {markdown(_pattern(item))}" for item in one["patterns"]]
    for cause in worth_telling(one["causes"])[:_CAUSES]:
        view = cause_view(cause, one, str(cause["rank"]))
        lines += [f"- cause {view.number}: {markdown(view.title)}: {markdown(view.confidence)} ({code(view.rule)})"]
        lines += [f"  - {markdown(why)}" for why in view.why]
        lines += [f"  - do: {markdown(view.gist)}"] if view.gist else []
    lines += [] if one["causes"] else [f"- cause: {_NO_CAUSE}"]
    for query in one["queries"]:
        lines += ["", f"{code(query['shows'])}:", "", str(fenced((query["promql"],), "promql"))]
    return lines


def _pattern(item: Json) -> str:
    return f"{_STATES[item['state']]}{item['sentence']}"


def _row(one: Json) -> str:
    causes, patterns = one.get("causes") or (), one.get("patterns") or ()
    cause = f"{causes[0]['title']}, {_confidence(causes[0])}" if causes else ""
    pattern = "; ".join(item["sentence"] for item in patterns if item["state"] == "yes")
    cells = (slice_name(one), one["p99"], cause, pattern)
    return "| " + " | ".join(map(markdown, cells)) + " |"
