"""
Saved baselines: bundles of good days, by name, in the state folder.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engram_diagnose.collectors.bundle import read_bundle, write_bundle
from engram_diagnose.collectors.bundle_format import Bundle, BundleError
from engram_diagnose.state import StateError, make_folder, state_folder

_SUFFIX: Final = ".bundle"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Baseline:
    """One saved baseline; `problem` says why it cannot be read, empty when it can."""

    name: str
    path: Path
    instance: str = ""
    time: float = 0.0
    problem: str = ""


def checked_name(name: str) -> str:
    """The name, when it can be one; raises `StateError`."""
    if not _NAME.fullmatch(name):
        raise StateError(
            f"{name!r} is no name for a baseline: write letters, digits, dots, dashes and underscores, such as "
            "before-upgrade; --output FILE writes anywhere"
        )
    return name


def save_baseline(name: str, bundle: Bundle, *, replace: bool = False) -> Path:
    """
    Keep a bundle under a name, whole or not at all.

    Raises `StateError` for a name that is none or is taken, `BundleError` when it cannot be written.
    """
    folder = state_folder() / "baselines"
    path = folder / (checked_name(name) + _SUFFIX)
    make_folder(folder)
    if path.exists() and not replace:
        raise StateError(f"there is a baseline {name} already; choose another name, or give --replace")
    write_bundle(path, bundle)
    return path


def save_to(path: Path, bundle: Bundle, *, replace: bool = False) -> Path:
    """Keep a bundle in a file; raises `StateError` when there is one and it is not to be replaced."""
    if path.is_file() and not replace:
        raise StateError(f"there is a file {path} already; choose another, or give --replace")
    write_bundle(path, bundle)
    return path


def resolved(name: str) -> str:
    """
    The path of a baseline: a file that is there, else the saved one of that name.

    Raises `StateError` when there is neither.
    """
    if Path(name).exists():
        return name
    if _NAME.fullmatch(name):
        path = state_folder(make=False) / "baselines" / (name + _SUFFIX)
        if path.is_file():
            return str(path)
    known = ", ".join(one.name for one in saved_baselines(read=False)) or "none"
    raise StateError(f"there is no file {name}, and no baseline of that name; saved are: {known}")


def saved_baselines(*, read: bool = True) -> list[Baseline]:
    """Every saved baseline, by name; with `read`, what is in it."""
    folder = state_folder(make=False) / "baselines"
    try:
        paths = sorted(path for path in folder.glob(f"*{_SUFFIX}") if path.is_file())
    except OSError as error:
        raise StateError(f"cannot read {folder}: {error.strerror or error}") from None
    return [_read(path) if read else Baseline(path.name.removesuffix(_SUFFIX), path) for path in paths]


def _read(path: Path) -> Baseline:
    name = path.name.removesuffix(_SUFFIX)
    try:
        bundle = read_bundle(path)
    except BundleError as error:
        return Baseline(name, path, problem=str(error))
    return Baseline(name, path, bundle.instance, bundle.time)
