"""Capture becomes one file that runs on old servers: Python 3.8 and the standard library alone."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import engram_diagnose.collectors as collectors

ROOT = Path(collectors.__file__).parent
BESIDE = ("redaction", "site_bundle", "standalone", "whole_file")
PORTABLE = sorted([*(ROOT / "capture").glob("*.py"), *ROOT.glob("bundle*.py"), *(ROOT / f"{n}.py" for n in BESIDE)])
OURS = re.compile(r"engram_diagnose\.collectors\.(capture|bundle|redaction|site_bundle|standalone|whole_file)")
LATER = {"removeprefix", "removesuffix", "bit_count", "pairwise"}


@pytest.mark.parametrize("path", PORTABLE, ids=lambda path: path.name)
def test_it_is_python_3_8(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    nodes = list(ast.walk(tree))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert not names & LATER
    arguments = {keyword.arg for node in nodes if isinstance(node, ast.Call) for keyword in node.keywords}
    assert not arguments & {"slots", "kw_only", "strict"}


@pytest.mark.parametrize("path", PORTABLE, ids=lambda path: path.name)
def test_it_imports_the_standard_library_and_itself(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for module in modules:
            assert module.partition(".")[0] in sys.stdlib_module_names or OURS.match(module), module


def test_every_module_can_be_imported() -> None:
    for path in PORTABLE:
        package = "capture." if path.parent.name == "capture" else ""
        name = package + path.stem if path.stem != "__init__" else "capture"
        importlib.import_module(f"engram_diagnose.collectors.{name}")
