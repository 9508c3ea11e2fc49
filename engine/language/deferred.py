"""
Rule files that a diagnosis does not need, and so does not parse: they are read by the command that does.
"""

import re
from collections.abc import Mapping
from typing import Final

DEFERRED: Final = ("comparison", "collection", "kernels", "bench", "cases", "slow-queries", "events", "symbols")
"""The kinds of these files, as their schema names them."""
_SCHEMA_LINE: Final = re.compile(rf"^schema:\s*engram-diagnose/({'|'.join(DEFERRED)})/v1\s*(?:#.*)?$", re.MULTILINE)


def schema_of(kind: str) -> str:
    """What the key `schema` of a file of this kind says."""
    return f"engram-diagnose/{kind}/v1"


def deferred_kind(text: str) -> str:
    """Which of these kinds the text of a rule file is, told without parsing it; empty for any other."""
    found = _SCHEMA_LINE.search(text)
    return found.group(1) if found else ""


def deferred_file(texts: Mapping[str, str], kind: str) -> str:
    """The name of the file of this kind in `texts` (by file name), the last where there are several; else empty."""
    return next((name for name in reversed(list(texts)) if deferred_kind(texts[name]) == kind), "")
