"""
Generated files in a folder: which of them are not as they would be made, and making those anew.
"""

from collections.abc import Mapping
from pathlib import Path


def stale_files(folder: Path, made: Mapping[str, str]) -> list[str]:
    """The names of the files that the folder lacks, or holds otherwise than they would be made."""
    return [name for name, text in made.items() if read_file(folder / name) != text]


def write_files(folder: Path, made: Mapping[str, str]) -> list[str]:
    """Write the files that are stale, and give their names. Raises `OSError` when the folder cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    stale = stale_files(folder, made)
    for name in stale:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(made[name], encoding="utf-8", newline="\n")
    return stale


def read_file(path: Path) -> str | None:
    """A file's text; None where there is none that can be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
