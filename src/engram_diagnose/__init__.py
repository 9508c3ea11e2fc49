"""engram-diagnose: what is slow in an Engram memory database, why, and what to change."""

from importlib.util import find_spec

__version__ = "0.1.0"

if find_spec("engram_diagnose.engine") is None:
    raise ImportError(
        "engram_diagnose.engine is missing: src/engram_diagnose/engine must be a link to ../../engine. "
        "This checkout was made without symbolic links; run `git config core.symlinks true` and "
        "`git checkout -- src`, or install the wheel"
    )
