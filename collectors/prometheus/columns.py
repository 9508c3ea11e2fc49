"""
The samples of a range vector's answer, read column by column.

The API writes each sample as a pair, `[1700000015,"2.5"]`, so that a plain decoder makes a tuple, a figure and a text
for each. Here the figures of a series are cut out of its bytes and read in one go, and what is left between them, the
frame with the times, is read once for all the series that share it: those of one target do.
"""

import operator
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from engram_diagnose.collectors.prometheus.labels import Labels, labels_of, parse_floats

MAX_MS: Final = 2**53

_NO_SAMPLES: Final = msgspec.Raw(b"[]")
_NEGATIVE_ZERO: Final = b"-0,"
"""The one figure that the decoder gives another sign than it has."""


class Columns(NamedTuple):
    """One series: its labels, its times in ms, ascending, and a figure for each; its native histograms undecoded."""

    labels: Labels
    times: list[int]
    values: list[float]
    histograms: Any
    """As in the answer; None where there are none."""


class Matrix(NamedTuple):
    """The series of an answer, and its warnings and infos as they stand there."""

    series: list[Columns]
    warnings: Any
    infos: Any


def read_matrix(body: str | bytes) -> Matrix | None:
    """
    What an answer that is as it should be holds.

    None for every other one, also one that a slower reader can make sense of: it is the one to say what is wrong.
    Times that several series share are one list.
    """
    try:
        answer = _READER.decode(body)
        if answer.status != "success" or answer.data.resultType != "matrix":
            return None
        known: dict[bytes, list[int]] = {}
        series = [_columns(item, known) for item in answer.data.result]
    except (ValueError, RecursionError):
        return None
    return Matrix(series, answer.warnings, answer.infos)


class _Item(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: msgspec.Raw = _NO_SAMPLES
    histograms: list[Any] | msgspec.UnsetType = msgspec.UNSET


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815  # the API's own name
    result: list[_Item]


class _Answer(msgspec.Struct):
    status: str
    data: _Data
    warnings: Any = None
    infos: Any = None


_READER: Final = msgspec.json.Decoder(_Answer)
_FRAMES: Final = msgspec.json.Decoder(list[tuple[float, str]])
_FIGURES: Final = msgspec.json.Decoder(list[float])


def _columns(item: _Item, known: dict[bytes, list[int]]) -> Columns:
    """One series; `known` holds the times by frame that were read before. Raises `ValueError`."""
    labels = labels_of(item.metric.items())
    histograms = None if item.histograms is msgspec.UNSET else item.histograms
    parts = bytes(item.values).split(b'"')
    frame, texts = b'""'.join(parts[::2]), parts[1::2]
    times = known.get(frame)
    if times is None:
        times = known[frame] = _times_of(frame)
    values = _figures_of(texts) if texts else []
    if len(values) != len(times):
        raise ValueError("not one figure for each time")
    return Columns(labels, times, values, histograms)


def _times_of(frame: bytes) -> list[int]:
    """The times of `[[1,""],[2,""]]` in ms; raises `ValueError` where they do not ascend, or are none."""
    seconds = [time for time, _ in _FRAMES.decode(frame)]
    if seconds and max(abs(seconds[0]), abs(seconds[-1])) >= MAX_MS / 1000:
        raise ValueError("a time beyond all calendars")
    times = [round(time * 1000) for time in seconds]
    if not ascending(times):
        raise ValueError("not in the order of time")
    return times


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
            return _FIGURES.decode(b"[" + joined + b"]")
        except msgspec.MsgspecError:
            pass  # NaN or Inf is among them, or nonsense
    figures = parse_floats([text.decode() for text in texts])
    if figures is None:
        raise ValueError("no figure")
    return figures
