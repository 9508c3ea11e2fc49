"""
Sentences with fields: `because: "{amplification:.1f} WAL bytes per stored byte"`.

A field is the name of a `let`, a parameter or a fact. What stands behind its colon is accepted and means nothing: a
figure is printed in its own unit by `format_value`, wherever it appears.
"""

import re
from typing import Final

_FIELD: Final = re.compile(r"\{([^{}:]+)(?::[^{}]*)?\}")
_FACT: Final = re.compile(r"\{([a-z]\w*(?:\.\w+)+(?:@\w+)?)\}")


def fields_of(text: str) -> tuple[str, ...]:
    """The names of the fields in a sentence, each once, in reading order; a parameter's without its `$`."""
    return tuple(dict.fromkeys(match.strip().removeprefix("$") for match in _FIELD.findall(text)))


def facts_in_command(text: str) -> tuple[str, ...]:
    """The facts a command line names; other braces (`awk '{print $1}'`) are the command's own."""
    return tuple(dict.fromkeys(_FACT.findall(text)))
