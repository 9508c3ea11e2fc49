"""
Label sets, as sorted pairs: hashable, comparable, and in one order everywhere.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final

Labels = tuple[tuple[str, str], ...]
"""
Pairs sorted by label name. A label with an empty value is the same as none, so it is never kept.
"""

NAME: Final = "__name__"
BUCKET: Final = "le"

_FLOAT: Final = re.compile(r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[iI][nN][fF](?:inity)?|[nN][aA][nN])", re.A)
_CHARACTERS: Final = re.compile(r"[-+0-9.eEiInNfFaAty]*+")
"""Of what Python's `float` takes with these, Prometheus writes all: neither blanks nor `_` are among them."""
_VALUE: Final = itemgetter(1)
_UTF16: Final = "utf-16-le"


def labels_of(pairs: Iterable[tuple[str, str]]) -> Labels:
    """The label set of these pairs, whose names are distinct."""
    found = tuple(sorted(pairs))
    return found if all(map(_VALUE, found)) else tuple(pair for pair in found if pair[1])


def label(labels: Labels, name: str) -> str:
    """The value of one label; empty when it is not there."""
    for key, value in labels:
        if key == name:
            return value
    return ""


@lru_cache(maxsize=16384)  # a window asks for the same ones again at each of its scrapes
def keep(labels: Labels, names: tuple[str, ...]) -> Labels:
    """Only these labels."""
    return tuple(pair for pair in labels if pair[0] in names)


@lru_cache(maxsize=16384)
def drop(labels: Labels, names: tuple[str, ...]) -> Labels:
    """All but these labels."""
    return tuple(pair for pair in labels if pair[0] not in names)


def without_name(labels: Labels) -> Labels:
    """All but the metric name."""
    return drop(labels, (NAME,))


def printed(labels: Labels) -> str:
    """The selector that picks exactly these labels: `name{a="b"}`."""
    body = ",".join(f'{name}="{escaped(value)}"' for name, value in labels if name != NAME)
    return label(labels, NAME) + (f"{{{body}}}" if body else "")


def escaped(value: str) -> str:
    """
    A label value between double quotes, in PromQL and in the text format.

    Exactly backslash, quote and newline are escaped: JSON's escapes would turn an emoji into two
    surrogates.
    """
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def clean(text: str) -> str:
    """`text` with lone surrogates (legal in JSON, not encodable) replaced, everything else as it was."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(_UTF16, "surrogatepass").decode(_UTF16, "replace")
    return text


def parse_floats(texts: Sequence[str]) -> list[float] | None:
    """What `parse_float` gives for each of at least one; None where it gives None for any."""
    if not _CHARACTERS.fullmatch("".join(texts)):
        return None
    try:
        return list(map(float, texts))
    except ValueError:
        return None


def parse_float(text: str) -> float | None:
    """
    A figure as Prometheus writes it: `1e+06`, `NaN`, `+Inf`.

    None for anything else, which includes what Python's `float` would take: `1_0`, ` 1`, `１`.
    """
    return float(text) if _FLOAT.fullmatch(text) else None
