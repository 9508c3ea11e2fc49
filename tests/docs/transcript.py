"""
Pages as transcripts: the commands they show, run in order in one folder, and what they show as output.

A block of `sh` is run; the block of `text` that follows it, with nothing but blank lines between, is what comes out. In
it `…` alone on a line stands for any lines, within a line for any text, and a last line `(exit code N)` for a code
other than 0. A block that needs somebody's server names a host in `.example`.
"""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
EXIT_CODE = re.compile(r"^\(exit code (\d+)\)\n", re.MULTILINE)
HOST = re.compile(r"\w\.example\b")


@dataclass(frozen=True)
class Fence:
    """A fenced block of a page, from its line on."""

    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Step:
    """Commands, and what the page says comes out; None where it says nothing."""

    line: int
    commands: str
    shown: str | None
    code: int = 0

    @property
    def needs_server(self) -> bool:
        return bool(HOST.search(self.commands))


@dataclass(frozen=True)
class Shell:
    """A folder, and commands run in it with nothing of this user's; where a block changes to, the next one begins."""

    folder: Path
    state: dict[str, str] = field(default_factory=dict)

    def run(self, commands: str) -> tuple[int, str]:
        """The exit code, and all that was printed in its order."""
        tools = self.folder / ".tools"
        place = self.folder / ".place"
        self._prepare(tools)
        here = place.read_text().rstrip("\n") if place.exists() else str(self.folder)
        script = f"set -euo pipefail\ntrap 'pwd > {shlex.quote(str(place))}' EXIT\n{commands}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=here,
            env=self._environment(tools),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout

    def _prepare(self, tools: Path) -> None:
        """The command as it is here, and a `sudo` that does nothing to this machine."""
        if tools.exists():
            return
        tools.mkdir(parents=True)
        call = f"exec {shlex.quote(sys.executable)} -c 'from engram_diagnose.cli import main; main()' \"$@\""
        for name, line in {"engram-diagnose": call, "sudo": "exit 0"}.items():
            (tools / name).write_text(f"#!/bin/sh\n{line}\n")
            (tools / name).chmod(0o755)

    def _environment(self, tools: Path) -> dict[str, str]:
        dropped = ("ENGRAM_DIAGNOSE_", "XDG_", "NO_COLOR", "FORCE_COLOR")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return {
            **kept,
            "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.folder),
            "ENGRAM_DIAGNOSE_SETTINGS": "",
            "ENGRAM_DIAGNOSE_STATE": str(self.folder / ".state"),
            "COLUMNS": "80",
            "LC_ALL": "C.UTF-8",
            **self.state,
        }


def fences(page: str) -> list[Fence]:
    """The fenced blocks of a page; what is indented, as in a list, without its indent."""
    return [
        Fence(page.count("\n", 0, found.start()) + 1, found["language"], textwrap.dedent(found["text"]))
        for found in FENCE.finditer(page)
    ]


def steps(page: str) -> list[Step]:
    """What a page has its reader run."""
    return list(_steps(page))


def _steps(page: str) -> Iterator[Step]:
    found = list(FENCE.finditer(page))
    for number, block in enumerate(found):
        if block["language"] != "sh":
            continue
        commands, shown = textwrap.dedent(block["text"]), None
        if number + 1 < len(found) and found[number + 1]["language"] == "text":
            after = found[number + 1]
            shown = None if page[block.end() : after.start()].strip() else textwrap.dedent(after["text"])
        code = EXIT_CODE.search(shown or "")
        yield Step(page.count("\n", 0, block.start()) + 1, commands, EXIT_CODE.sub("", shown) if shown else None,
                   int(code[1]) if code else 0)  # fmt: skip


def shows(shown: str, came_out: str) -> bool:
    """Whether what a page shows is what came out, but for what `…` stands for and blanks at the ends of lines."""
    lines = [line.rstrip() for line in shown.splitlines()]
    pattern = "".join("(?:.*\n)*" if line.strip() == "…" else f"{_line(line)}\n" for line in lines)
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in came_out.splitlines())) is not None


def _line(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("…"))
