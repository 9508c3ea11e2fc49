"""The README and the tutorial show what really comes out, and their commands work on the bundled incident."""

import io
import re
import shlex
from pathlib import Path

import pytest

from engram_diagnose.cli import main
from engram_diagnose.cli.demo import FIRST
from engram_diagnose.demo import story
from engram_diagnose.demo.pace import USUAL
from engram_diagnose.demo.telling import Terminal
from engram_diagnose.lab.faults import fault_named


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns, and no settings of this machine."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ENGRAM_DIAGNOSE_SETTINGS", "")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and stdout of a command."""
    try:
        main([*arguments])
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    return code, capsys.readouterr().out


def test_the_readme_shows_how_the_demo_begins(root: Path) -> None:
    excerpt = re.search(r"```text\n(This starts .*?)\n…\n", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert excerpt is not None
    out = io.StringIO()
    story.introduce(Terminal(80, out=out), fault_named(FIRST), cores=3, memories=USUAL.memories)
    assert out.getvalue().startswith(excerpt[1] + "\n"), "paste the beginning of `engram-diagnose demo` into the README"


@pytest.mark.usefixtures("quiet")
def test_the_readme_names_the_demo_that_starts_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "python3 dev.py demo --recorded" in (root / "README.md").read_text(encoding="utf-8")
    _, out = said(capsys, "demo", "--recorded")
    assert "The WAL writes far more than the clients store" in out


def commands(page: Path) -> list[list[str]]:
    """The commands of a page that need nothing but the tool: those that explain, and those about rules."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in lines if line[:1] == ["engram-diagnose"] and line[1] in ("explain", "rules")]


@pytest.mark.usefixtures("quiet")
def test_the_commands_of_the_tutorial_work(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands(root / "docs" / "tutorial" / "first-diagnosis.md")
    assert len(found) == 6
    for arguments in found:
        code, out = said(capsys, *arguments)
        assert code == 0, arguments
        assert len(out.splitlines()) > 3, arguments


@pytest.mark.usefixtures("quiet")
def test_what_the_tutorial_asks_about_came_out_as_it_says(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (root / "docs" / "tutorial" / "first-diagnosis.md").read_text(encoding="utf-8")
    concluded = re.search(r"explain (\S+) +# why is it concluded", page)
    ruled_out = re.search(r"explain (\S+) +# why is that one not", page)
    assert concluded is not None
    assert ruled_out is not None
    assert "concluded, rank 1" in said(capsys, "explain", concluded[1])[1]
    assert "concluded" not in said(capsys, "explain", ruled_out[1])[1].splitlines()[2]
