"""Small servers of our own, each a process, ended with the test."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.rulebase import load_rules

PROGRAM = Path(__file__).parent / "small_server.py"


@dataclass(frozen=True, slots=True)
class SmallServer:
    process: "subprocess.Popen[str]"
    url: str

    @property
    def left(self) -> dict[str, Any]:
        """The spaces that are there now, and how many requests came."""
        with urllib.request.urlopen(f"{self.url}/left", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


StartServer = Callable[..., SmallServer]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """`start_server(mode, service_microseconds=0, number=0)`."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str = "healthy", service: int = 0, number: int = 0) -> SmallServer:
        command = [sys.executable, str(PROGRAM), mode, str(service), str(number)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return SmallServer(process, f"http://127.0.0.1:{process.stdout.readline().strip()}")

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def limits() -> dict[str, float]:
    return read_limits(load_rules(thorough=False).texts, "bench")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_rules(thorough=False).catalogue
