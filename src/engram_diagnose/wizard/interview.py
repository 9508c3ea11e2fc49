"""
The dialogue: what was found, what has to be asked, each advised change in turn, and what it comes to.

It knows nothing of terminals: it asks through one function and speaks through another.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeVar

from engram_diagnose.engine.advice.decision import Decision, same
from engram_diagnose.engine.advice.dependence import dependents
from engram_diagnose.engine.facts.catalogue import ParameterSpec
from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.render.tuning import HEADINGS
from engram_diagnose.tuning import Tuning, Wish
from engram_diagnose.wizard.answers import UnusableAnswerError, stated
from engram_diagnose.wizard.detected import detected
from engram_diagnose.wizard.questions import Question, open_questions
from engram_diagnose.wizard.room import room_for
from engram_diagnose.wizard.typed import Bounds, bounds_of, typed_text, typed_value
from engram_diagnose.wizard.wording import (
    HOW_TO_ANSWER,
    budget_lines,
    change_lines,
    fields,
    held_back,
    more_lines,
    not_sized,
    paragraph,
    question_lines,
)

Tune = Callable[[Wish], Tuning]
Ask = Callable[[str, str], str]
"""Prompt and what Enter means, to the answer; empty for Enter. `EOFError` and `KeyboardInterrupt` end the dialogue."""
Say = Callable[[str], None]
Answered = TypeVar("Answered")

_TRIES: Final = 10
"""Answers to one question, explanations counted, after which nobody seems to read what is said."""
_LEAVE: Final = ("n", "no")
_ALL: Final = ("a", "all")
_QUIT: Final = ("q", "quit")
_UNKNOWN: Final = "leave unknown"


class _Stopped(Exception):  # noqa: N818 -- no error: the operator wants no more
    """The operator quits; the text says what else ended it."""


def interview(tune: Tune, ask: Ask, say: Say, wish: Wish) -> Wish | None:
    """
    Ask, explain, and give back the wish with what was answered; None when the operator quits.

    Accepting everything gives back the wish as it was. `say` gets one line at a time, of at most 80 columns.
    """
    try:
        return _Interview(tune, ask, say, wish).run()
    except (EOFError, KeyboardInterrupt, _Stopped) as ended:
        say("")
        say(f"Stopped{f': {ended}' if isinstance(ended, _Stopped) and str(ended) else ''}; nothing is changed.")
        return None


class _Interview:
    def __init__(self, tune: Tune, ask: Ask, say: Say, wish: Wish) -> None:
        self._tune = tune
        self._ask = ask
        self._say = say
        self._wish = wish
        self._tuning = tune(wish)
        self._rest_accepted = False

    def run(self) -> Wish:
        self._found()
        if self._wish.sizing:
            self._questions()
        self._changes()
        self._summary()
        return self._wish

    def _put(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._say(line)

    def _retune(self, wish: Wish) -> None:
        self._wish, self._tuning = wish, self._tune(wish)

    def _answer(
        self, prompt: str, default: str, more: Callable[[], Iterable[str]], read: Callable[[str], Answered]
    ) -> Answered | None:
        """What was answered, asked again until it can be read; None for Enter."""
        for _ in range(_TRIES):
            text = self._ask(prompt, default).strip()
            if not text:
                return None
            if text.lower() in _QUIT:
                raise _Stopped
            if text == "?":
                self._put(more())
                continue
            try:
                return read(text)
            except UnusableAnswerError as error:
                self._put(paragraph(f"{error}.", indent=2))
        raise _Stopped(f"{_TRIES} answers in a row gave none")

    # What is known, and what is not

    def _found(self) -> None:
        known = detected(self._tuning.diagnosis)
        self._put(paragraph("Detected:" if known else "Nothing was detected."))
        self._put(fields(known))

    def _questions(self) -> None:
        asked: set[str] = set()
        while (question := next((one for one in self._open() if one.flag not in asked), None)) is not None:
            if not asked:
                self._put(["", *paragraph(f"What could not be detected. {HOW_TO_ANSWER[0]}")])
            asked.add(question.flag)
            self._question(question)

    def _open(self) -> tuple[Question, ...]:
        return open_questions(self._tuning.diagnosis, wanted=self._wanted)

    def _wanted(self, parameter: ParameterSpec) -> bool:
        dialect = self._tuning.diagnosis.catalogue.dialects[self._tuning.diagnosis.subject.dialect]
        names = {parameter.name, dialect.keys[parameter.name].key}
        return not names & self._wish.without and (not self._wish.only or bool(names & self._wish.only))

    def _question(self, question: Question) -> None:
        self._put(question_lines(question))
        facts = self._answer(question.title, _UNKNOWN, lambda: paragraph(question.more, indent=2), question.facts_of)
        if facts is not None:
            self._retune(replace(self._wish, stated=(*self._wish.stated, *facts)))
            return
        titles = ", ".join(parameter.title for parameter in question.parameters)
        self._put(paragraph(f"Left unknown; not sized for want of it: {titles}.", indent=2))

    # The changes

    def _changes(self) -> None:
        accepted: dict[str, Value | None] = {}
        group = ""
        while (decision := self._next(accepted)) is not None:
            again = decision.name in accepted
            accepted[decision.name] = decision.wanted
            if self._rest_accepted:
                continue
            if not group:
                self._put(["", *paragraph(f"What would change. {HOW_TO_ANSWER[1]}")])
            if decision.group != group:
                group = decision.group
                self._put(["", *paragraph(": ".join(HEADINGS[group]))])
            done = len(accepted)
            self._change(decision, f"{done} again" if again else f"{done} of {max(done, self._count(accepted))}")

    def _next(self, accepted: dict[str, Value | None]) -> Decision | None:
        """The next change to explain: one that was not, or that has become another since."""
        return next((one for one in self._patchable() if self._is_new(one, accepted)), None)

    def _is_new(self, decision: Decision, accepted: dict[str, Value | None]) -> bool:
        if decision.name not in accepted:
            return True
        return decision.name not in self._wish.values and not same(accepted[decision.name], decision.wanted)

    def _patchable(self) -> list[Decision]:
        return [one for one in self._tuning.advice.of("advised") if one.key is not None]

    def _count(self, accepted: dict[str, Value | None]) -> int:
        return len(accepted) + sum(one.name not in accepted for one in self._patchable())

    def _change(self, decision: Decision, count: str) -> None:
        assert decision.key is not None  # noqa: S101 -- only such are asked for
        assert decision.wanted is not None  # noqa: S101 -- as above
        diagnosis = self._tuning.diagnosis
        bounds = bounds_of(decision, room_for(decision.parameter, self._tuning.advice.budget))
        self._put(change_lines(decision, diagnosis, bounds, count))
        default = typed_text(decision.wanted, decision).partition(" (")[0]
        reply = self._answer(decision.key.key, default, lambda: more_lines(decision, diagnosis),
                             lambda text: self._reply(text, decision, bounds))  # fmt: skip
        if reply in _LEAVE:
            self._leave(decision)
        elif reply in _ALL:
            self._rest_accepted = True
        elif reply is not None and not same(reply, decision.wanted):
            self._replace(decision, reply)

    def _reply(self, text: str, decision: Decision, bounds: Bounds) -> Value:
        """A value in base units, or one of the words for leaving out and for accepting all."""
        word = text.lower()
        if word in (*_LEAVE, *_ALL):
            return word
        value = typed_value(text, decision, bounds)
        return _LEAVE[0] if same(value, decision.current) else value

    def _leave(self, decision: Decision) -> None:
        """The setting stays as it is, and what is computed from it follows what it is."""
        out, facts = {decision.name}, self._wish.stated
        following = [
            one.name for one in self._patchable() if one.name in dependents(decision.name, self._tuning.diagnosis)
        ]
        if following and decision.current is not None:
            facts = (*facts, stated(decision.parameter.formula, decision.current))
        elif following:
            out |= set(following)
        self._retune(replace(self._wish, without=self._wish.without | out, stated=facts))
        self._put(paragraph("Left as it is.", indent=2))
        if len(out) > 1:
            self._put(paragraph(f"So is what is computed from it: {', '.join(sorted(following))}.", indent=2))

    def _replace(self, decision: Decision, value: Value) -> None:
        """The operator's value; what is computed from the setting follows it."""
        facts = self._wish.stated
        if dependents(decision.name, self._tuning.diagnosis):
            facts = (*facts, stated(decision.parameter.formula, value))
        before = self._wish
        self._retune(replace(before, values={**before.values, decision.name: value}, stated=facts))
        taken = next((one for one in self._tuning.advice.decisions if one.name == decision.name), None)
        if taken is not None and taken.standing == "advised" and same(taken.wanted, value):
            self._put(paragraph(f"Taken: {typed_text(value, decision)}.", indent=2))
            return
        self._retune(before)
        reason = taken.reason if taken is not None and taken.reason else "it cannot be set beside the rest"
        self._put(paragraph(f"Not taken: {reason}. The advised value stands.", indent=2))

    # What it comes to

    def _summary(self) -> None:
        advice, diagnosis = self._tuning.advice, self._tuning.diagnosis
        changes = self._patchable()
        self._put(["", *paragraph(f"{len(changes)} change{'' if len(changes) == 1 else 's'} to the configuration.")])
        self._put(fields(("by you", f"{one.key.key} = {typed_text(one.wanted, one)}") for one in changes
                         if one.name in self._wish.values and one.key and one.wanted is not None))  # fmt: skip
        self._put(not_sized(advice.of("unknown"), diagnosis, self._open()))
        self._put(held_back(advice.of("held")))
        ignored = ", ".join(one.parameter.title for one in advice.of("ignored"))
        self._put(fields([("ignored", f"{ignored} (this release does not read them)" if ignored else "")]))
        self._put(fields(("on the host", f"{one.parameter.title}: {typed_text(one.wanted, one)}")
                         for one in advice.of("advised") if one.key is None and one.wanted is not None))  # fmt: skip
        self._put(budget_lines(advice.budget))
        self._put(["", *paragraph("Nothing is written yet.")])
