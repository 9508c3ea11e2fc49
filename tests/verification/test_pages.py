"""The pages on verification: the example is what the format says, and the commands run as they are written."""

import json
import re
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from engram_diagnose.verification.benchmark import read_benchmark
from engram_diagnose.verifying import Wish, verify_files

sys.path.append(str(Path(__file__).parents[1] / "docs"))
from transcript import Shell, shows, steps


def example(root: Path) -> str:
    page = (root / "docs" / "reference" / "benchmark-format.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    return str(found)


def test_the_example_of_the_page_is_what_the_schema_and_the_reader_accept(root: Path, tmp_path: Path) -> None:
    schema = json.loads((root / "rules" / "schema" / "benchmark-v1.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(example(root)))
    assert read_benchmark("example", example(root).encode()).labels == ("before", "after")
    file = tmp_path / "example.json"
    file.write_text(example(root), encoding="utf-8")
    found = verify_files([str(file)], [str(file)], [], Wish(), now=0.0, say=str)
    assert found["verdict"]["state"] == "inconclusive"
    assert {one["needed"] for one in found["figures"]} == {7}


def test_the_page_names_every_key_of_a_run_and_every_reason(root: Path) -> None:
    page = (root / "docs" / "reference" / "benchmark-format.md").read_text(encoding="utf-8")
    schema = json.loads((root / "rules" / "schema" / "benchmark-v1.json").read_text(encoding="utf-8"))
    reasons = schema["$defs"]["validity"]["properties"]["reasons"]["items"]["enum"]
    for name in [*schema["$defs"]["run"]["properties"], *reasons]:
        assert f"`{name}`" in page, name


@pytest.mark.slow
def test_every_command_of_the_page_works_in_order_and_prints_what_it_shows(root: Path, tmp_path: Path) -> None:
    page = (root / "docs" / "howto" / "verify-a-change.md").read_text(encoding="utf-8")
    shell = Shell(tmp_path)
    ran = 0
    for step in steps(page):
        if not step.needs_server:
            ran += 1
            code, out = shell.run(step.commands)
            assert code == step.code, f"line {step.line}: {step.commands}\n{out}"
            assert step.shown is None or shows(step.shown, out), f"line {step.line}: {step.commands}\n{out}"
    assert ran >= 3
