"""
Rule files that a diagnosis does not need, and so does not parse: they are read by the command that does.
"""

import re
from typing import Final

COMPARISON: Final = "engram-diagnose/comparison/v1"
_SCHEMA_LINE: Final = re.compile(rf"^schema:\s*{re.escape(COMPARISON)}\s*(#.*)?$", re.MULTILINE)


def is_comparison(text: str) -> bool:
    """Whether the text of a rule file is that of a comparison, told without parsing it."""
    return COMPARISON in text and _SCHEMA_LINE.search(text) is not None
