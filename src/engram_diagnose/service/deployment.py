"""
The files to deploy the service with: `templates/deploy`, written where an operator wants them.
"""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path


class DeploymentError(ValueError):
    """The files cannot be written; says which and what to do."""


def shipped_files() -> dict[str, bytes]:
    """Each file's content by its path inside the folder, in order."""
    return dict(sorted(_below(resources.files("engram_diagnose").joinpath("templates", "deploy"), "")))


def write_files(folder: Path) -> list[tuple[Path, bool]]:
    """
    Write the files into a folder; each one's path, and whether it was written rather than there already.

    A file that is there with another content stays: then nothing is written, and `DeploymentError` names every such.
    """
    files = {folder / name: content for name, content in shipped_files().items()}
    try:
        there = {path: path.read_bytes() for path in files if path.exists() or path.is_symlink()}
        if unlike := [str(path) for path in there if there[path] != files[path]]:
            raise DeploymentError(
                f"these files are there and say something else: {', '.join(unlike)}; nothing was written; "
                "name another folder, and compare the two"
            )
        return [(path, _written(path, content, path in there)) for path, content in files.items()]
    except OSError as error:
        raise DeploymentError(
            f"cannot write {error.filename or folder}: {error.strerror or error}; name another folder"
        ) from None


def _written(path: Path, content: bytes, there: bool) -> bool:
    if not there:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
    return not there


def _below(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _below(entry, f"{prefix}{entry.name}/")
        else:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found
