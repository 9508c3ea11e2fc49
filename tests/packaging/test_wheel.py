"""What is installed is what the repository holds, and it runs where the repository is not."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]

LINKED = ("collectors", "engine", "kernels", "lab", "rules", "templates")
PACKAGE = "src/engram_diagnose/"
SCRIPT = "engram_diagnose/collect.pyz"
"""Made by the build, of what it packs."""


def run(command: Sequence[str | Path], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program the way a user outside the repository would, with nothing set for it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "ENGRAM_DIAGNOSE_", "COVERAGE_"))
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )


def succeed(command: Sequence[str | Path], *, folder: Path) -> str:
    done = run(command, folder=folder)
    assert done.returncode == 0, f"{command} in {folder}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist, which `build` does when it is asked for neither."""
    out = tmp_path_factory.mktemp("dist")
    succeed([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, root], folder=out)
    assert len(list(out.glob("*.tar.gz"))) == 1
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment that holds the wheel and what it depends on."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    succeed([sys.executable, "-m", "venv", "--without-pip", home], folder=home.parent)
    into = str(home / "bin" / "python")
    succeed([sys.executable, "-m", "pip", "--python", into, "install", wheel], folder=home.parent)
    return home / "bin"


def in_the_package(name: str) -> str | None:
    """Where the wheel puts a file of the repository; None if it is no part of the package."""
    folder, _, rest = name.partition("/")
    if folder in LINKED and rest:
        return f"engram_diagnose/{name}"
    inside = name.removeprefix(PACKAGE)
    return None if inside == name or inside in LINKED else f"engram_diagnose/{inside}"


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path, source_files: list[str]) -> None:
    built = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert len(built) == len(set(built))
    assert set(built) == {*filter(None, map(in_the_package, source_files)), SCRIPT}


def test_the_script_in_the_wheel_is_the_one_that_the_installed_program_writes(
    wheel: Path, clean: Path, tmp_path: Path
) -> None:
    succeed([clean / "engram-diagnose", "collect", "--script", tmp_path / "collect.pyz"], folder=tmp_path)
    assert zipfile.ZipFile(wheel).read(SCRIPT) == (tmp_path / "collect.pyz").read_bytes()
    assert "--seconds" in succeed([clean / "python", "collect.pyz", "--help"], folder=tmp_path)


def test_the_wheel_holds_data_beside_code(wheel: Path) -> None:
    """What the comparison above would miss if git itself had lost a kind of file."""
    kinds = {Path(name).suffix for name in zipfile.ZipFile(wheel).namelist()}
    assert {".py", ".yaml", ".json", ".typed"} <= kinds


def test_nothing_is_installed_at_the_top_level_but_the_package(wheel: Path, clean: Path) -> None:
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"engram_diagnose"}
    code = f"import importlib.util as u; print([n for n in {LINKED} if u.find_spec(n)])"
    assert succeed([clean / "python", "-c", code], folder=clean) == "[]\n"


def test_the_installed_package_is_not_the_checkout(root: Path, clean: Path, tmp_path: Path) -> None:
    code = "import engram_diagnose; print(engram_diagnose.__file__)"
    found = Path(succeed([clean / "python", "-c", code], folder=tmp_path).strip())
    assert not found.is_relative_to(root)
    assert found.is_relative_to(clean.parent)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["rules", "check"]])
def test_a_command_succeeds_outside_the_repository(clean: Path, tmp_path: Path, arguments: list[str]) -> None:
    assert succeed([clean / "engram-diagnose", *arguments], folder=tmp_path).strip()


def test_the_demo_reports_its_findings_outside_the_repository(clean: Path, tmp_path: Path) -> None:
    done = run([clean / "engram-diagnose", "demo", "--recorded"], folder=tmp_path)
    assert done.returncode in (0, 1), done.stderr  # 1: findings, and the demo has some
    assert "Traceback" not in done.stderr
    assert done.stdout.strip()
