"""One raw answer of one source, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

REFUSED = "connection refused"
"""How the detail begins when nothing listens at an address."""


@dataclass(frozen=True)
class Answer:
    """
    What one source said.

    `collector` is the group (`host`, `process`, `cgroup`, `storage`, `target`, `config`, `http`,
    …), `name` the file, path or query within it, always as on a real machine, `time` the seconds
    since the epoch at which it was read, `host` the id of the machine that it speaks of. `body`
    is text; bytes that are not UTF-8 stand in it as lone surrogates. Without a body, `reason` is
    the name of an `engine.facts.fact.Reason` member, and `detail` the particular. Two snapshots
    are two answers of one name.
    """

    collector: str
    name: str
    time: float
    host: str
    body: str | None
    reason: str = ""
    detail: str = ""

    @property
    def answered(self) -> bool:
        """Whether there is a body to parse."""
        return self.body is not None and not self.reason
