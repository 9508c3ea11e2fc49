"""
How a fact's value came about; or why there is none, and how to get it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engram_diagnose.render.causes import missing_why
from engram_diagnose.render.figures import instant, named, reading_words, some
from engram_diagnose.render.layout import Page
from engram_diagnose.render.named import all_missing, causes_of, fact_not_found, pieces_of
from engram_diagnose.render.neutral import clean
from engram_diagnose.render.style import coloured_text, plain_text

Json = Mapping[str, Any]

_GUTTER: Final = 12
_USERS_SHOWN: Final = 8


def render_how(document: Json, fact_name: str, *, console_width: int = 80, color: bool = False) -> str:
    """
    How the fact came to its value in every scope: source, host, time, the rule and readings it was derived from.

    `fact_name` may narrow with labels, as in `op.latency.p99{operation=store}`. Raises `NotInDiagnosisError` for a
    name that the diagnosis says nothing of.
    """
    page = Page(console_width, _GUTTER)
    shown = clean(document)
    name = fact_name.strip()
    writer = _Writer(shown, page)
    facts = [fact for fact in shown["facts"] if _is_meant(named(fact), name)]
    for fact in facts:
        writer.fact(fact)
    if not facts and not writer.missing(name):
        raise fact_not_found(document, name)
    return coloured_text(page.lines) if color else plain_text(page.lines)


def _is_meant(full: str, asked: str) -> bool:
    """Whether a fact is the one that is asked for: of that name, with these labels at least."""
    base, _, inner = asked.partition("{")
    wanted = {label.strip() for label in inner.rstrip("} ").split(",") if label.strip()}
    own, _, its = full.partition("{")
    return own == base.strip() and wanted <= {label.strip() for label in its.rstrip("}").split(",")}


class _Writer:
    def __init__(self, document: Json, page: Page) -> None:
        self._document = document
        self._page = page

    def _field(self, label: str, *texts: str | None) -> None:
        self._page.field((label, "label"), [[(text, "")] for text in texts if text])

    def fact(self, fact: Json) -> None:
        """Write where a fact comes from."""
        self._page.blank()
        self._page.put((f"{named(fact)}  {fact['text']}", "title"), hang=2)
        self._field("status", fact["status"].replace("_", " "))
        unknown = fact["unknown"]
        if unknown:
            self._field("because", missing_why(unknown))
            self._field("get it by", unknown["get_by"])
        self._field("source", fact["source"])
        self._derivation(fact)
        self._field("host", fact["host"])
        self._field("time", instant(fact["time"]))
        self._field("window", f"{fact['window_seconds']:g} s" if fact["window_seconds"] else "")
        self._field("stands for", fact["proxy_of"])
        self._field("quality", fact["quality"])
        self._field("read by", some(self._users(fact), _USERS_SHOWN))

    def _derivation(self, fact: Json) -> None:
        for item in self._document["derived"]:
            if fact["source"] == f"rule {item['rule']}" and item["scope"] == fact["scope"]:
                self._field("by", f"{item['title']}: {item['why']}")
                self._field("from", *map(reading_words, item["inputs"]))

    def missing(self, asked: str) -> bool:
        """Write why a fact that nobody collected is missing; whether it is one that rules asked for."""
        found = {item["fact"]: item for item in all_missing(self._document) if _is_meant(item["fact"], asked)}
        for name, item in sorted(found.items()):
            self._page.blank()
            self._page.put((f"{name}  unknown", "title"), hang=2)
            self._field("because", missing_why(item))
            self._field("get it by", item["get_by"])
            self._field("waited for", some(self._waiting(name), _USERS_SHOWN))
        return bool(found)

    def _users(self, fact: Json) -> list[str]:
        """The rules that read a fact, as far as the document traces them."""
        own, reading = named(fact), _readings(self._document)
        return sorted({rule for rule, readings in reading if any(named(item) == own for item in readings)})

    def _waiting(self, name: str) -> list[str]:
        document = self._document
        lists = (*document["not_testable"], *document["symptoms_not_tested"])
        return sorted({item["rule"] for item in lists if any(missing["fact"] == name for missing in item["missing"])})


def _readings(document: Json) -> Iterator[tuple[str, Sequence[Json]]]:
    for symptom in document["symptoms"]:
        yield from ((symptom["rule"], test["facts"]) for test in symptom["tests"])
    for cause in causes_of(document):
        yield from ((cause["rule"], test["facts"]) for test in cause["gate"])
        yield from ((cause["rule"], test["facts"]) for piece in pieces_of(cause) for test in piece["tests"])
    yield from ((item["rule"], item["inputs"]) for item in document["derived"])
