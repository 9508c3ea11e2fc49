"""What a bundle is: one incident, its limits, and the error that speaks of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from engram_diagnose.collectors.capture.answer import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FORMAT = "engram-diagnose/bundle/v1"
FAMILY = "engram-diagnose/bundle/"
ANSWER_TEXTS = ("collector", "name", "host", "reason", "detail")
"""The texts of an answer; beside them stand its time and its body."""
HOST_ALONE = "host_alone"
"""The option of a bundle that speaks of a host on which no server runs yet."""


class BundleError(ValueError):
    """A bundle that cannot be read or written; says what, where, and what to do next."""


@dataclass(frozen=True)
class Limits:
    """What a bundle may be, against files made to exhaust memory."""

    compressed_bytes: int = 64 << 20
    bytes: int = 256 << 20
    line_bytes: int = 64 << 20
    records: int = 100_000
    nesting: int = 32


LIMITS = Limits()


@dataclass(frozen=True)
class Bundle:
    """
    One incident: who collected what, when, about which instance, and every raw answer.

    `time` is the time of the diagnosis in seconds since the epoch. `host` is the id of the
    machine that collected, `host_name` its name for display. `rules` maps a pack to its `digest`,
    and `text` where that is kept. Options and rules hold JSON values only.
    """

    time: float
    tool: str = ""
    dialect: str = ""
    instance: str = ""
    host: str = ""
    host_name: str = ""
    targets_set: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()

    def of(self, collector: str) -> tuple[Answer, ...]:
        """The answers of one collector, in order."""
        return tuple(answer for answer in self.answers if answer.collector == collector)
