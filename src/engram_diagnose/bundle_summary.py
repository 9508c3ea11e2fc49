"""What a bundle holds, as a document: who collected what and when, source by source, and what is missing."""

from collections.abc import Iterable
from typing import Any

from engram_diagnose.collectors.bundle import content_digest
from engram_diagnose.collectors.bundle_format import HOST_ALONE, Bundle, BundleError
from engram_diagnose.collectors.capture.answer import Answer

_MOST_NAMED = 20


def bundle_summary(bundle: Bundle, *, compressed_bytes: int) -> dict[str, Any]:
    """
    The document of `bundle show`.

    `sources` count answers and bytes of text by collector; `missing` lists every answer without a body, one line for
    snapshots that lack for the same reason. Sizes are of text before packing, `compressed_bytes` of the file.
    """
    options = bundle.options
    return {
        "time": bundle.time,
        "tool": bundle.tool,
        "instance": bundle.instance,
        "dialect": bundle.dialect,
        "dialect_told": str(options.get("dialect_told") or ""),
        "host": {"id": bundle.host, "name": bundle.host_name},
        "runs_here": options.get("local") is True and options.get(HOST_ALONE) is not True,
        "past": options.get("past") is True,
        "redacted": options.get("redacted") is True,
        "rules": {name: {key: pack[key] for key in ("version", "digest") if key in pack}
                  for name, pack in sorted(bundle.rules.items())},
        "sha256": content_digest(bundle),
        "compressed_bytes": compressed_bytes,
        "answers": len(bundle.answers),
        "sources": _sources(bundle.answers),
        "missing": _missing(bundle.answers),
    }  # fmt: skip


def _sources(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for answer in answers:
        one = found.setdefault(
            answer.collector, {"collector": answer.collector, "answers": 0, "answered": 0, "bytes": 0}
        )
        one["answers"] += 1
        one["answered"] += answer.answered
        one["bytes"] += len((answer.body or "").encode("utf-8", "surrogateescape"))
    return list(found.values())


def _missing(answers: Iterable[Answer]) -> list[dict[str, str]]:
    lacking = (answer for answer in answers if not answer.answered)
    lines = {(one.collector, one.name, one.reason, one.detail): None for one in lacking}
    return [dict(zip(("collector", "name", "reason", "detail"), line, strict=True)) for line in lines]


def answer_named(bundle: Bundle, name: str, *, number: int | None = None) -> Answer:
    """
    The answer of this name, `COLLECTOR:NAME` where collectors share it; of several the last, or the `number`-th.

    Raises `BundleError` where there is none, or no such number.
    """
    found = [one for one in bundle.answers if name in (one.name, f"{one.collector}:{one.name}")]
    if not found:
        raise BundleError(f"the bundle has no answer {name!r}; it has {_listed(bundle)}")
    if number is None:
        return found[-1]
    if not 0 < number <= len(found):
        raise BundleError(f"the bundle has {len(found)} of {name!r}; give --number 1 to {len(found)}")
    return found[number - 1]


def _listed(bundle: Bundle) -> str:
    names = list(dict.fromkeys(one.name for one in bundle.answers))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(names[:_MOST_NAMED]) or "none at all") + more
