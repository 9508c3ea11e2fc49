"""The server's configuration file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.reading import Reading, read
from engram_diagnose.collectors.capture.secrets import mask_toml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT_BYTES = 16 << 20
_VARIABLES = ("HOME", "XDG_CONFIG_HOME")


def configuration(machine: Machine, path: str) -> Answer:
    """
    The configuration, secrets masked, as an answer of the collector `config` whose name is the
    path.

    Its detail is `sha256:…` of the file's own bytes, so that a patch can tell whether the file
    has changed, and `modified` with the time at which it was, in seconds since the epoch: what a
    file says that is newer than the server is not in effect.
    """
    reading = read(path, limit=LIMIT_BYTES)
    if reading.body is None:
        return machine.answer("config", path, reading)
    raw = reading.body.encode("utf-8", "surrogateescape")
    detail = f"sha256:{hashlib.sha256(raw).hexdigest()}{_modified(path)}"
    masked = Reading(mask_toml(reading.body))
    return replace(machine.answer("config", path, masked), detail=detail)


def _modified(path: str) -> str:
    try:
        return f" modified {os.stat(path).st_mtime:.3f}"
    except OSError:
        return ""


def server_environment(pid: int, *, proc_root: str = "/proc") -> dict[str, str]:
    """
    The variables of a process that say where its configuration is, and no others.

    Empty where the process may not be looked into.
    """
    text = read(os.path.join(proc_root, str(pid), "environ")).body or ""
    pairs = (entry.partition("=") for entry in text.split("\0"))
    return {name: value for name, _, value in pairs if name in _VARIABLES and value}


def configuration_paths(patterns: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """
    Where a dialect's configuration may be, first choice first.

    A leading `~` is HOME and `$XDG_CONFIG_HOME` that variable, else `~/.config`; a place whose
    variable is not known is left out.
    """
    home = environment.get("HOME", "")
    settings = environment.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else "")
    paths = []
    for pattern in patterns:
        path = pattern.replace("$XDG_CONFIG_HOME", settings)
        path = home + path[1:] if path.startswith("~/") else path
        known = (settings or "$XDG_CONFIG_HOME" not in pattern) and (home or pattern[:1] != "~")
        if known and path not in paths:
            paths.append(path)
    return paths


def find_configuration(patterns: Sequence[str], environment: Mapping[str, str]) -> str:
    """The first of the places where there is a file; empty when there is none."""
    paths = configuration_paths(patterns, environment)
    return next((path for path in paths if os.path.isfile(path)), "")
