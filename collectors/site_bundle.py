"""What was collected as a bundle: the same heading whoever collected, and no secrets in what the server said."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from engram_diagnose.collectors.bundle_format import HOST_ALONE, Bundle
from engram_diagnose.collectors.capture.secrets import mask_said
from engram_diagnose.collectors.capture.target import LocalTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from engram_diagnose.collectors.capture.answer import Answer
    from engram_diagnose.collectors.capture.machine import HostIdentity
    from engram_diagnose.collectors.capture.site import Site

DEFAULT_WINDOW = 300.0
"""Seconds that `$window` of a dialect's expressions stands for."""
DEFAULT_BEFORE = 3600.0
"""Seconds before the diagnosis at which the quiet time ends, where nobody says when it was."""

_SAID_BY_SERVERS = frozenset({"exposition", "http", "prometheus"})


@dataclass(frozen=True)
class Heading:
    """
    What a bundle says of itself: `tool` and `rules` as `Bundle` has them, `time` the instant of the diagnosis, and the
    options that decide how its answers are read.
    """

    time: float
    tool: str
    rules: Mapping[str, Mapping[str, Any]]
    target_set: str = "target"
    window: float = DEFAULT_WINDOW
    before: float = DEFAULT_BEFORE
    statements: Mapping[str, float | str] = field(default_factory=dict)
    node_instance: str = ""
    prometheus_version: str = ""
    job: str = ""
    dialect_told: str = ""
    past: bool = False


def bundle_of(
    site: Site, identity: HostIdentity, answers: Iterable[Answer], *, dialect: str, heading: Heading
) -> Bundle:
    """The bundle of these answers, collected on `site`, whose host is `identity`."""
    alone = site.alone
    marks: dict[str, object] = {"past": True} if heading.past else {HOST_ALONE: True} if alone else {}
    return Bundle(
        time=heading.time,
        tool=heading.tool,
        dialect=dialect,
        instance=site.instance,
        host=identity.id,
        host_name=identity.name,
        targets_set=heading.target_set,
        options={
            "window": heading.window,
            "before": heading.before,
            "statements": dict(heading.statements),
            "node_instance": heading.node_instance,
            "local": alone or isinstance(site.target, LocalTarget),
            "prometheus_version": heading.prometheus_version,
            "job": heading.job,
            "dialect_told": heading.dialect_told,
            **marks,
        },
        rules=heading.rules,
        answers=tuple(_masked(answer) for answer in answers),
    )


def _masked(answer: Answer) -> Answer:
    """What is read from files of this host is masked where it is read."""
    if answer.body is None or answer.collector not in _SAID_BY_SERVERS:
        return answer
    masked = mask_said(answer.body)
    return answer if masked == answer.body else replace(answer, body=masked)
