"""
What microbenchmarks found of this host, as the last run of them left it in the state folder.

Nothing is measured here. Beside the record stands what the host is now, since a record may be of a host that has been
changed since, and its durable writes of another disk.
"""

from __future__ import annotations

import json
import os

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.reading import Reading, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engram_diagnose.collectors.capture.machine import Machine

COLLECTOR = "kernels"
RECORD, NOW = "attained", "attained/now"
FOLDER = "kernels"
_MOST = 1 << 20
_STATE = "ENGRAM_DIAGNOSE_STATE"


def state_place() -> str:
    """
    `$ENGRAM_DIAGNOSE_STATE`, else `$XDG_STATE_HOME/engram-diagnose`, else `~/.local/state/engram-diagnose`.

    Where the tool keeps what outlives a run; empty for a user without a home.
    """
    named = os.environ.get(_STATE, "")
    if named:
        return os.path.abspath(named)
    shared = os.environ.get("XDG_STATE_HOME", "")
    # The specification of these folders says that a relative path counts as not set.
    if shared and os.path.isabs(shared):
        return os.path.join(shared, "engram-diagnose")
    home = os.path.expanduser("~")
    return os.path.join(home, ".local", "state", "engram-diagnose") if os.path.isabs(home) else ""


def record_path(state: str, host: str) -> str:
    """Where the record of a host is, by its id."""
    return os.path.join(state, FOLDER, host + ".json")


def attained(machine: Machine, *, data_dir: str) -> list[Answer]:
    """The record, or why there is none, and what the host and the disk of `data_dir` are now."""
    state = state_place()
    reading = _absent("this user has no home folder to keep it in")
    if state and machine.host:
        reading = read(record_path(state, machine.host), limit=_MOST)
    if reading.reason == "SOURCE_ABSENT":
        reading = _absent("nobody has measured this host")
    found = [machine.answer(COLLECTOR, RECORD, reading)]
    if reading.body is not None:
        said = json.dumps(host_now(machine, data_dir), sort_keys=True)
        found.append(machine.answer(COLLECTOR, NOW, Reading(said)))
    return found


def host_now(machine: Machine, data_dir: str) -> dict[str, Any]:
    """CPU, how many there are, kernel, and the device of a folder: what figures of a host hang on. Unknown is empty."""
    cpuinfo = read(machine.proc("cpuinfo")).body or ""
    return {
        "cpu": _field(cpuinfo, "model name") or _field(cpuinfo, "CPU part"),
        "cpus": sum(line.startswith("processor") for line in cpuinfo.splitlines()),
        "kernel": (read(machine.proc("sys/kernel/osrelease")).body or "").strip(),
        "device": device_of(data_dir),
    }


def device_of(folder: str) -> str:
    """The device that a folder, or the nearest one above it that is there, lies on: `8:1`; empty for no folder."""
    place = folder
    while place:
        try:
            number = os.stat(place).st_dev
        except (OSError, ValueError):
            above = os.path.dirname(place)
            place = "" if above == place else above
            continue
        return f"{os.major(number)}:{os.minor(number)}"
    return ""


def _field(cpuinfo: str, name: str) -> str:
    for line in cpuinfo.splitlines():
        label, colon, value = line.partition(":")
        if colon and label.strip() == name:
            return value.strip()
    return ""


def _absent(detail: str) -> Reading:
    return Reading(None, "NOT_COLLECTED", detail)
