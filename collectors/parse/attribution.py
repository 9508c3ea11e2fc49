"""Facts that carry the host and time of the answer they were read from."""

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.figures import Missing
from engram_diagnose.collectors.parse.recipe import GET_BY
from engram_diagnose.engine.facts.fact import Fact, Status, Value, unknown_fact
from engram_diagnose.engine.facts.scope import INSTANCE, Scope


def known(
    name: str,
    value: Value,
    answer: Answer,
    *,
    source: str = "",
    scope: Scope = INSTANCE,
    status: Status = Status.MEASURED,
    window: float = 0.0,
    proxy_of: str = "",
) -> Fact:
    """A value that an answer states; a proxy where it stands in for something else."""
    status = Status.PROXY if proxy_of else status
    return Fact(
        name,
        value,
        status,
        scope,
        source or answer.name,
        answer.host,
        answer.time,
        window,
        proxy_of=proxy_of,
    )


def unknown(
    name: str,
    why: Missing,
    answer: Answer | None,
    *,
    source: str = "",
    scope: Scope = INSTANCE,
    get_by: str = "",
) -> Fact:
    """What an answer, or its absence, leaves unknown."""
    host, time, said = (answer.host, answer.time, answer.name) if answer else ("", 0.0, "")
    return unknown_fact(
        name,
        why.reason,
        why.detail,
        scope=scope,
        source=source or said,
        get_by=get_by or GET_BY.get(why.reason, ""),
        host=host,
        time=time,
    )
