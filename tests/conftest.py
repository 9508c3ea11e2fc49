"""What some tests need beyond Python, what happens without it, and which files there are."""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# How long one example takes says more about the machine's other work than about the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "patient")


@dataclass(frozen=True, slots=True)
class Need:
    """What tests with `marker` need; `required_by` is the variable that makes a lack a failure."""

    marker: str
    is_met: Callable[[], bool]
    lacking: str
    required_by: str


def imports_durable_rules() -> bool:
    try:
        importlib.import_module("durable_rules_engine")
    except ImportError:
        return False
    return True


def has_servers() -> bool:
    programs = all(shutil.which(program) for program in ("prometheus", "prometheus-alertmanager"))
    return programs and Path("/usr/share/prometheus/alertmanager/default.tmpl").exists()


NEEDS = (
    Need(
        "durable",
        imports_durable_rules,
        "durable-rules does not import here (extra `durable`, Python 3.11 or 3.12)",
        "ENGRAM_DIAGNOSE_REQUIRE_DURABLE",
    ),
    Need(
        "server",
        has_servers,
        "no prometheus or no prometheus-alertmanager on PATH, or no templates of the latter (Debian's packages)",
        "ENGRAM_DIAGNOSE_REQUIRE_PROMETHEUS",
    ),
)


def pytest_configure(config: pytest.Config) -> None:
    """
    Programs beside this Python are found also when pytest was started without activating, and what this user has kept
    (a record of what the host attains, baselines) is not seen.
    """
    state = tempfile.TemporaryDirectory(prefix="engram-diagnose-state-")
    config.add_cleanup(state.cleanup)
    os.environ["ENGRAM_DIAGNOSE_STATE"] = state.name
    beside = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])


def pytest_report_header() -> list[str]:
    return [f"tests marked `{need.marker}`: {'run' if need.is_met() else need.lacking}" for need in NEEDS]


COMPILED = ("test_engine", "test_lab", "test_live")
"""Files of tests that run the real lab."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """
    Tests of one file that share a server, and the minutes it needs to have a history, run in one worker; and those that
    run the lab, whose loops take a minute to compile when they are met first.
    """
    for item in items:
        if item.path.stem in COMPILED:
            item.add_marker(pytest.mark.xdist_group("lab"))
        if item.get_closest_marker("server"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for need in NEEDS:
        if item.get_closest_marker(need.marker) and not need.is_met():
            if os.environ.get(need.required_by) == "1":
                pytest.fail(f"{need.lacking}, and {need.required_by}=1 asks for it", pytrace=False)
            pytest.skip(f"{need.lacking}; `python3 dev.py test` installs it where it can")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def source_files() -> list[str]:
    """Every file of the checkout that git tracks or would add, relative to the root; links too."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing says which files belong to it")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = sorted(set(filter(None, listing.split("\0"))))
    return [name for name in names if os.path.lexists(ROOT / name)]
