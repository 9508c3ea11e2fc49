"""
The bundle: one incident in one file, and the only door to facts.

Gzipped JSON lines that `zcat` and `jq` read: first the manifest, then one raw answer a line, last
`{"end": n, "sha256": …}` over the bytes before it. A live run is a bundle that was just written.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from dataclasses import replace

from engram_diagnose.collectors.bundle_format import (
    ANSWER_TEXTS,
    FORMAT,
    LIMITS,
    Bundle,
    BundleError,
    Limits,
)
from engram_diagnose.collectors.bundle_reader import BundleReader
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.secrets import mask_arguments, mask_said, mask_toml
from engram_diagnose.collectors.whole_file import write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from engram_diagnose.collectors.redaction import Pseudonyms

_LEVEL = 6
"""Of gzip: 9 takes five times as long for a twentieth less."""

__all__ = [
    "LIMITS",
    "Bundle",
    "BundleError",
    "Limits",
    "encode_bundle",
    "read_bundle",
    "redact",
    "write_bundle",
]


def encode_bundle(bundle: Bundle) -> bytes:
    """
    The file's bytes: the same for the same bundle. Raises `BundleError` for values JSON does not
    have.
    """
    return packed(bundle_lines(bundle))


def bundle_lines(bundle: Bundle) -> list[bytes]:
    """
    The lines of the file as they are before they are packed, the last with the checksum over those before it.

    Raises `BundleError` for values JSON does not have.
    """
    lines = [_line(_manifest(bundle)), *(_line(_record(answer)) for answer in bundle.answers)]
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return [*lines, _line({"end": len(bundle.answers), "sha256": digest.hexdigest()})]


def packed(lines: Iterable[bytes]) -> bytes:
    """Lines as a gzip file that says nothing of when and where it was made."""
    content = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=content, mtime=0, compresslevel=_LEVEL) as stream:
        stream.write(b"".join(lines))
    return content.getvalue()


def content_digest(bundle: Bundle) -> str:
    """
    The SHA-256 over all that a bundle says, as its last line has it: the same for the same content, however packed.
    """
    last: dict[str, Any] = json.loads(bundle_lines(bundle)[-1])
    return str(last["sha256"])


def _line(value: Mapping[str, object]) -> bytes:
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"the bundle holds a value that JSON does not have: {error}") from None
    return text.encode("ascii") + b"\n"


def _manifest(bundle: Bundle) -> dict[str, object]:
    return {
        "bundle": FORMAT,
        "time": bundle.time,
        "tool": bundle.tool,
        "dialect": bundle.dialect,
        "instance": bundle.instance,
        "host": {"id": bundle.host, "name": bundle.host_name},
        "targets_set": bundle.targets_set,
        "options": dict(bundle.options),
        "rules": {name: dict(pack) for name, pack in bundle.rules.items()},
    }


def _record(answer: Answer) -> dict[str, object]:
    record: dict[str, object] = {name: getattr(answer, name) for name in ANSWER_TEXTS}
    return {**record, "time": answer.time, "body": answer.body}


def write_bundle(path: str | os.PathLike[str], bundle: Bundle) -> None:
    """
    Write the bundle whole or not at all: temporary file, fsync, rename; a device or a pipe is written to.

    Raises `BundleError` when the disk is full, the folder is read-only or missing; then nothing
    is left behind, and a file that was there stays as it was.
    """
    content = encode_bundle(bundle)
    try:
        write_whole(path, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BundleError(f"cannot write {os.fspath(path)}: {reason}; name another place") from None


def read_bundle(path_or_bytes: str | os.PathLike[str] | bytes, *, limits: Limits = LIMITS) -> Bundle:
    """
    The bundle in a file, or in its bytes; plain JSON lines are accepted as well.

    Raises `BundleError` for anything else, with the line and the next step.
    """
    where, data = _content(path_or_bytes, limits)
    return BundleReader(where, limits).read(data)


def _content(path_or_bytes: str | os.PathLike[str] | bytes, limits: Limits) -> tuple[str, bytes]:
    if isinstance(path_or_bytes, bytes):
        return "the bundle", path_or_bytes
    path = os.fspath(path_or_bytes)
    try:
        with open(path, "rb") as stream:
            return path, stream.read(limits.compressed_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BundleError(f"cannot read {path}: {reason}; give the path of a bundle") from None


def redact(bundle: Bundle, *, key: str = "", labels: Sequence[str] = ()) -> Bundle:
    """
    The bundle with host, instance and space names, addresses and paths replaced by pseudonyms, and without secrets.

    The same name gives the same pseudonym throughout, and in all bundles of one host: its id,
    which is replaced too, is the key unless one is given. The values of labels whose name one of the patterns `labels`
    matches as a whole are replaced as well. A redacted bundle is returned as it is, but for such labels. Raises
    `LabelPatternError`.
    """
    if bundle.options.get("redacted") is True and not labels:
        return bundle
    from engram_diagnose.collectors.redaction import Pseudonyms

    instance_host = bundle.instance.rpartition(":")[0] or bundle.instance
    names = Pseudonyms(key or bundle.host, hosts=(bundle.host_name, bundle.host, instance_host), labels=labels)
    return replace(
        bundle,
        instance=names.text(bundle.instance),
        host=names.of("host", bundle.host),
        host_name=names.of("host", bundle.host_name),
        options={**_redacted(bundle.options, names), "redacted": True},
        rules=_redacted(bundle.rules, names),
        answers=tuple(_redacted_answer(answer, names) for answer in bundle.answers),
    )


def _redacted(value: Any, names: Pseudonyms) -> Any:
    if isinstance(value, str):
        return names.text(value)
    if isinstance(value, dict):
        return {
            names.text(key): names.value(key, item) if isinstance(item, str) else _redacted(item, names)
            for key, item in value.items()
        }
    return [_redacted(item, names) for item in value] if isinstance(value, (list, tuple)) else value


def _redacted_answer(answer: Answer, names: Pseudonyms) -> Answer:
    return replace(
        answer,
        name=names.text(answer.name),
        host=names.of("host", answer.host),
        body=None if answer.body is None else names.text(_without_secrets(answer.collector, answer.body)),
        detail=names.text(answer.detail),
    )


def _without_secrets(collector: str, body: str) -> str:
    """They are not kept in the first place; but what is redacted may have been made by another release, or by hand."""
    if collector == "config":
        return mask_toml(body)
    return mask_said(mask_arguments(body) if collector == "process" else body)
