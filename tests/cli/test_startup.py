"""What a command does not import, it does not wait for. Times are the business of `benchmarks/process.py`."""

import gc
import subprocess
import sys

import pytest

from engram_diagnose.cli import main


def imported_by(code: str) -> set[str]:
    printed = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout
    return set(printed.split())


def test_help_imports_the_command_line_and_no_more() -> None:
    imported = imported_by("import engram_diagnose.cli")
    assert "click" in imported
    assert not imported & {"yaml", "httpx", "jinja2", "rich", "numba", "numpy", "engram_diagnose.engine"}


@pytest.mark.parametrize("module", ["httpx", "http.client", "ssl", "numba", "numpy", "psutil", "rich", "jinja2"])
def test_a_diagnosis_of_a_bundle_does_without(module: str) -> None:
    code = "import engram_diagnose.cli.run, engram_diagnose.diagnosing, engram_diagnose.render.text"
    assert module not in imported_by(code)


def test_a_diagnosis_of_a_bundle_imports_nothing_that_collects() -> None:
    imported = imported_by("import engram_diagnose.cli.run, engram_diagnose.diagnosing")
    assert not imported & {"engram_diagnose.collectors.gather", "engram_diagnose.collectors.capture.local"}


def test_a_program_that_calls_the_command_line_keeps_its_garbage_collector() -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert gc.isenabled()
