"""
What a diagnosis says of a case, as far as it is scored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engram_diagnose.cases.corpus import Case
from engram_diagnose.cases.label import Label
from engram_diagnose.engine.diagnosis import Diagnosis, Expert
from engram_diagnose.engine.explanation.verdict import verdict
from engram_diagnose.session import diagnose_bundle

MET: Final = "met"
"""The state of a verdict that calls a server healthy."""


@dataclass(frozen=True, slots=True)
class Named:
    """
    A concluded cause: its rule, the confidence as reports state it, and as the designers' figures weigh it.
    `severity` is empty where it explains no symptom that is there.
    """

    rule: str
    stated: float
    weighed: float
    severity: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A case with its diagnosis: ranked causes, each rule once at its best rank; the rules set apart; the verdict."""

    label: Label
    named: tuple[Named, ...]
    masked: frozenset[str]
    experimental: frozenset[str]
    not_testable: frozenset[str]
    ruled_out: frozenset[str]
    symptoms: tuple[str, ...]
    state: str

    def is_right(self, named: Named) -> bool | None:
        """Whether a cause is one that was planted; None where that cannot be said of it."""
        if named.rule in self.label.right:
            return True
        return None if named.rule in self.label.true_besides else False

    def rank_of(self, rules: Iterable[str]) -> int | None:
        """
        The best rank of some rules, from 1 on; None where none of them was concluded.

        Causes that are true besides are passed over: whoever names them first is not wrong.
        """
        wanted = frozenset(rules)
        asked = (named for named in self.named if self.is_right(named) is not None)
        return next((rank for rank, named in enumerate(asked, 1) if named.rule in wanted), None)

    def fate_of(self, rules: Iterable[str]) -> str:
        """Why none of some rules is among the ranked causes, in a word or two."""
        wanted = frozenset(rules)
        told = ((self.masked, "masked"), (self.experimental, "experimental"), (self.not_testable, "not testable"),
                (self.ruled_out, "ruled out"))  # fmt: skip
        return next((word for group, word in told if wanted & group), "not applicable")


def judge(case: Case, ready: Expert) -> Judged:
    """
    Diagnose a case and keep what is scored.

    Raises `BundleError`, and `LabelError` for a bundle that is another one than the label says.
    """
    return judged(case.label, diagnose_bundle(case.read(), ready))


def judged(label: Label, diagnosis: Diagnosis) -> Judged:
    """What is scored of a diagnosis."""
    named: dict[str, Named] = {}
    for cause in diagnosis.causes:
        confidence = cause.confidence
        named.setdefault(
            cause.rule.id, Named(cause.rule.id, confidence.probability, confidence.weighed, cause.severity)
        )
    undecided = frozenset(item.firing.rule.id for item in diagnosis.undecided if item.firing.rule.kind == "cause")
    out = {firing.rule.id for firing in diagnosis.firings
           if firing.rule.kind == "cause" and firing.outcome == "refuted"}  # fmt: skip
    return Judged(
        label,
        tuple(named.values()),
        frozenset(item.cause.rule.id for item in diagnosis.masked),
        frozenset(cause.rule.id for cause in diagnosis.experimental),
        undecided,
        frozenset(out - undecided),
        tuple(dict.fromkeys(firing.rule.id for firing in diagnosis.missed())),
        str(verdict(diagnosis)["state"]),
    )
