"""
A profile in words: the bottlenecks first, then the figures of each step, and what is not known and why.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from engram_diagnose.render.causes import cause_view, worth_telling
from engram_diagnose.render.figures import labels, percent
from engram_diagnose.render.layout import Page
from engram_diagnose.render.neutral import clean
from engram_diagnose.render.style import coloured_text, plain_text

Json = Mapping[str, Any]
_GUTTER: Final = 12
_BOTTLENECKS: Final = 3
_NAMES: Final = 3
_WIDE: Final = 30
_WIDER: Final = 8
"""Of those that say the same, the widest are looked at: the whole, and its first parts."""


def render_profile(document: Json, *, console_width: int = 80, color: bool = False) -> str:
    """The profile as text."""
    page = Page(console_width, _GUTTER)
    _Writer(clean(document), page).write()
    return coloured_text(page.lines) if color else plain_text(page.lines)


class _Writer:
    def __init__(self, document: Json, page: Page) -> None:
        self._document = document
        self._diagnosis: Json = document["diagnosis"]
        self._page = page

    def write(self) -> None:
        self._bottlenecks()
        for section in self._document["sections"]:
            self._section(section)
            if section["title"] == "CPU":
                self._functions()
        self._costs()

    def _heading(self, text: str, note: str = "") -> None:
        self._page.blank()
        self._page.put((text.upper(), "heading"), (f"  {note}" if note else "", "dim"), hang=2)

    def _bottlenecks(self) -> None:
        diagnosis, page = self._diagnosis, self._page
        instance = diagnosis["subject"]["instance"]
        page.put(("BOTTLENECKS", "heading"), (f"  of {instance}" if instance else "", "dim"), hang=2)
        causes = worth_telling(diagnosis["causes"])[:_BOTTLENECKS]
        for cause in causes:
            view = cause_view(cause, diagnosis, str(cause["rank"]))
            page.blank()
            page.put((f"{view.number:<3}", "critical"), (view.title, "title"), hang=3)
            self._field("confidence", view.confidence)
            self._field("why", *view.why)
            self._field("do", view.gist)
            self._field("rule", view.rule)
        if not causes:
            page.blank()
            page.put((f"none was concluded: {diagnosis['verdict']['sentence']}", ""), indent=3, hang=2)

    def _section(self, section: Json) -> None:
        self._heading(section["title"])
        facts = section["facts"]
        known = _without_repeats([fact for fact in facts if fact["status"] not in ("unknown", "not_applicable")])
        for fact in known:
            name = f"{fact['name']}{labels(fact['scope'])}"
            note = _note(fact)
            self._page.put((f"{name:<{_WIDE}} ", "label"), (fact["text"], ""), (note, "dim"), indent=3, hang=2)
        for why, names in _by_reason(facts).items():
            self._page.put((f"not known: {', '.join(names)}", "dim"), (f": {why}", "dim"), indent=3, hang=2)
        meaningless = [fact["name"] for fact in facts if fact["status"] == "not_applicable"]
        if meaningless:
            self._page.put((f"does not apply: {', '.join(dict.fromkeys(meaningless))}", "dim"), indent=3, hang=2)

    def _functions(self) -> None:
        if self._document["functions"]:
            self._page.blank()
            self._page.put((f"{'self':>9} {'total':>9}  share of the CPU time sampled", "dim"), indent=3)
        for one in self._document["functions"]:
            shares = f"{percent(one['self_share']):>9} {percent(one['total_share']):>9}  "
            self._page.put((shares, ""), (one["name"], "title"), indent=3, hang=21)

    def _costs(self) -> None:
        costs, guard = self._document["costs"], self._document["guard"]
        if guard and guard.get("stopped"):
            self._page.blank()
            self._page.put((f"Collecting was stopped: {guard['stopped']}", "warning"), hang=2)
        if not costs:
            return
        self._heading("Cost", f"CPU seconds of our own programs in {costs['seconds']:.1f} s")
        for tool, seconds in costs["cpu_seconds"].items():
            self._page.put((f"{tool:<{_WIDE}} ", "label"), (f"{seconds:.2f} s", ""), indent=3)

    def _field(self, label: str, *texts: str) -> None:
        self._page.field((label, "label"), [[(text, "")] for text in texts if text])


def _without_repeats(facts: Sequence[Json]) -> list[Json]:
    """Without what only says again of a part what is said of the whole, as where there is one memory space."""
    scopes: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for fact in facts:
        scopes.setdefault((fact["name"], fact["text"]), []).append(fact["scope"])
    wider = {said: sorted(found, key=len)[:_WIDER] for said, found in scopes.items()}
    return [fact for fact in facts if not _within(fact["scope"], wider[fact["name"], fact["text"]])]


def _within(scope: Mapping[str, str], others: Iterable[Mapping[str, str]]) -> bool:
    """Whether a scope is a part of one of the others."""
    return any(other.items() < scope.items() for other in others)


def _note(fact: Json) -> str:
    notes = [f"stands in for {fact['proxy_of']}"] if fact["proxy_of"] else []
    notes += [fact["quality"]] if fact["quality"] else []
    return f" ({'; '.join(notes)})" if notes else ""


def _by_reason(facts: Sequence[Json]) -> dict[str, list[str]]:
    """Names of what is not known, by the reason that they share."""
    found: dict[str, list[str]] = {}
    for fact in facts:
        if fact["status"] == "unknown":
            why = fact["unknown"]["why"]
            names = found.setdefault(why, [])
            if fact["name"] not in names:
                names.append(fact["name"])
    return {why: list(_some(names)) for why, names in found.items()}


def _some(names: Sequence[str]) -> Iterable[str]:
    yield from names[:_NAMES]
    if len(names) > _NAMES:
        yield f"{len(names) - _NAMES} more"
