"""Recipes: which facts come from which answers, and how."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.figures import (
    Between,
    Inapplicable,
    Missing,
    Noted,
    Proxy,
    Said,
    UnparsedError,
    finite,
)
from engram_diagnose.engine.facts.fact import (
    Fact,
    Reason,
    Status,
    Value,
    not_applicable,
    point,
    unknown_fact,
)
from engram_diagnose.engine.facts.scope import INSTANCE, Scope

Key = str | tuple[str, Scope]
"""A fact's name, with its scope where that is narrower than the instance."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two snapshots of one source, `seconds` apart."""

    before: str
    after: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """
    How `facts` are made.

    `compute` gets one `Pair` for each of `pairs`, the newest text of each of `texts`, and that of
    each of `optional`, "" where there is none; it gives what it found by name, and may raise
    `UnparsedError`. A fact that it says nothing of is not in the source. The first missing source
    is the reason for all.
    """

    facts: tuple[str, ...]
    compute: Callable[..., Mapping[Key, Said]]
    pairs: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


GET_BY: Final[Mapping[Reason, str]] = {
    Reason.PTRACE_DENIED: "collect as root, or as the user that the server runs as",
    Reason.OTHER_HOST: "run `engram-diagnose collect` on the server's host",
    Reason.TARGET_GONE: "collect again while the server runs",
    Reason.TOO_FEW_SAMPLES: "collect for longer, or while there is load",
    Reason.RESET: "collect again",
    Reason.NOT_COLLECTED: "run `engram-diagnose collect` on the server's host",
}


class Answers:
    """The answers of a bundle by name, oldest first."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._by_name: dict[str, list[Answer]] = {}
        for answer in sorted(answers, key=lambda answer: answer.time):
            self._by_name.setdefault(answer.name, []).append(answer)

    def newest(self, name: str) -> Answer | None:
        """The last answer of that name, answered or not; None when nobody asked."""
        return self._by_name.get(name, [None])[-1]

    def oldest(self, name: str) -> Answer | None:
        """The first answer of that name."""
        return self._by_name.get(name, [None])[0]


def facts_of(recipes: Iterable[Recipe], answers: Answers) -> list[Fact]:
    """Every fact of every recipe, known or unknown with the reason."""
    return [fact for recipe in recipes for fact in _cook(recipe, answers)]


def names_of(recipes: Iterable[Recipe]) -> tuple[str, ...]:
    """The names of the facts that the recipes make, sorted."""
    return tuple(sorted({name for recipe in recipes for name in recipe.facts}))


def _cook(recipe: Recipe, answers: Answers) -> list[Fact]:
    dish = _Dish(recipe, answers)
    missing = dish.missing()
    if missing:
        return [dish.fact(name, missing) for name in recipe.facts]
    try:
        found = recipe.compute(*dish.arguments())
    except UnparsedError as error:
        refusal = Missing(Reason.UNPARSED, f"{dish.source}: {error}")
        return [dish.fact(name, refusal) for name in recipe.facts]
    return dish.facts(found)


class _Dish:
    """One recipe with the answers it needs."""

    def __init__(self, recipe: Recipe, answers: Answers) -> None:
        self._recipe = recipe
        self._answers = answers
        self._needed = (*recipe.pairs, *recipe.texts)
        self.source = " + ".join(name for name in self._needed if name != "sysconf")
        last = [a for a in map(answers.newest, self._needed) if a is not None]
        self._time = max((answer.time for answer in last), default=0.0)
        self._host = last[0].host if last else ""
        self._window = self._seconds(recipe.pairs[0]) if recipe.pairs else 0.0

    def _seconds(self, name: str) -> float:
        before, after = self._answers.oldest(name), self._answers.newest(name)
        return after.time - before.time if before and after else 0.0

    def missing(self) -> Missing | None:
        """Why the recipe cannot be followed, if it cannot."""
        wanted = [(name, True) for name in self._recipe.pairs]
        wanted += [(name, False) for name in self._recipe.texts]
        return next(filter(None, (self._absence(name, pair) for name, pair in wanted)), None)

    def _absence(self, name: str, pair: bool) -> Missing | None:
        newest, oldest = self._answers.newest(name), self._answers.oldest(name)
        if newest is None or oldest is None:
            return Missing(Reason.NOT_COLLECTED, name)
        if not newest.answered:
            return absence(newest)
        if pair and not oldest.answered:
            return absence(oldest)
        if pair and newest is oldest:
            return Missing(Reason.TOO_FEW_SAMPLES, f"{name} was read once")
        return None

    def arguments(self) -> list[Pair | str]:
        """What `compute` is called with."""
        pairs = [self._pair(name) for name in self._recipe.pairs]
        names = (*self._recipe.texts, *self._recipe.optional)
        return [*pairs, *(self._text(self._answers.newest(name)) for name in names)]

    def _pair(self, name: str) -> Pair:
        before, after = self._answers.oldest(name), self._answers.newest(name)
        return Pair(self._text(before), self._text(after), self._seconds(name))

    @staticmethod
    def _text(answer: Answer | None) -> str:
        return answer.body or "" if answer else ""

    def facts(self, found: Mapping[Key, Said]) -> list[Fact]:
        """The found facts, and the others of the recipe as absent from its source."""
        named = {key if isinstance(key, str) else key[0] for key in found}
        absent = Missing(Reason.SOURCE_ABSENT, f"not in {self.source}")
        rest = {name: absent for name in self._recipe.facts if name not in named}
        return [self.fact(key, value) for key, value in (*found.items(), *rest.items())]

    def fact(self, key: Key, found: Said) -> Fact:
        """One finding as a fact of this source, host, time and window."""
        name, scope = (key, INSTANCE) if isinstance(key, str) else key
        match found:
            case Missing(reason, detail):
                return unknown_fact(
                    name,
                    reason,
                    detail,
                    scope=scope,
                    source=self.source,
                    get_by=GET_BY.get(reason, ""),
                    host=self._host,
                    time=self._time,
                )
            case Inapplicable(detail):
                return not_applicable(name, detail, scope=scope, source=self.source, host=self._host, time=self._time)
            case Proxy(value, of):
                return self._known(name, scope, point(value), Status.PROXY, of)
            case Noted(inner, quality):
                fact = self.fact(key, inner)
                return replace(fact, quality=quality) if fact.known else fact
            case Between(low, high):
                return self._known(name, scope, (low, high))
            case str():
                return self._known(name, scope, found)
        if not finite(found):
            return self.fact(key, Missing(Reason.NAN, f"{found}"))
        return self._known(name, scope, point(float(found)))

    def _known(self, name: str, scope: Scope, value: Value, status: Status = Status.MEASURED, of: str = "") -> Fact:
        return Fact(
            name,
            value,
            status,
            scope,
            self.source,
            self._host,
            self._time,
            self._window,
            proxy_of=of,
        )


def absence(answer: Answer) -> Missing:
    """Why an answer has no body; a reason that is not one of ours counts as unreadable."""
    try:
        return Missing(Reason[answer.reason], answer.detail)
    except KeyError:
        detail = f"{answer.name}: {answer.reason!r} is not a reason"
        return Missing(Reason.UNPARSED, detail)


def unknown_all(names: Sequence[str], answer: Answer) -> list[Fact]:
    """All of `names` unknown for the reason of one answer."""
    why = absence(answer)
    return [
        unknown_fact(
            name,
            why.reason,
            why.detail,
            source=answer.name,
            host=answer.host,
            get_by=GET_BY.get(why.reason, ""),
            time=answer.time,
        )
        for name in names
    ]
