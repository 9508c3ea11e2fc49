"""Where machine code is kept: only where nobody else can write, and never code of other loops than these."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from engram_diagnose.kernels.loops import compiled
from engram_diagnose.kernels.loops.compiled import cache_folder, digest

SUM = """
import numpy as np
from engram_diagnose.kernels.loops.compiled import cache_folder
from engram_diagnose.kernels.loops.stream import read
print(read(np.ones(10)), cache_folder())
"""


@pytest.fixture(autouse=True)
def no_cache_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return subprocess.run(
        [sys.executable, "-c", SUM],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def beside_the_source() -> list[Path]:
    return list(Path(compiled.__file__).parent.rglob("*.nb[ic]"))


def test_the_folder_is_made_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = cache_folder()
    assert folder == tmp_path / "cache" / "engram-diagnose" / "kernels" / digest()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder()
    assert folder is not None
    for mode in (0o720, 0o702, 0o777):
        folder.chmod(mode)
        assert cache_folder() is None
    folder.chmod(0o700)
    assert cache_folder() == folder


def test_a_folder_is_not_used_where_others_could_put_another_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() is not None
    tmp_path.chmod(0o777)
    assert cache_folder() is None
    tmp_path.chmod(0o1777)  # as /tmp is: only who owns a folder renames it
    assert cache_folder() is not None


def test_a_link_to_a_folder_that_others_hold_is_followed_before_it_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs" / "cache").mkdir(parents=True)
    (tmp_path / "theirs").chmod(0o777)
    (tmp_path / "mine").symlink_to(tmp_path / "theirs" / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert cache_folder() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder()
    assert folder is not None
    os.chown(folder, 12345, -1)
    assert cache_folder() is None
    os.chown(folder, 0, -1)
    os.chown(folder.parent, 12345, -1)
    assert cache_folder() is None


def test_where_there_is_no_folder_loops_are_compiled_without_a_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for environment in ({"XDG_CACHE_HOME": str(tmp_path / "file")}, {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "x")}):
        assert run(**environment).stdout == "10.0 None\n"
    # Beside the source numba looks at one file alone, and goes on with the old code of another that was changed.
    assert not beside_the_source()


def test_a_folder_that_is_named_to_numba_is_where_the_code_goes(tmp_path: Path) -> None:
    assert run(NUMBA_CACHE_DIR=str(tmp_path)).stdout == f"10.0 {tmp_path}/engram-diagnose-{digest()}\n"
    assert list(tmp_path.rglob("stream._read*.nbi"))
    assert not beside_the_source()


def test_a_relative_cache_home_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    folder = cache_folder()
    assert folder is None or folder.is_relative_to(Path.home())


def test_a_change_of_any_loop_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "loops"
    shutil.copytree(Path(compiled.__file__).parent, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "_LOOPS", copied)
    before = digest()
    files = sorted(copied.glob("*.py"))
    assert len(files) > 2
    seen = {before}
    for file in files:
        text = file.read_bytes()
        file.write_bytes(text + b"\n")
        seen.add(digest())
        file.write_bytes(text)
    (copied / "one_more.py").write_text("")
    seen.add(digest())
    assert len(seen) == len(files) + 2
    (copied / "one_more.py").unlink()
    assert digest() == before


def test_a_change_of_the_labs_loops_is_another_folder_for_them_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "lab" / "loops"
    shutil.copytree(compiled._LAB, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "_LAB", copied)
    kernels = digest()
    seen = {kernels, digest(lab=True)}
    for file in sorted(copied.glob("*.py")):
        file.write_bytes(file.read_bytes() + b"\n")
        seen.add(digest(lab=True))
    assert len(seen) == len(list(copied.glob("*.py"))) + 2
    assert digest() == kernels


def test_a_change_of_the_kernels_is_another_folder_for_the_lab_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "loops"
    shutil.copytree(Path(compiled.__file__).parent, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "_LOOPS", copied)
    before = digest(lab=True)
    (copied / "one_more.py").write_text("")
    assert digest(lab=True) != before


def test_what_is_no_kernel_is_kept_with_the_lab(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from engram_diagnose.kernels.loops.compiled import loop\n\n\n@loop\ndef one():\n    return 1\n"
    )
    subprocess.run(
        [sys.executable, "-c", "import own; own.one(); from engram_diagnose.kernels.loops import stream"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)},
        check=True,
        timeout=120,
    )
    kept = [file.relative_to(tmp_path / "cache") for file in (tmp_path / "cache").rglob("own.one*.nbi")]
    assert [file.parts[0] for file in kept] == [f"engram-diagnose-{digest(lab=True)}"]


def test_another_compiler_is_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()
    monkeypatch.setattr(numba, "__version__", "0.0")
    assert digest() != before
