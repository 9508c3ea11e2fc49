"""docs/reference/bundle.md, and how to collect where nothing may be installed: the commands work as written there."""

import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from transcript import Shell, shows, steps

STANDIN = Path(__file__).parents[1] / "collectors" / "programs" / "standin.py"
PORT = 7432


def test_the_commands_of_the_bundle_page_do_what_it_shows(root: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    found = steps((root / "docs" / "reference" / "bundle.md").read_text(encoding="utf-8"))
    assert len(found) == 3
    for step in found:
        code, out = shell.run(step.commands)
        assert code == step.code, out
        assert step.shown is None or shows(step.shown, out), out


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A stand-in on the port of the page."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", PORT))
        except OSError:
            pytest.skip(f"port {PORT} is taken on this machine")
    folder = tmp_path_factory.mktemp("server")
    running = subprocess.Popen([sys.executable, STANDIN, folder, "--port", str(PORT)])
    until = time.monotonic() + 20
    while not (folder / "port").exists() and time.monotonic() < until:
        time.sleep(0.02)
    yield
    running.kill()
    running.wait()


@pytest.mark.usefixtures("server")
@pytest.mark.xdist_group("port-7432")
def test_a_host_without_the_tool_is_collected_from_as_the_page_says(root: Path, tmp_path: Path) -> None:
    page = (root / "docs" / "howto" / "diagnose-from-a-bastion.md").read_text(encoding="utf-8")
    section = re.search(r"^## Where nothing may be installed\n.*?(?=^## )", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    shell = Shell(tmp_path)
    shell.run("true")
    # The other host is this one, with nothing of the tool but what comes through the pipe.
    stub = tmp_path / ".tools" / "ssh"
    stub.write_text(f'#!/bin/sh\nshift 2\ncd /\nexec env -i {shlex.quote(sys.executable)} -I -S "$@"\n')
    stub.chmod(0o755)
    found = steps(section[0])
    assert len(found) == 2
    for step in found:
        code, out = shell.run(step.commands)
        assert code == step.code, out
        assert step.shown is None or shows(step.shown, out), out
    assert (tmp_path / "host.bundle").stat().st_size > 1000


def test_every_option_of_the_script_that_the_page_lists_is_one(root: Path) -> None:
    page = (root / "docs" / "howto" / "diagnose-from-a-bastion.md").read_text(encoding="utf-8")
    table = page.partition("| Option | Meaning |")[2].partition("\n\n")[0]
    listed = {name for row in re.findall(r"^\| (.+?) \|", table, re.MULTILINE) for name in re.findall(r"--[\w-]+", row)}
    source = (root / "collectors" / "standalone.py").read_text(encoding="utf-8")
    there = set(re.findall(r'add\("(--[\w-]+)"', source)) | {"--sources"}
    assert listed == there - {"--version"}
