"""
A fact: one typed value, where it came from, and, when it is unknown, why and how to get it.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from engram_diagnose.engine.facts.scope import INSTANCE, Scope

Interval = tuple[float, float]
"""Low and high in base units; a point has both alike. A quantile from buckets is its bucket."""

Value = Interval | str


class Status(Enum):
    """How a fact came to be known, or why it has no value."""

    MEASURED = "measured"
    DERIVED = "derived"
    PROXY = "proxy"
    RECORDED = "recorded"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


class Reason(Enum):
    """Why a fact is unknown. The value is the sentence an operator reads."""

    NO_PMU = "no hardware counters on this host"
    PMU_ZERO = "the hardware counters read zero while the CPU was busy"
    EVENT_UNSUPPORTED = "this CPU does not offer the event"
    MUX_LOW = "the counter ran less than half of the time"
    NOT_COUNTED = "the counter did not run"
    PARANOID = "the kernel forbids it (perf_event_paranoid)"
    SECCOMP = "the container's seccomp profile forbids it"
    PTRACE_DENIED = "permission denied"
    NO_TOOL = "the tool is not installed"
    KERNEL_CONFIG = "this kernel was built without it"
    SOURCE_ABSENT = "the source does not offer it"
    SOURCE_UNREACHABLE = "the source did not answer"
    STALE = "the last sample is too old"
    NAN = "the source said NaN"
    TOO_FEW_SAMPLES = "too few samples in the window"
    TOO_COARSE = "it is known, but too coarsely to decide"
    WINDOW_NOT_COLLECTED = "this window was not collected"
    RESET = "the counter was reset in the window"
    BUCKET_OVERFLOW = "beyond the last histogram bucket"
    TOO_EXPENSIVE = "it would cost the server too much"
    BUDGET = "the time for collecting ran out"
    TARGET_GONE = "the process ended or was replaced while it was measured"
    UNPARSED = "the answer could not be read"
    NOT_IN_DIALECT = "this server does not publish it"
    OTHER_HOST = "the server runs on another host than this one"
    NOT_COLLECTED = "no collector was asked for it"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no value; `detail` is the particular, such as a path, an errno or a metric name."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value


@dataclass(frozen=True, slots=True)
class Fact:
    """
    One fact in working memory.

    `name` is a catalogue name, with its window where it has one (`wal.bytes_written@rate_5m`). `value` is an
    interval in base units, a text, or None exactly when the status is UNKNOWN or NOT_APPLICABLE. `source`
    names the metric, file or key it was read from, `host` the machine it speaks of, `time` the instant in seconds
    since the epoch, `window` its length
    in seconds (0 for a snapshot). `proxy_of` names the quantity that a proxy stands in for.
    """

    name: str
    value: Value | None
    status: Status = Status.MEASURED
    scope: Scope = INSTANCE
    source: str = ""
    host: str = ""
    time: float = 0.0
    window: float = 0.0
    unknown: Unknown | None = None
    get_by: str = ""
    proxy_of: str = ""
    quality: str = ""

    def __post_init__(self) -> None:
        valueless = self.status in _VALUELESS
        if valueless != (self.value is None) or valueless != (self.unknown is not None):
            raise ValueError(f"{self.name}: a fact has a value, or is unknown with a reason")

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @property
    def key(self) -> tuple[str, Scope]:
        """What identifies the fact in working memory."""
        return self.name, self.scope


_VALUELESS: Final = frozenset({Status.UNKNOWN, Status.NOT_APPLICABLE})


def point(value: float) -> Interval:
    """The interval of one figure."""
    return value, value


def unknown_fact(name: str, reason: Reason, detail: str = "", *, scope: Scope = INSTANCE, source: str = "",
                 get_by: str = "", host: str = "", time: float = 0.0) -> Fact:  # fmt: skip
    """A fact that is known to be unknown."""
    return Fact(name, None, Status.UNKNOWN, scope, source, host, time, 0.0, Unknown(reason, detail), get_by)


def not_applicable(name: str, detail: str, *, scope: Scope = INSTANCE, source: str = "", host: str = "",
                   time: float = 0.0) -> Fact:  # fmt: skip
    """A fact that has no meaning here, such as a remote NUMA share on one node."""
    return Fact(name, None, Status.NOT_APPLICABLE, scope, source, host, time, 0.0,
                Unknown(Reason.SOURCE_ABSENT, detail))  # fmt: skip
