"""
The samples of a range vector's answer, read column by column.

The API writes each sample as a pair, `[1700000015,"2.5"]`, so that a plain decoder makes a tuple, a figure and a text
for each. Here the figures of a series are cut out of its bytes and read in one go, and what is left between them, the
frame with the times, is read once for all the series that share it: those of one target do.
"""

import json
import operator
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from engram_diagnose.collectors.prometheus.labels import Labels, labels_of, parse_floats

MAX_MS: Final = 2**53

_NEGATIVE_ZERO: Final = b"-0,"
"""The one figure that the decoder gives another sign than it has."""

# An answer as Prometheus writes it, with blanks where JSON has them: a head, an item for each series, a tail. Whoever
# writes it in another order is read by the slower reader. There are no braces among samples.
_HEAD: Final = re.compile(
    rb'\s*\{\s*"status"\s*:\s*"success"\s*,\s*"data"\s*:\s*\{\s*"resultType"\s*:\s*"matrix"\s*,\s*"result"\s*:\s*\[\s*'
)
_LABELS: Final = rb'\{(?:[^{}"\\]+|"(?:[^"\\]+|\\.)*+")*+\}'
_ITEM: Final = re.compile(
    rb'\{\s*"metric"\s*:\s*(' + _LABELS + rb')\s*,\s*"values"\s*:\s*(\[[^{}]*\])\s*\}\s*(,\s*|(?=\]\s*\}))'
)
_TAIL: Final = re.compile(rb"\]\s*\}\s*(,.*)?\}\s*", re.DOTALL)


class Columns(NamedTuple):
    """One series: its labels, its times in ms, ascending, and a figure for each."""

    labels: Labels
    times: list[int]
    values: list[float]


class Matrix(NamedTuple):
    """The series of an answer, and its warnings and infos as they stand there."""

    series: list[Columns]
    warnings: Any
    infos: Any


def read_matrix(body: str | bytes) -> Matrix | None:
    """
    What an answer that is as it should be holds.

    None for every other one, also one that a slower reader can make sense of, such as one with native histograms: it is
    the one to say what is wrong. Times that several series share are one list.
    """
    try:
        raw = body.encode() if isinstance(body, str) else body
        items, end = _items(raw)
        known: dict[bytes, list[int]] = {}
        series = [_columns(metric, samples, known) for metric, samples in items]
        more = _rest(raw, end)
    except (ValueError, RecursionError):
        return None
    return Matrix(series, more.get("warnings"), more.get("infos"))


def _items(raw: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
    """The labels and the samples of each series as they stand there, and where the last ends; raises `ValueError`."""
    head = _HEAD.match(raw)
    if head is None:
        raise ValueError("not the beginning of a matrix")
    found: list[tuple[bytes, bytes]] = []
    end = head.end()
    more = raw.startswith(b"{", end)
    while more:
        item = _ITEM.match(raw, end)
        if item is None:
            raise ValueError("not a series")
        found.append((item[1], item[2]))
        end, more = item.end(), bool(item[3])
    return found, end


def _rest(raw: bytes, end: int) -> dict[str, Any]:
    """What stands behind the series; raises `ValueError`."""
    tail = _TAIL.fullmatch(raw, end)
    if tail is None:
        raise ValueError("not the end of a matrix")
    rest: dict[str, Any] = json.loads(b"{" + tail[1][1:] + b"}") if tail[1] else {}
    return rest


def _columns(metric: bytes, samples: bytes, known: dict[bytes, list[int]]) -> Columns:
    """One series; `known` holds the times by frame that were read before. Raises `ValueError`."""
    if b"\\u" in metric:
        raise ValueError("half a character, perhaps")
    labels = json.loads(metric)
    if not all(isinstance(text, str) for text in labels.values()):
        raise ValueError("a label that is no text")
    parts = samples.split(b'"')
    frame, texts = b'""'.join(parts[::2]), parts[1::2]
    times = known.get(frame)
    if times is None:
        times = known[frame] = _times_of(frame)
    values = _figures_of(texts) if texts else []
    if len(values) != len(times):
        raise ValueError("not one figure for each time")
    return Columns(labels_of(labels.items()), times, values)


def _times_of(frame: bytes) -> list[int]:
    """The times of `[[1,""],[2,""]]` in ms; raises `ValueError` where they do not ascend, or are none."""
    seconds = [_time_of(pair) for pair in json.loads(frame)]
    if seconds and max(abs(seconds[0]), abs(seconds[-1])) >= MAX_MS / 1000:
        raise ValueError("a time beyond all calendars")
    times = [round(time * 1000) for time in seconds]
    if not ascending(times):
        raise ValueError("not in the order of time")
    return times


def _time_of(pair: Any) -> float:
    match pair:
        case [int() | float() as time, ""] if not isinstance(time, bool):
            return time
    raise ValueError("not a time and a figure")


def ascending(times: Sequence[int]) -> bool:
    """Whether each time is later than the one before."""
    return all(map(operator.lt, times, islice(times, 1, None)))


def _figures_of(texts: Sequence[bytes]) -> list[float]:
    """What `parse_float` gives for each of at least one; raises `ValueError` where it gives None."""
    joined = b",".join(texts)
    # JSON's figures are figures to Prometheus too, but for the blanks around them and the lost sign. Texts with a
    # comma in them give more figures than there are times, and no such count is taken.
    if b" " not in joined and _NEGATIVE_ZERO not in joined + b",":
        try:
            return _plain_figures(joined)
        except ValueError:
            pass  # NaN or Inf is among them, or nonsense
    figures = parse_floats([text.decode() for text in texts])
    if figures is None:
        raise ValueError("no figure")
    return figures


def _plain_figures(joined: bytes) -> list[float]:
    """JSON's own figures; raises `ValueError` for every other, NaN and Infinity as this decoder has them among them."""
    found = json.loads(b"[" + joined + b"]", parse_int=float, parse_constant=_refuse)
    if any(type(one) is not float for one in found):
        raise ValueError("no figure")
    figures: list[float] = found
    return figures


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is written otherwise by Prometheus")
