"""The root folders are part of one package, and only of that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LINKED = ("collectors", "engine", "kernels", "lab", "rules", "templates")
CODE = ("collectors", "engine", "kernels", "lab")


def run_python(code: str, *, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=path,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("folder", LINKED)
def test_the_package_reaches_a_root_folder_by_a_relative_link(root: Path, folder: str) -> None:
    link = root / "src" / "engram_diagnose" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..", "..", folder)
    assert link.is_dir(), f"{folder}/ is missing at the root, or git did not check it out"


@pytest.mark.parametrize("folder", CODE)
def test_a_root_folder_refuses_to_be_imported_as_a_package_of_its_own(root: Path, folder: str) -> None:
    done = run_python(f"import {folder}", path=root)
    assert done.returncode == 1
    assert f"ImportError: import engram_diagnose.{folder} instead of {folder}" in done.stderr


@pytest.mark.parametrize("folder", CODE)
def test_the_linked_folder_imports_as_part_of_the_package(root: Path, folder: str) -> None:
    done = run_python(f"import engram_diagnose.{folder}", path=root / "src")
    assert done.returncode == 0, done.stderr


def test_a_checkout_without_symbolic_links_says_what_to_do(root: Path, source_files: list[str], tmp_path: Path) -> None:
    names = [name for name in source_files if name.startswith("src/")]
    subprocess.run(
        ["git", "-c", "core.symlinks=false", "checkout-index", f"--prefix={tmp_path}/", "--stdin"],
        cwd=root,
        input="\n".join(names),
        text=True,
        capture_output=True,
        check=False,  # files not added yet are not in the index
    )
    assert (tmp_path / "src" / "engram_diagnose" / "engine").is_file()
    done = run_python("import engram_diagnose", path=tmp_path / "src")
    assert done.returncode == 1
    assert "ImportError: engram_diagnose.engine is missing" in done.stderr
    assert "git config core.symlinks true" in done.stderr
