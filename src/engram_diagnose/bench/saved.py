"""
Saved runs: reports of benchmarks, by name, in the state folder.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engram_diagnose.bench.document import ReportError, read_report
from engram_diagnose.collectors.whole_file import write_whole
from engram_diagnose.state import StateError, make_folder, state_folder

_SUFFIX: Final = ".bench.json"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_MOST_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class SavedRun:
    """One saved run; `problem` says why it cannot be read, empty when it can."""

    name: str
    path: Path
    address: str = ""
    started: str = ""
    workloads: tuple[str, ...] = ()
    target_set: str = ""
    state: str = ""
    problem: str = ""


def checked_name(name: str) -> str:
    """The name, when it can be one; raises `StateError`."""
    if not _NAME.fullmatch(name):
        raise StateError(f"{name!r} is no name for a saved run: write letters, digits, dots, dashes and underscores, "
                         "such as before-upgrade; --output FILE writes anywhere")  # fmt: skip
    return name


def check_free(name: str, *, replace: bool) -> None:
    """Before a load is sent: raises `StateError` for a name that is none or taken, or a folder that cannot be made."""
    make_folder(_folder())
    if _path(checked_name(name)).exists() and not replace:
        raise StateError(f"there is a saved run {name} already; choose another name, or give --replace")


def save_run(name: str, report: Mapping[str, Any]) -> Path:
    """Keep a report under a name, whole or not at all; raises `StateError` when it cannot be written."""
    path = _path(checked_name(name))
    make_folder(path.parent)
    text = json.dumps(report, sort_keys=True, allow_nan=False, separators=(",", ":")) + "\n"
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror or error}; the report above is not kept") from None
    return path


def load_run(name: str) -> dict[str, Any]:
    """
    The report in a file, else the saved one of that name.

    Raises `StateError` when there is neither, `ReportError` when it is none.
    """
    path = Path(name)
    if not path.is_file():
        path = _path(name) if _NAME.fullmatch(name) else path
    if not path.is_file():
        known = ", ".join(one.name for one in saved_runs(read=False)) or "none"
        raise StateError(f"there is no file {name}, and no saved run of that name; saved are: {known}")
    return read_report(str(path), _bytes(path))


def saved_runs(*, read: bool = True) -> list[SavedRun]:
    """Every saved run, by name; with `read`, what is in it."""
    try:
        paths = sorted(path for path in _folder().glob(f"*{_SUFFIX}") if path.is_file())
    except OSError as error:
        raise StateError(f"cannot read {_folder()}: {error.strerror or error}") from None
    return [_read(path) if read else SavedRun(path.name.removesuffix(_SUFFIX), path) for path in paths]


def prune_runs(keep: int) -> list[str]:
    """Remove all but the `keep` newest saved runs, by when they were written; gives the names of those removed."""
    try:
        newest = sorted(saved_runs(read=False), key=lambda one: (-one.path.stat().st_mtime_ns, one.name))
        for one in newest[keep:]:
            one.path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"cannot remove {error.filename}: {error.strerror or error}") from None
    return sorted(one.name for one in newest[keep:])


def _folder() -> Path:
    return state_folder(make=False) / "benchmarks"


def _path(name: str) -> Path:
    return _folder() / (name + _SUFFIX)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror or error}") from None
    if len(data) > _MOST_BYTES:
        raise StateError(f"{path} is larger than {_MOST_BYTES >> 20} MiB, and no report is")
    return data


def _read(path: Path) -> SavedRun:
    name = path.name.removesuffix(_SUFFIX)
    try:
        report = read_report(str(path), _bytes(path))
    except (StateError, ReportError) as error:
        return SavedRun(name, path, problem=str(error).splitlines()[0])
    runs = report["benchmark"]["runs"]
    workloads = tuple(dict.fromkeys(run["workload"]["name"] for run in runs))
    return SavedRun(name, path, runs[0]["server"]["address"], runs[0]["started"], workloads, report["target_set"],
                    report["verdict"]["state"])  # fmt: skip
