"""
Mangled names of Rust into the names of the source: the legacy scheme and v0 (RFC 2603).

Names come from whatever was running, so they are hostile until shown otherwise: what is no whole mangled name, nests
too deep or would grow too long is given back as it is. Hashes are left out. C++ names stay as they are.
"""

import re
from functools import lru_cache
from typing import Final

from engram_diagnose.collectors.parse.mangling import legacy, v0
from engram_diagnose.collectors.parse.mangling.refusal import MOST_CHARACTERS, MalformedError

_PREFIX: Final = re.compile(r"(?:__?)?(?:R(?=[A-Z0-9])|ZN(?=[0-9]))")
_LLVM: Final = re.compile(r"\.llvm\.[0-9A-F@]*$")


@lru_cache(maxsize=16_384)
def demangle(name: str) -> str:
    """
    The source's name of a symbol; any string that is no mangled name of Rust is given back.

    `_RNvNtCs81nRMqtTsfS_3hot10activation13cosine` is `hot::activation::cosine`, and so is
    `_ZN3hot10activation6cosine17h0123456789abcdefE`.
    """
    prefix = _PREFIX.match(name)
    if prefix is None or len(name) > MOST_CHARACTERS or not name.isascii():
        return name
    body = _LLVM.sub("", name[prefix.end() :])
    scheme = legacy if prefix.group().endswith("ZN") else v0
    try:
        found = scheme.source_name(body)
    except (MalformedError, RecursionError):
        return name
    return found if found.isprintable() else name
