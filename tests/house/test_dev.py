"""The script that sets up a checkout does so once, again when it has to, and says what failed."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def dev(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script in a checkout of its own, where making .venv and calling pip leave traces only."""
    for name in ("dev.py", "pyproject.toml", "src/engram_diagnose/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    spec = importlib.util.spec_from_file_location("dev_of_a_checkout", tmp_path / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    calls: list[str] = []

    def make_venv() -> None:
        shutil.rmtree(module.VENV, ignore_errors=True)
        module.PYTHON.parent.mkdir(parents=True)
        module.PYTHON.symlink_to(sys.executable)
        (module.VENV / "pyvenv.cfg").write_text(f"command = python3 -m venv {module.VENV}\n")
        calls.append("make .venv")

    monkeypatch.setattr(module, "create_venv", make_venv)
    monkeypatch.setattr(module, "pip", lambda *arguments: calls.append(" ".join(arguments)))
    monkeypatch.setattr(module, "calls", calls, raising=False)
    return module


def test_an_installation_is_made_once(dev: ModuleType) -> None:
    dev.set_up(dev.RUN)
    assert dev.calls == ["make .venv", "install --upgrade pip>=25.1", "install --editable ."]
    dev.calls.clear()
    dev.set_up(dev.RUN)
    assert dev.calls == []


def test_what_the_tests_need_covers_what_the_demo_needs_but_not_the_reverse(
    dev: ModuleType,
) -> None:
    dev.set_up(dev.RUN)
    dev.calls.clear()
    dev.set_up(dev.TEST)
    assert dev.calls[-1] == "install --editable . --group dev"
    dev.calls.clear()
    dev.set_up(dev.RUN)
    assert dev.calls == []


def test_changed_requirements_are_installed_into_the_same_environment(dev: ModuleType) -> None:
    dev.set_up(dev.RUN)
    dev.calls.clear()
    with (dev.ROOT / "pyproject.toml").open("a") as project:
        project.write("# one more\n")
    dev.set_up(dev.RUN)
    assert dev.calls == ["install --upgrade pip>=25.1", "install --editable ."]


def test_an_interrupted_installation_starts_over(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(dev, "pip", interrupted)
        assert dev.main(["demo"]) == 130
    dev.calls.clear()
    dev.set_up(dev.RUN)
    assert dev.calls[0] == "make .venv"


def test_a_moved_checkout_makes_its_environment_again(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    dev.set_up(dev.RUN)
    (dev.VENV / "pyvenv.cfg").write_text("command = python3 -m venv /elsewhere/.venv\n")
    dev.stamp(dev.RUN).write_text("of another place")
    dev.calls.clear()
    dev.set_up(dev.RUN)
    assert dev.calls[0] == "make .venv"


def test_a_failed_step_shows_its_last_lines_and_what_to_do(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_index(*_: str) -> None:
        dev.logged([sys.executable, "-c", "print('no route to the index'); raise SystemExit(7)"])

    monkeypatch.setattr(dev, "pip", no_index)
    assert dev.main(["demo"]) == 3
    said = capsys.readouterr().err
    assert "failed with exit code 7" in said
    assert "no route to the index" in said
    assert "run the same command again" in said


def test_in_ci_a_lack_is_a_failure(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    required = ("ENGRAM_DIAGNOSE_REQUIRE_DURABLE", "ENGRAM_DIAGNOSE_REQUIRE_PROMETHEUS")
    for name in required:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CI", "true")
    assert [dev.environment().get(name) for name in required] == ["1", "1"]
    monkeypatch.setenv("CI", "")
    assert [dev.environment().get(name) for name in required] == [None, None]


@pytest.mark.parametrize("arguments", [[], ["tset"]])
def test_a_missing_or_unknown_command_shows_the_commands(root: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "dev.py", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "python3 dev.py demo" in done.stdout
    assert all(f"no command {name!r}" in done.stdout for name in arguments)


def test_the_programs_of_debians_packages_are_taken_out_of_them(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[str] = []

    def unpack(package: str, scratch: Path) -> Path:
        unpacked.append(package)
        (scratch / "usr" / "bin").mkdir(parents=True)
        for program in dev.SERVERS[package]:
            (scratch / "usr" / "bin" / program).write_text("#!/bin/sh\n")
            (scratch / "usr" / "bin" / program).chmod(0o755)
        return scratch

    def as_root(*command: str) -> bool:
        Path(command[-1]).parent.mkdir(exist_ok=True)
        return Path(command[-1]).write_text("a template") > 0

    dev.create_venv()
    monkeypatch.setattr(dev, "unpack", unpack)
    monkeypatch.setattr(dev, "as_root", as_root)
    monkeypatch.setattr(dev, "TEMPLATES", tmp_path / "templates")
    monkeypatch.setattr(dev, "environment", lambda: {"PATH": str(dev.VENV / "bin")})
    assert dev.add_servers() == ""
    assert unpacked == ["prometheus", "prometheus-alertmanager"]
    assert {"prometheus", "promtool", "prometheus-alertmanager", "amtool"} <= {
        path.name for path in (dev.VENV / "bin").iterdir()
    }
    assert dev.add_servers() == ""
    assert len(unpacked) == 2


def test_without_a_server_the_tests_that_need_it_are_said_to_be_skipped(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(package: str, scratch: Path) -> Path:
        raise dev.SetupError(f"apt-get could not fetch Debian's {package}")

    dev.create_venv()
    monkeypatch.setattr(dev, "unpack", unpack)
    monkeypatch.setattr(dev, "environment", lambda: {"PATH": str(dev.VENV / "bin")})
    assert dev.add_servers() == ("tests marked `server` are skipped: apt-get could not fetch Debian's prometheus")
