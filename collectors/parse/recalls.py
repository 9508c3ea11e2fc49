"""
Latency of recalls from those that we timed ourselves (`collectors.capture.recalls`).

    {"asked": 20, "seconds": [0.0031, 0.0029], "processing_ms": [2, 2], "failed": ["HTTP 500"]}
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.recalls import COLLECTOR, MOST
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import figure, parse_json
from engram_diagnose.collectors.parse.recipe import absence
from engram_diagnose.engine.facts.fact import Fact, Reason, point
from engram_diagnose.engine.facts.scope import scope_of

_SCOPE: Final = scope_of({"operation": "recall"})
_SOURCE: Final = "recalls of our own"
_STANDS_FOR: Final = "latency of the recalls that clients send"
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}

RECALL_FACTS: Final = frozenset({f"op.latency.{name}" for name in (*_SHARES, "mean")})


def facts_of_recalls(answers: Iterable[Answer]) -> list[Fact]:
    """
    `op.latency.*` of recalls; nothing where no recall was asked for.

    They stand in for what clients see: the queries are ours, and few. A quantile is known only when as many recalls
    were timed that one lies beyond it.
    """
    answer = next((one for one in answers if one.collector == COLLECTOR), None)
    return [] if answer is None else _facts(answer)


def _facts(answer: Answer) -> list[Fact]:
    if not answer.answered:
        return _none(answer, absence(answer))
    try:
        seconds, quality = _read(answer.body or "")
    except UnparsedError as error:
        return _none(answer, Missing(Reason.UNPARSED, f"{answer.name}: {error}"))
    mean = known("op.latency.mean", point(math.fsum(seconds) / len(seconds)), answer, source=_SOURCE, scope=_SCOPE,
                 proxy_of=_STANDS_FOR)  # fmt: skip
    quantiles = [_quantile(name, share, seconds, answer) for name, share in _SHARES.items()]
    return [replace(fact, quality=quality) if fact.known else fact for fact in (mean, *quantiles)]


def _none(answer: Answer, why: Missing) -> list[Fact]:
    return [unknown(name, why, answer, source=_SOURCE, scope=_SCOPE) for name in sorted(RECALL_FACTS)]


def _quantile(name: str, share: float, seconds: Sequence[float], answer: Answer) -> Fact:
    """Between the two recalls that it lies between."""
    fact, count = f"op.latency.{name}", len(seconds)
    rank = share * (count - 1)
    if count * (1 - share) < 1 - 1e-9:
        needed = math.ceil(1 / (1 - share) - 1e-9)
        why = Missing(Reason.TOO_FEW_SAMPLES, f"{count} recalls were timed, {needed} are needed")
        get_by = f"--time-recalls {needed}" if needed <= MOST else "a client that times its own recalls"
        return unknown(fact, why, answer, source=_SOURCE, scope=_SCOPE, get_by=get_by)
    between = seconds[math.floor(rank)], seconds[math.ceil(rank)]
    return known(fact, between, answer, source=_SOURCE, scope=_SCOPE, proxy_of=_STANDS_FOR)


def _read(body: str) -> tuple[list[float], str]:
    """The times in ascending order, and what is to be said of them; raises `UnparsedError`."""
    document = parse_json(body)
    listed = document.get("seconds") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(listed, list):
        raise UnparsedError("no list of seconds")
    found = [figure(one) for one in listed]
    seconds = sorted(one for one in found if one is not None and one >= 0)
    if not seconds or len(seconds) < len(found):
        raise UnparsedError("the seconds are not all figures")
    return seconds, _quality(document, len(seconds))


def _quality(document: dict[str, object], count: int) -> str:
    said = [f"timed by the client over {count} requests, each with a connection of its own"]
    failed = document.get("failed")
    if isinstance(failed, list) and failed:
        said.append(f"{len(failed)} more failed ({str(failed[0])[:80]})")
    inside = _figures(document.get("processing_ms"))
    if inside:
        said.append(f"the server says that it took {min(inside):g} to {max(inside):g} ms of that")
    return "; ".join(said)


def _figures(listed: object) -> list[float]:
    found = [figure(one) for one in listed] if isinstance(listed, list) else []
    return [one for one in found if one is not None]
