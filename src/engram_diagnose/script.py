"""
Makes `collect.pyz`: one text file that Python 3.8 or newer runs, also from its standard input.

A zip, which `.pyz` often is, cannot be read from a pipe. So this is a Python program whose modules stand in it,
compressed, and are imported from memory: nothing is unpacked to the disk of the host.
"""

import ast
import base64
import dataclasses
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from engram_diagnose import __version__
from engram_diagnose.bounds import bounds_of
from engram_diagnose.collectors.instances import NODE_DIALECT, interfaces
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import rule_digests

NAME: Final = "collect.pyz"
_PACKAGE: Final = "engram_diagnose"
_ENTRY: Final = "engram_diagnose.collectors.standalone"
_COLUMNS: Final = 100

_PROGRAM: Final = '''\
#!/usr/bin/env python3
"""
Collects what a host and the Engram server on it say of themselves into one bundle (engram-diagnose {version}).

    ssh HOST python3 - --seconds 10 < collect.pyz > host.bundle
    python3 collect.pyz --output host.bundle
    python3 collect.pyz --help

It needs Python 3.8 or newer and nothing else, and writes nothing but the bundle. Its modules stand below, compressed;
they are imported from memory. To read them: python3 collect.pyz --sources FOLDER
"""
import sys

if sys.version_info < (3, 8):
    sys.exit("collect.pyz: this is Python %s; it needs 3.8 or newer" % sys.version.split()[0])

import base64
import importlib.abc
import importlib.util
import json
import os
import zlib


class Held(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads the modules that this file holds."""

    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        return importlib.util.spec_from_loader(name, self, origin="collect.pyz", is_package=self.is_package(name))

    def is_package(self, name):
        return any(other.startswith(name + ".") for other in self.modules)

    def get_source(self, name):
        return self.modules[name]


def write_sources(modules, folder):
    """The modules as files, for whoever wants to read what runs on a host of theirs."""
    for name in sorted(modules):
        package = any(other.startswith(name + ".") for other in modules)
        path = os.path.join(folder, *name.split("."))
        path = os.path.join(path, "__init__.py") if package else path + ".py"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(modules[name])


def unpacked(text):
    try:
        return json.loads(zlib.decompress(base64.b64decode(text)).decode("ascii"))
    except ValueError as error:
        sys.exit("collect.pyz: this copy is damaged (%s); copy it again" % error)
    except zlib.error as error:
        sys.exit("collect.pyz: this copy is damaged (%s); copy it again" % error)


def main(arguments):
    held = unpacked(PACKED)
    if arguments[:1] == ["--sources"] and len(arguments) == 2:
        try:
            write_sources(held["modules"], arguments[1])
        except OSError as error:
            sys.exit("collect.pyz: cannot write %s: %s" % (error.filename, error.strerror))
        return 0
    sys.meta_path.insert(0, Held(held["modules"]))
    from engram_diagnose.collectors import standalone

    return standalone.main(arguments, standalone.Given(**held["given"]))


PACKED = """
{packed}
"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
'''


def collect_script(loaded: Loaded) -> bytes:
    """The file, for the rules in force; the same for the same sources, rules and zlib."""
    held = {"modules": _modules(), "given": _given(loaded)}
    content = json.dumps(held, sort_keys=True, separators=(",", ":")).encode("ascii")
    text = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
    packed = "\n".join(text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS))
    return _PROGRAM.replace("{version}", __version__).replace("{packed}", packed).encode("ascii")


def _given(loaded: Loaded) -> dict[str, Any]:
    bounds = bounds_of(loaded)
    known = interfaces(loaded.catalogue.dialects)
    return {
        "tool": f"engram-diagnose {__version__}",
        "rules": rule_digests(loaded),
        "dialects": {name: dataclasses.asdict(one) for name, one in known.items() if name != NODE_DIALECT},
        "limits": dict(bounds.limits),
        "events": dict(bounds.events),
    }


def _modules() -> dict[str, str]:
    """The sources of the entry and of all that it imports of ours, by module; our own package is only its version."""
    found: dict[str, str] = {}
    waiting = [_ENTRY]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = _source(name)
        waiting += [*_imported(found[name]), *_packages(name)]
    found[_PACKAGE] = f"__version__ = {__version__!r}\n"
    return found


def _packages(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _source(name: str) -> str:
    return _path(name).read_text(encoding="utf-8")


def _path(name: str) -> Path:
    place = Path(__file__).parent.joinpath(*name.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _imported(source: str) -> Iterator[str]:
    """Our modules that a source imports when it runs; what stands under TYPE_CHECKING it does not."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == _PACKAGE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE:
            yield str(node.module)
            inside = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in inside if _path(name).is_file())
