"""The pages about the service: every command runs as it is written, against a service that really runs."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from stage import free_port
from transcript import Shell, Step, shows, steps

from engram_diagnose.service.deployment import shipped_files
from engram_diagnose.service.reading import read_settings
from engram_diagnose.service.security import OPEN_PATHS
from engram_diagnose.service.server import FIXED
from engram_diagnose.service.settings import Settings

SERVICE, ALERT = "operations/service.md", "howto/diagnose-from-an-alert.md"
MAY_LACK = ("amtool", "curl", "promtool")
"""What a reader has and a test machine may not."""
NOT_HERE = ("docker", "kubectl")
"""What would change something outside the test's folder."""


def text_of(root: Path, page: str) -> str:
    return (root / "docs" / page).read_text(encoding="utf-8")


def lacks(step: Step) -> bool:
    return any(shutil.which(name) is None for name in MAY_LACK if re.search(rf"^{name} ", step.commands, re.MULTILINE))


def run(shell: Shell, step: Step) -> None:
    code, out = shell.run(step.commands)
    log = shell.folder / "service.log"
    told = f"line {step.line}: {step.commands}\n{out}\n{log.read_text() if log.exists() else ''}"
    assert code == step.code, told
    assert step.shown is None or shows(step.shown, out), told


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder whose service is ended with it."""
    with_stubs = Shell(tmp_path)
    with_stubs.run("true")  # which makes its tools
    for name in NOT_HERE:
        stub = tmp_path / ".tools" / name
        stub.write_text("#!/bin/sh\nexit 0\n")
        stub.chmod(0o755)
    yield with_stubs
    pid = tmp_path / "service.pid"
    with suppress(OSError, ValueError):
        os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_every_command_works_in_order_and_prints_what_the_page_shows(root: Path, shell: Shell) -> None:
    page = text_of(root, SERVICE).replace("127.0.0.1:7433", f"127.0.0.1:{free_port()}")
    found = [step for step in steps(page) if not step.needs_server]
    assert len(found) > 15
    for step in found:
        if not lacks(step):
            run(shell, step)


@pytest.mark.slow
def test_every_command_from_an_alert_on_works(root: Path, shell: Shell) -> None:
    for step in steps(text_of(root, ALERT)):
        if not step.needs_server:
            run(shell, step)


def test_what_the_page_says_of_defaults_holds(root: Path) -> None:
    page, usual = " ".join(text_of(root, SERVICE).split()), Settings()
    assert f"`retention.days` ({usual.retention.days:.0f})" in page
    assert f"`retention.bytes` ({usual.retention.bytes >> 30} GiB)" in page
    assert f"http://{usual.listen}/" in page
    assert f"the name `{usual.alertmanager.receiver}`" in page
    assert usual.alertmanager.give_up_seconds == 86400
    assert all(f"`{path}`" in page for path in OPEN_PATHS)


def test_every_setting_that_the_page_names_is_there(root: Path, tmp_path: Path) -> None:
    tables = "auth|tls|limits|prometheus|alertmanager|incidents|worker|webhook|retention"
    for table, key in re.findall(rf"`({tables})\.(\w+)`", text_of(root, SERVICE)):
        inside = getattr(Settings(), table)
        assert hasattr(inside, key) or hasattr(inside.login, key), f"{table}.{key}"
    (tmp_path / "empty.toml").touch()
    assert read_settings(tmp_path / "empty.toml") == Settings()


def test_what_only_a_restart_changes_is_listed(root: Path) -> None:
    (sentence,) = re.findall(r"Only a restart changes (.*?);", text_of(root, SERVICE), re.DOTALL)
    words = " ".join(sentence.split())
    named = {"listen": "`listen`", "database": "`database`", "tls.certificate": "certificate", "tls.key": "certificate",
             "limits.connections": "connections", "limits.deadline_seconds": "deadline",
             "limits.queue": "queue"}  # fmt: skip
    assert set(named) == set(FIXED)
    assert all(word in words for word in named.values())


def test_every_shipped_file_that_the_page_names_is_shipped(root: Path) -> None:
    named = set(re.findall(r"deploy/([\w./-]+\.(?:yml|yaml|json|toml|service)|Containerfile)", text_of(root, SERVICE)))
    assert len(named) > 6
    assert named <= set(shipped_files())
