"""Puts `collect.pyz` into the wheel, made of the sources and rules that it is built from."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ScriptHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is the builder's configuration
    """Makes the script in the build's own folder, and has the wheel take it from there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # a checkout makes it when it is asked for
        source = str(Path(self.root) / "src")
        sys.path.insert(0, source)
        try:
            from engram_diagnose.rulebase import load_rules
            from engram_diagnose.script import NAME, collect_script

            made = Path(self.directory) / NAME
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_bytes(collect_script(load_rules(thorough=False)))
        finally:
            sys.path.remove(source)
        build_data["force_include"][str(made)] = f"engram_diagnose/{NAME}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel has it now; beside the wheel it would be taken for something to upload."""
        for path, place in build_data["force_include"].items():
            if place.startswith("engram_diagnose/") and Path(path).parent == Path(self.directory):
                Path(path).unlink(missing_ok=True)
