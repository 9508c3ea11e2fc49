"""
Reads rule files from disk: the built-in ones, and the packs a site names.
"""

import datetime
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engram_diagnose.engine.language.loader import Loaded, load
from engram_diagnose.engine.language.problem import Mark, Problem, RuleBaseError

Files = Mapping[str, bytes]


def builtin_files() -> Files:
    """The rule files that come with the tool, by their name within `rules/`."""
    root = Path(__file__).parent / "rules"
    return _read_folder(root, prefix="rules")


def pack_files(path: Path) -> Files:
    """
    The YAML files of a pack: a file, or a folder with everything below it.

    Raises `RuleBaseError`, naming the file or folder, when one of them cannot be read: half a pack would be worse
    than none.
    """
    try:
        if path.is_dir():
            found = _read_folder(path, prefix=str(path))
            if not found:
                raise _unreadable(path, "holds no .yaml file")
            return found
        if path.exists() and not path.is_file():
            raise _unreadable(path, "not a file")
        return {str(path): path.read_bytes()}
    except OSError as error:
        raise _unreadable(Path(error.filename or path), error.strerror or str(error)) from None


def _read_folder(root: Path, *, prefix: str) -> dict[str, bytes]:
    def refuse(error: OSError) -> None:
        raise error

    found = {}
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=False):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if name.endswith((".yaml", ".yml")) and path.is_file():
                found[f"{prefix}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return found


def _unreadable(path: Path, what: str) -> RuleBaseError:
    return RuleBaseError(
        [
            Problem(
                Mark(str(path), 1, 1),
                f"cannot read the rule pack: {what}",
                "give --rules a .yaml file or a folder of them",
            )
        ]
    )


def load_rules(packs: Iterable[Path] = (), *, today: datetime.date | None = None, thorough: bool = True) -> Loaded:
    """
    The built-in rules with the packs laid over them.

    Without `thorough`, built-in rules alone are taken as they were checked before they were shipped: their tests are
    not read, which is a sixth of the time.

    Raises `RuleBaseError` with every problem of every file.
    """
    day = (today or datetime.date.today()).isoformat()
    return load(builtin_files(), [pack_files(path) for path in packs], today=day, thorough=thorough)


def rule_digests(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """Each pack's version, and one digest over every rule file in force."""
    digest = hashlib.sha256()
    for name in sorted(loaded.texts):
        digest.update(
            name.rpartition("/")[2].encode() + b"\0" + loaded.texts[name].encode("utf-8", "surrogatepass") + b"\0"
        )
    return {
        pack: {"version": version, "digest": digest.hexdigest()[:16]} for pack, version in loaded.rules.packs.items()
    }
