"""Facts from the server's small JSON endpoints: health, and counts by tier."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from engram_diagnose.collectors.capture.answer import REFUSED, Answer
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import figure, parse_json
from engram_diagnose.collectors.parse.labels import scope_for
from engram_diagnose.collectors.parse.recipe import absence
from engram_diagnose.engine.facts.catalogue import Dialect, Source
from engram_diagnose.engine.facts.fact import Fact, Reason, point

HEALTH: Final = "/health"
_EVERY: Final = "*"
_SUM: Final = "total"
_MOST_VERSION: Final = 60


def http_paths(dialect: Dialect) -> tuple[str, ...]:
    """The paths that the dialect's `http` sources need, sorted."""
    return tuple(sorted({_split(one)[0] for one in dialect.sources.values() if one.http}))


def _split(source: Source) -> tuple[str, tuple[str, ...]]:
    """`http := path "#" field ("." field)*`, `*` standing for every field."""
    path, _, fields = source.http.partition("#")
    return path, tuple(fields.split("."))


def facts_of_endpoints(answers: Iterable[Answer], dialect: Dialect) -> list[Fact]:
    """
    The facts of the dialect's `http` sources.

    In `/api/v1/memories?limit=0#tier_counts.*` each name in the star's place becomes a label of the
    scope, the one that `labels` maps to `*` (tier where none is); `total` is the sum, not a tier.
    """
    newest = {
        answer.name: answer for answer in sorted(answers, key=lambda answer: answer.time) if answer.collector == "http"
    }
    sources = [dialect.sources[key] for key in sorted(dialect.sources)]
    return [fact for one in sources if one.http for fact in _facts(one, newest.get(_split(one)[0]))]


def _facts(source: Source, answer: Answer | None) -> list[Fact]:
    if answer is None:
        return [_unknown(source, Missing(Reason.NOT_COLLECTED, _split(source)[0]), None)]
    if not answer.answered:
        return [_unknown(source, absence(answer), answer)]
    try:
        found = _select(parse_json(answer.body or ""), _split(source)[1])
    except UnparsedError as error:
        return [_unknown(source, Missing(Reason.UNPARSED, f"{answer.name}: {error}"), answer)]
    facts = [fact for name, value in found for fact in _fact(source, name, value, answer)]
    absent = Missing(Reason.SOURCE_ABSENT, f"no figure at {source.http}")
    return facts or [_unknown(source, absent, answer)]


def _select(document: object, fields: tuple[str, ...]) -> list[tuple[str, float]]:
    """The figures at the end of the fields, each with the name that stood in the star's place."""
    places: list[tuple[str, object]] = [("", document)]
    for field in fields:
        places = [step for place in places for step in _step(place, field)]
    numbers = [(name, figure(value)) for name, value in places]
    return [(name, number) for name, number in numbers if number is not None]


def _step(place: tuple[str, object], field: str) -> list[tuple[str, object]]:
    name, value = place
    if not isinstance(value, dict):
        return []
    if field == _EVERY:
        return [(key, value[key]) for key in sorted(value) if key != _SUM]
    return [(name, value[field])] if field in value else []


def _fact(source: Source, name: str, value: float, answer: Answer) -> list[Fact]:
    scope = scope_for(_starred(source), {_EVERY: name})
    if scope is None:
        return []
    return [
        known(
            source.fact,
            point(value * source.factor),
            answer,
            source=source.http,
            scope=scope,
            proxy_of=source.proxy_of,
        )
    ]


def _starred(source: Source) -> Source:
    if _EVERY not in _split(source)[1] or _EVERY in source.labels.values():
        return source
    return replace(source, labels={**source.labels, "tier": _EVERY})


def _unknown(source: Source, why: Missing, answer: Answer | None) -> Fact:
    return unknown(source.fact, why, answer, source=source.http, scope=source.scope)


def facts_of_health(answer: Answer) -> list[Fact]:
    """
    `server.up`, and `server.version` where the answer has a `version`, from `/health`.

    Any HTTP answer means that the server is up; a refused connection that it is not; silence
    means neither.
    """
    up = _up(answer)
    if up is None:
        why = absence(answer)
        return [unknown(name, why, answer) for name in ("server.up", "server.version")]
    return [known("server.up", point(float(up)), answer), _version(answer)]


def _up(answer: Answer) -> bool | None:
    if answer.answered or answer.detail.startswith("HTTP "):
        return True
    return False if answer.detail.startswith(REFUSED) else None


def _version(answer: Answer) -> Fact:
    try:
        document = parse_json(answer.body or "")
    except UnparsedError:
        document = None
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, str) and version:
        return known("server.version", version[:_MOST_VERSION], answer)
    why = Missing(Reason.SOURCE_ABSENT, "no version in the answer")
    return unknown("server.version", why, answer)
