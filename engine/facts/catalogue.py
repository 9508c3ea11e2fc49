"""
The catalogue: what may be known, in which unit, where it comes from, and how to get it.

The dataclasses here are what `rules/catalogue/*.yaml` and `rules/dialects/*.yaml` say, checked. A name that is not
in the catalogue does not exist for rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from engram_diagnose.engine.facts.scope import INSTANCE, Scope
from engram_diagnose.engine.facts.unit import Unit

Kind = Literal["number", "bool", "text"]


@dataclass(frozen=True, slots=True)
class FactSpec:
    """
    One catalogue entry.

    `scope` lists the labels the fact may carry. `history` tells that windows of it can be asked for; a snapshot has
    none. `counter` tells that only its rate means anything, `fixed` that it stays what it is while a server runs. `low`
    and `high` bound it, in base units. `origin` is the group it is collected in (`prometheus`, `process`, `host`,
    `perf`, `kernels`, `config`, `alert`, `telemetry`, `rules`). `raw` names the measured quantity behind it, so that
    two facts computed from one measurement count as one piece of evidence.
    """

    name: str
    kind: Kind
    unit: Unit
    doc: str
    scope: tuple[str, ...] = ()
    history: bool = False
    counter: bool = False
    low: float = float("-inf")
    high: float = float("inf")
    values: tuple[str, ...] = ()
    origin: str = ""
    source: str = ""
    get_by: str = ""
    raw: str = ""
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """
    A setting that advice may change; its fact carries the same name.

    `effects` maps a target's name to `"+"` (raising the parameter raises the figure) or `"-"`. `restart` is the class
    of change: reload, restart, reindex or host. `title` is its short name for people. `formula` names the derived fact
    that says what fits, and is empty where sizing has nothing to say; then `doc` tells why. `never_lower` tells that
    sizing only ever raises it, `budget` that it counts into the memory that all tiers and buffers share.
    `command` sets one of the machine, `{value}` standing for the figure, and `serves` names the parameter without which
    that does nothing.
    """

    name: str
    kind: Kind
    unit: Unit
    doc: str
    low: float = float("-inf")
    high: float = float("inf")
    values: tuple[str, ...] = ()
    restart: str = "restart"
    effects: Mapping[str, str] = field(default_factory=dict)
    tradeoff: str = ""
    title: str = ""
    formula: str = ""
    never_lower: bool = False
    budget: bool = False
    command: str = ""
    serves: str = ""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """What a figure should be, in three named sets; None where a set does not speak of it."""

    name: str
    scope: Scope
    better: Literal["lower", "higher"]
    doc: str
    floor: float | None = None
    target: float | None = None
    baseline: float | None = None


TARGET_SETS: Final = ("floor", "target", "baseline")


@dataclass(frozen=True, slots=True)
class Source:
    """
    How one dialect publishes one fact.

    At least one of `promql` (an expression, `$window` being the window), `counter` (a selector whose rate
    is taken), `json` (a name and field in the server's JSON metrics) and `http` (a path and field) is set. `scope` are
    labels every value of it carries.
    `labels` maps scope labels to metric labels; `values` renames label values. With `text_label` the fact is a
    text: the value of that metric label on the series. `invented` tells that the server's documentation names no
    metric for it,
    so that its absence says nothing.
    """

    fact: str
    scope: Scope = INSTANCE
    promql: str = ""
    counter: str = ""
    json: str = ""
    http: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    factor: float = 1.0
    proxy_of: str = ""
    text_label: str = ""
    invented: bool = False


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """
    Where one dialect keeps a parameter, in which unit, and what it is when not set (None: not stated).

    With `array` the file holds a list whose entries are all the one figure, so that a patch writes `[figure]`. `unused`
    tells that this release reads the key and does nothing with it. `invented` tells that the server's documentation
    states the setting and no key for it: the spelling is in its style and not its own.
    """

    parameter: str
    key: str
    unit: Unit
    default: float | str | None = None
    aliases: tuple[str, ...] = ()
    array: bool = False
    unused: bool = False
    invented: bool = False

    @property
    def heeded(self) -> bool:
        """Whether setting it in the file changes what this release does."""
        return bool(self.key) and not self.unused


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    The names one release of the server uses.

    `metrics_path` is where the server publishes them in `metrics_format`, `exposition_path` where it has the text
    exposition beside another format.
    """

    name: str
    title: str
    detect: tuple[str, ...]
    metrics_path: str
    metrics_format: Literal["prometheus", "windowed-json"]
    config_files: tuple[str, ...]
    sources: Mapping[str, Source]
    keys: Mapping[str, ConfigKey]
    known_keys: tuple[str, ...] = ()
    default_port: int = 0
    exposition_path: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything rules and collectors may name."""

    facts: Mapping[str, FactSpec]
    parameters: Mapping[str, ParameterSpec]
    targets: tuple[TargetSpec, ...]
    dialects: Mapping[str, Dialect] = field(default_factory=dict)

    def spec(self, name: str) -> FactSpec | None:
        """The entry for a name as rules write it, windows included; None when there is none."""
        known = self.facts.get(name)
        return known or self._windowed(name)

    def _windowed(self, name: str) -> FactSpec | None:
        base, window = split_window(name)
        known = self.facts.get(base)
        if known is None or window is None or (not known.history and window.kind != "baseline"):
            return None
        unit = known.unit.per_second() if window.kind in ("rate", "slope") else known.unit
        low = float("-inf") if window.kind == "slope" else known.low
        high = known.high if unit is known.unit else float("inf")
        return FactSpec(name, known.kind, unit, known.doc, known.scope, True, False, low, high,
                        known.values, known.origin, known.source, known.get_by, known.raw)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """
    The part of a name behind `@`.

    `avg`, `min`, `max` (of the raw samples), `rate` (of a counter), `slope` (per second, least squares) over `seconds`;
    `before` and `baseline` have none: they are the fact before the onset, and in the saved baseline.
    """

    kind: str
    seconds: float = 0.0


_WINDOW: Final = re.compile(r"(avg|min|max|rate|slope)_([0-9]{1,6})(s|m|h)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
BEFORE: Final = Window("before")
BASELINE: Final = Window("baseline")


def split_window(name: str) -> tuple[str, Window | None]:
    """
    `name := base [@(avg|min|max|rate|slope)_<n>(s|m|h) | @before | @baseline]`.

    Gives the base and the window; the window is None when there is none or it is not one.
    """
    base, at, suffix = name.partition("@")
    if suffix in ("before", "baseline"):
        return base, Window(suffix)
    match = _WINDOW.fullmatch(suffix) if at else None
    if match is None:
        return name, None
    kind, count, scale = match.groups()
    return base, Window(kind, float(int(count) * _SECONDS[scale]))
