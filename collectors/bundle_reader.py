"""Reading a bundle that may be truncated, damaged or hostile."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from dataclasses import replace

from engram_diagnose.collectors.bundle_format import (
    ANSWER_TEXTS,
    FAMILY,
    FORMAT,
    Bundle,
    BundleError,
    Limits,
)
from engram_diagnose.collectors.capture.answer import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_GZIP = b"\x1f\x8b"
_COLLECT_AGAIN = "collect it again, or copy it again if it was transferred"
_GIVE_BUNDLE = "give a file that `engram-diagnose collect` wrote"


class BundleReader:
    """Reads one bundle, counting lines for its messages."""

    def __init__(self, where: str, limits: Limits) -> None:
        self._where = where
        self._limits = limits
        self._number = 0
        self._digest = hashlib.sha256()

    def read(self, data: bytes) -> Bundle:
        if len(data) > self._limits.compressed_bytes:
            raise self._error("larger than a bundle may be", "collect it without profile data")
        if not data:
            raise self._error("it is empty", _COLLECT_AGAIN)
        lines = self._lines(data)
        first = next(lines, b"")
        self._digest.update(first)
        bundle = self._bundle(self._object(first))
        answers: list[Answer] = []
        for line in lines:
            record = self._object(line)
            if "end" in record:
                self._finish(record, len(answers), lines)
                return replace(bundle, answers=tuple(answers))
            answers.append(self._answer(record))
            self._digest.update(line)
            if len(answers) > self._limits.records:
                raise self._error("more records than a bundle may have", _COLLECT_AGAIN)
        raise self._error("it ends before its last line", _COLLECT_AGAIN)

    def _error(self, what: str, next_step: str) -> BundleError:
        return BundleError(f"{self._where}, line {self._number}: {what}; {next_step}")

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """Lines with their newline, counted; the chunks are never larger than the limits allow."""
        rest = b""
        for chunk in self._chunks(data):
            *whole, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else [rest + chunk]
            for line in whole:
                self._number += 1
                yield line + b"\n"
            if len(rest) > self._limits.line_bytes:
                raise self._error("a line is too long", _COLLECT_AGAIN)
        if rest:
            self._number += 1
            yield rest

    def _chunks(self, data: bytes) -> Iterator[bytes]:
        if not data.startswith(_GZIP):
            yield data
            return
        total = 0
        for chunk in self._unpacked(data):
            total += len(chunk)
            if total > self._limits.bytes:
                raise self._error("it unpacks to more than a bundle may hold", _COLLECT_AGAIN)
            yield chunk

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            while not unpacker.eof:
                chunk = unpacker.decompress(data, 1 << 20)
                data = unpacker.unconsumed_tail
                if not chunk and not data and not unpacker.eof:
                    raise self._error("the gzip data is truncated", _COLLECT_AGAIN)
                yield chunk
        except zlib.error as error:
            raise self._error(f"the gzip data is damaged ({error})", _COLLECT_AGAIN) from None
        if unpacker.unused_data.strip(b"\0"):
            raise self._error("there is something behind the gzip data", _COLLECT_AGAIN)

    def _object(self, line: bytes) -> dict[str, Any]:
        try:
            value = json.loads(line.decode("utf-8"), parse_constant=_refuse)
        except UnicodeDecodeError as error:
            what = f"not UTF-8 (column {error.start + 1})"
            raise self._error(what, _COLLECT_AGAIN) from None
        except (ValueError, RecursionError) as error:
            raise self._error(f"not JSON ({_short(error)})", _GIVE_BUNDLE) from None
        if not isinstance(value, dict):
            raise self._error("not a JSON object", _GIVE_BUNDLE)
        if _depth(value) > self._limits.nesting:
            raise self._error("nested too deeply", _COLLECT_AGAIN)
        return value

    def _bundle(self, manifest: dict[str, Any]) -> Bundle:
        self._check_format(manifest.get("bundle"))
        host = self._get(manifest, "host", dict)
        rules = self._get(manifest, "rules", dict)
        if not all(isinstance(pack, dict) for pack in rules.values()):
            raise self._error("`rules` holds a pack that is not an object", _COLLECT_AGAIN)
        return Bundle(
            time=self._time(manifest),
            tool=self._get(manifest, "tool", str),
            dialect=self._get(manifest, "dialect", str),
            instance=self._get(manifest, "instance", str),
            host=self._get(host, "id", str),
            host_name=self._get(host, "name", str),
            targets_set=self._get(manifest, "targets_set", str),
            options=self._get(manifest, "options", dict),
            rules=rules,
        )

    def _check_format(self, format_: object) -> None:
        if format_ == FORMAT:
            return
        if isinstance(format_, str) and format_.startswith(FAMILY):
            what = f"it is of version {format_[len(FAMILY) :][:20]}, this program reads v1"
            raise self._error(what, "use the version of engram-diagnose that wrote it")
        raise self._error("not a bundle", _GIVE_BUNDLE)

    def _answer(self, record: dict[str, Any]) -> Answer:
        collector, name, host, reason, detail = (self._get(record, key, str) for key in ANSWER_TEXTS)
        body = record.get("body")
        if body is not None and not isinstance(body, str):
            raise self._error("`body` is neither text nor null", _COLLECT_AGAIN)
        return Answer(collector, name, self._time(record), host, body, reason, detail)

    def _get(self, record: dict[str, Any], key: str, kind: type[str] | type[dict[str, Any]]) -> Any:
        value = record.get(key)
        if not isinstance(value, kind):
            what = f"`{key}` is missing or not {'a text' if kind is str else 'an object'}"
            raise self._error(what, _COLLECT_AGAIN)
        return value

    def _time(self, record: dict[str, Any]) -> float:
        value = record.get("time")
        try:
            time = float(value) if isinstance(value, (int, float)) else math.nan
        except OverflowError:
            time = math.nan
        if isinstance(value, bool) or not math.isfinite(time):
            raise self._error("`time` is missing or not a number", _COLLECT_AGAIN)
        return time

    def _finish(self, end: dict[str, Any], count: int, lines: Iterator[bytes]) -> None:
        if end.get("end") != count:
            what = f"{count} answers, but its last line speaks of {end.get('end')!r}"
            raise self._error(what, _COLLECT_AGAIN)
        if end.get("sha256") != self._digest.hexdigest():
            raise self._error("its content does not match its checksum", _COLLECT_AGAIN)
        if any(line.strip() for line in lines):
            raise self._error("there is something behind its last line", _COLLECT_AGAIN)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")


def _short(error: Exception) -> str:
    return str(error)[:120] or type(error).__name__


def _depth(value: object) -> int:
    """How deeply objects and arrays are nested; without recursion, for the file may be hostile."""
    deepest = 0
    left = [(value, 1)]
    while left:
        item, level = left.pop()
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        deepest = max(deepest, level)
        left.extend((child, level + 1) for child in children if isinstance(child, (dict, list)))
    return deepest
