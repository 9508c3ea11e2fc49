"""
Rules as data: what a rule file says, read and checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from engram_diagnose.engine.facts.fact import Value
from engram_diagnose.engine.language.expression import (
    Condition,
    Expression,
    Number,
    Reference,
    Text,
)
from engram_diagnose.engine.language.problem import Mark

KINDS: Final = ("symptom", "cause", "table", "derive")
STATUSES: Final = ("experimental", "test", "stable")
SEVERITIES: Final = ("info", "warning", "critical")
"""From least to most severe."""
STRENGTHS: Final = ("none", "weak", "moderate", "strong", "decisive")
"""From least to most telling."""
CERTAINTIES: Final = ("possible", "likely", "near-certain")
WHENS: Final = ("now", "next restart", "planned")

Strength = Literal["none", "weak", "moderate", "strong", "decisive"]
Outcome = Literal["fires", "refuted", "unknown", "not-applicable"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A figure that overrides may set, within bounds."""

    name: str
    value: Number | Text
    low: float
    high: float
    doc: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Evidence:
    """A test that moves confidence: `seen` when it is true, `absent` when it is false."""

    condition: Condition
    seen: Strength
    absent: Strength
    group: str = ""
    because: str = ""
    mark: Mark = field(default=Mark("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of graded evidence."""

    condition: Condition
    seen: Strength


@dataclass(frozen=True, slots=True)
class Graded:
    """Steps over one quantity; only the highest that holds counts, `absent` when none does."""

    quantity: Expression
    text: str
    steps: tuple[Step, ...]
    absent: Strength
    group: str = ""
    because: str = ""
    mark: Mark = field(default=Mark("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Impact:
    """How much of the breach of `on` the cause explains: `relief` in the unit of `on`."""

    on: Reference
    relief: Expression
    text: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What to look for after a change, and when (seconds)."""

    after: float
    expect: Condition


@dataclass(frozen=True, slots=True)
class Setting:
    """One parameter and the value it should have."""

    parameter: str
    value: Expression
    text: str
    mark: Mark = field(default=Mark("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do: settings to change, or something to investigate; `condition` narrows when it is given."""

    settings: tuple[Setting, ...] = ()
    investigate: str = ""
    commands: tuple[str, ...] = ()
    when: str = ""
    tradeoff: str = ""
    because: str = ""
    condition: Condition | None = None
    verify: Verification | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a decision table; `condition` is None for the last, `else`, row."""

    condition: Condition | None
    values: Mapping[str, Expression]
    why: str


@dataclass(frozen=True, slots=True)
class Given:
    """A fact of a test, as `name{labels}` and its value in base units."""

    reference: Reference
    value: Value


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a rule: the given facts, changed and dropped, and what must come out."""

    mark: Mark
    expect: Outcome
    change: tuple[Given, ...] = ()
    drop: tuple[Reference, ...] = ()
    confidence: tuple[str, float] | None = None
    impact: tuple[str, float] | None = None
    missing: tuple[str, ...] | None = None
    derived: tuple[Given, ...] = ()
    advice: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule. `scope` lists the labels it ranges over (empty: the instance).

    Fields that a kind does not have are empty: `outputs` and `rows` belong to tables, `outputs` and `value`
    to derivations, `when_true`, `evidence`, `impact`, `masks` to causes. `lets` are the names its sentences may use;
    `places` tells where it names other rules. A symptom that `restates` others is the same trouble told by somebody
    else, and `severity_from` the fact that says how severe that is.
    """

    id: str
    rev: int
    kind: Literal["symptom", "cause", "table", "derive"]
    title: str
    pack: str
    mark: Mark
    status: str = "stable"
    severity: str = "warning"
    owner: str = ""
    tags: tuple[str, ...] = ()
    reason: str = ""
    refs: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    params: Mapping[str, Parameter] = field(default_factory=dict)
    lets: Mapping[str, Expression] = field(default_factory=dict)
    applies: Condition | None = None
    when: Condition | None = None
    when_true: str = ""
    evidence: tuple[Evidence | Graded, ...] = ()
    impact: Impact | None = None
    explains: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    restates: tuple[str, ...] = ()
    severity_from: str = ""
    recommend: tuple[Recommendation, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    value: Expression | None = None
    value_text: str = ""
    given: tuple[Given, ...] = ()
    cases: tuple[Case, ...] = ()
    places: Mapping[str, Mark] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Suppression:
    """Findings that are known and accepted, exactly matched, until a day (ISO date)."""

    rule: str
    scope: Mapping[str, str]
    reason: str
    owner: str
    expires: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class RuleBase:
    """Checked rules by id, in a fixed order, with the packs they came from and what is suppressed."""

    rules: Mapping[str, Rule]
    suppressions: tuple[Suppression, ...] = ()
    overridden: Mapping[str, str] = field(default_factory=dict)
    packs: Mapping[str, str] = field(default_factory=dict)
