"""Facts of what one run of a measuring tool printed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.tracepoints import watched_seconds
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.figures import Between, Found, Inapplicable, Missing, Proxy, UnparsedError, finite
from engram_diagnose.collectors.parse.recipe import absence
from engram_diagnose.engine.facts.fact import Fact, Reason, not_applicable, point


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """The newest answer of one name, None where nobody asked; its text, and the seconds it watched."""

    name: str
    answer: Answer | None
    text: str
    window: float


def tool_answer(answers: Iterable[Answer], name: str) -> ToolAnswer:
    """The newest answer of that name."""
    found = max((answer for answer in answers if answer.name == name), key=lambda answer: answer.time, default=None)
    text = found.body or "" if found and found.answered else ""
    return ToolAnswer(name, found, text, watched_seconds(text))


def facts_of_answer(
    said: ToolAnswer,
    names: Sequence[str],
    compute: Callable[[str], Mapping[str, Found]],
    get_by: Mapping[Reason, str],
    *,
    quality: str = "",
) -> list[Fact]:
    """
    All of `names`: what `compute` finds in the text, or why it is not known.

    `compute` may raise `UnparsedError`; `get_by` says what helps against a reason, and `quality` what to bear in mind
    of every figure.
    """
    answer = said.answer
    if answer is None:
        return [_unknown(name, Missing(Reason.NOT_COLLECTED, said.name), said, get_by) for name in names]
    if not answer.answered:
        return [_unknown(name, absence(answer), said, get_by) for name in names]
    try:
        found = compute(said.text)
    except UnparsedError as error:
        refusal = Missing(Reason.UNPARSED, f"{said.name}: {error}")
        return [_unknown(name, refusal, said, get_by) for name in names]
    return [_fact(name, found[name], said, answer, get_by, quality) for name in names]


def _unknown(name: str, why: Missing, said: ToolAnswer, get_by: Mapping[Reason, str]) -> Fact:
    return unknown(name, why, said.answer, source=said.name, get_by=get_by.get(why.reason, ""))


def _fact(
    name: str, found: Found, said: ToolAnswer, answer: Answer, get_by: Mapping[Reason, str], quality: str
) -> Fact:
    match found:
        case Missing():
            return _unknown(name, found, said, get_by)
        case Inapplicable(detail):
            return not_applicable(name, detail, source=said.name, host=answer.host, time=answer.time)
        case Proxy(value, of):
            return replace(known(name, point(value), answer, window=said.window, proxy_of=of), quality=quality)
        case Between(low, high):
            return replace(known(name, (low, high), answer, window=said.window), quality=quality)
        case str():
            return replace(known(name, found, answer, window=said.window), quality=quality)
    if not finite(found):
        return _unknown(name, Missing(Reason.NAN, f"{found}"), said, get_by)
    return replace(known(name, point(float(found)), answer, window=said.window), quality=quality)
