"""Kinds of functions by their names: what a CPU profile's samples are told apart by."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SymbolKind:
    """
    Samples that `fact` is the share of: some frame's name is matched by `names`, and no frame's by `unless`.

    With `kernel` the work is done in the kernel: a profile of user code alone cannot tell its share. Names are those
    of the source, without generic arguments.
    """

    fact: str
    names: re.Pattern[str]
    unless: re.Pattern[str] | None = None
    kernel: bool = False
