"""
The tool's own settings: a TOML file with defaults for options.

What stands before the first table holds for every command that has the option; `[run]` and the like for one command.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

Commands = Mapping[str, click.Command | None]


def settings_file() -> Path | None:
    """
    ENGRAM_DIAGNOSE_SETTINGS (empty for none), else engram-diagnose/config.toml in the user's configuration, where
    there is one.
    """
    named = os.environ.get("ENGRAM_DIAGNOSE_SETTINGS")
    if named is not None:
        return Path(named) if named else None
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    usual = Path(home) / "engram-diagnose" / "config.toml"
    return usual if usual.is_file() else None


def defaults(path: Path, commands: Commands) -> dict[str, Any]:
    """
    The settings as click's `default_map`.

    Raises `click.UsageError` that names the file and the key: for a file that cannot be read, and for a name no
    command has.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"cannot read the settings in {path}: {error}") from None
    options = {name: _options(command) for name, command in commands.items()}
    common = {key: value for key, value in found.items() if not isinstance(value, dict)}
    _refuse(path, "", common, {key for known in options.values() for key in known})
    tables = {key: value for key, value in found.items() if isinstance(value, dict)}
    _refuse(path, "", tables, set(options))
    for name, table in tables.items():
        _refuse(path, f"[{name}] ", table, set(options[name]))
    several = {name: _repeatable(command) for name, command in commands.items()}
    return {
        name: {
            known[key]: _value(value, several=key in several[name])
            for key, value in (common | tables.get(name, {})).items()
            if key in known
        }
        for name, known in options.items()
    }


def _value(value: Any, *, several: bool) -> Any:
    """A TOML value as the command line would have it: text, but for true and false; a list where an option repeats."""
    if isinstance(value, list):
        return [_value(item, several=False) for item in value]
    plain = value if isinstance(value, bool) else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return [plain] if several else plain


def _repeatable(command: click.Command | None) -> set[str]:
    parameters = command.params if command is not None else []
    return {
        option.lstrip("-")
        for parameter in parameters
        if isinstance(parameter, click.Option) and parameter.multiple
        for option in parameter.opts
    }


def _options(command: click.Command | None) -> dict[str, str]:
    """Option names as they are written, without their dashes, to click's names for them."""
    parameters = command.params if command is not None else []
    return {
        option.lstrip("-"): parameter.name or ""
        for parameter in parameters
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }


def _refuse(path: Path, where: str, found: Mapping[str, Any], known: set[str]) -> None:
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise click.UsageError(f"{path}: {where}{key} is no option; {hint}")
