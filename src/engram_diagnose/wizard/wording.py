"""
What the wizard says: one change explained, the summary. No line is wider than a terminal of 80 columns.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from engram_diagnose.engine.advice.budget import Budget
from engram_diagnose.engine.advice.decision import Decision
from engram_diagnose.engine.advice.missing import missing_inputs
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.explanation.wording import fact_text, value_text
from engram_diagnose.engine.facts.fact import point
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.render.layout import Page
from engram_diagnose.render.neutral import visible
from engram_diagnose.render.style import plain_text
from engram_diagnose.render.tuning import CLASSES
from engram_diagnose.wizard.questions import Question
from engram_diagnose.wizard.typed import Bounds, bounds_text, typed_text

COLUMNS: Final = 80
_GUTTER: Final = 12
Field = tuple[str, str]

HOW_TO_ANSWER: Final = (
    "Enter leaves it unknown; ? explains more; q quits, and nothing is changed.",
    "Enter accepts; n leaves the setting as it is; a accepts this and all that follow; a value of your own replaces "
    "the advised one, in the key's unit or with a unit; ? explains more; q quits, and nothing is changed.",
)
_SOURCES: Final = {
    "advised": "with this change",
    "configured": "as configured",
    "sized": "not set; counted with what fits",
}


def paragraph(text: str, *, indent: int = 0) -> list[str]:
    """A text in lines of at most 80 columns."""
    page = Page(COLUMNS, _GUTTER)
    page.put((visible(text), ""), indent=indent, hang=2 if indent == 0 and ":" in text[:60] else 0)
    return _lines(page)


def fields(rows: Iterable[Field]) -> list[str]:
    """Labels with their texts beside them; rows without a text are left out."""
    page = Page(COLUMNS, _GUTTER)
    for label, text in rows:
        if text:
            page.field((label, ""), [[(visible(text), "")]], indent=2)
    return _lines(page)


def _lines(page: Page) -> list[str]:
    return plain_text(page.lines).splitlines()


def question_lines(question: Question) -> list[str]:
    """What is asked, what it decides, and what an answer may be."""
    return ["", *paragraph(f"{question.title}: {question.explanation}"), *fields([("answers", question.allowed)])]


def change_lines(decision: Decision, diagnosis: Diagnosis, bounds: Bounds, count: str) -> list[str]:
    """One change: from what to what, who asks for it and why, what it costs, when it takes effect, its bounds."""
    return [
        "",
        *paragraph(f"{count}  {_key(decision)}: {decision.parameter.title}"),
        *fields([
            ("change", f"{_now(decision)} -> {_then(decision)}"),
            ("asked by", _voice(decision, diagnosis)),
            ("cost", decision.chosen.tradeoff or decision.parameter.tradeoff),
            ("when", CLASSES[decision.parameter.restart]),
            ("bounds", bounds_text(decision, bounds)),
            *(("note", note) for note in decision.notes),
            *(("against", _against(decision, diagnosis)) for _ in decision.conflicting[:1]),
        ]),
    ]  # fmt: skip


def _key(decision: Decision) -> str:
    return decision.key.key if decision.key is not None else decision.name


def _now(decision: Decision) -> str:
    return "not set" if decision.current is None else typed_text(decision.current, decision)


def _then(decision: Decision) -> str:
    return "unknown" if decision.wanted is None else typed_text(decision.wanted, decision)


def _voice(decision: Decision, diagnosis: Diagnosis) -> str:
    chosen = decision.chosen
    who = f"table {chosen.rule}" if chosen.confidence is None else (
        f"cause {chosen.rule}, {diagnosis.scales.word(chosen.confidence)}"
    )  # fmt: skip
    return "; ".join(filter(None, (chosen.title, chosen.because))) + f" ({who})"


def _against(decision: Decision, diagnosis: Diagnosis) -> str:
    spec = diagnosis.catalogue.facts.get(decision.name)
    return "; ".join(f"{one.rule} asks for {fact_text(one.wanted, spec)}" for one in decision.conflicting)


def more_lines(decision: Decision, diagnosis: Diagnosis) -> list[str]:
    """What the setting is, why the rule says so, and which figures it moves which way."""
    rule = diagnosis.rules.rules.get(decision.chosen.rule)
    return fields([
        ("setting", decision.parameter.doc),
        ("reason", " ".join(rule.reason.split()) if rule is not None else ""),
        ("raising it", _effects(decision)),
    ])  # fmt: skip


def _effects(decision: Decision) -> str:
    words = {"+": "raises", "-": "lowers"}
    return ", ".join(f"{words[way]} {target}" for target, way in decision.parameter.effects.items())


def not_sized(decisions: Iterable[Decision], diagnosis: Diagnosis, open_: Sequence[Question]) -> list[str]:
    """What was not computed, by the option that would answer it, else by the figures that nobody knows."""
    reasons = ((one, _lacking(one, diagnosis, open_)) for one in decisions)
    return _by_reason("not sized", ((one, reason) for one, reason in reasons if reason))


def held_back(decisions: Iterable[Decision]) -> list[str]:
    """What has to wait, by what it waits for."""
    return _by_reason("held back", ((one, one.reason) for one in decisions))


def _lacking(decision: Decision, diagnosis: Diagnosis, open_: Sequence[Question]) -> str:
    """Empty for a setting that has no meaning here, such as the memory of each of one node."""
    formula = decision.parameter.formula
    missing = missing_inputs(formula, diagnosis) if formula else ()
    flags = [question.flag for question in open_ if not set(question.facts).isdisjoint(missing)]
    return f"needs {', '.join(flags or missing)}" if missing else ""


def _by_reason(label: str, reasons: Iterable[tuple[Decision, str]]) -> list[str]:
    found: dict[str, list[str]] = {}
    for decision, reason in reasons:
        found.setdefault(reason, []).append(decision.parameter.title)
    return fields((label, f"{', '.join(titles)}: {reason}") for reason, titles in found.items())


def budget_lines(budget: Budget) -> Iterator[str]:
    """The joint memory budget, share by share; nothing where none of them is known."""
    if not budget.shares:
        return
    yield ""
    yield from paragraph("Memory of all tiers and buffers together")
    yield from fields(
        (_bytes(share.size), f"{share.parameter.title}, {_SOURCES[share.source]}") for share in budget.shares
    )
    yield from fields([(_bytes(budget.total), _of_the_limit(budget))])


def _of_the_limit(budget: Budget) -> str:
    if budget.limit is None:
        return "together; nobody knows how much they may take: state --memory"
    over = "; that is too much: lower or leave out one of them" if budget.total > budget.limit else ""
    return f"together, of the {_bytes(budget.limit)} they may take{over}"


def _bytes(figure: float) -> str:
    return value_text(point(figure), UNITS["B"])
