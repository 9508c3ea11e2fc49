"""
The kinds of value that a settings file holds: what each allows, in words and as a check.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Kind:
    """`allowed` completes "must be …"; `parse` gives the value, or raises `ValueError` for what is not allowed."""

    allowed: str
    parse: Callable[[object], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of one key beside its default. `hidden` values may hold a secret and are never shown."""

    kind: Kind
    doc: str
    hidden: bool = False
    choices: tuple[str, ...] = ()
    most: int = 0
    folders: bool = False
    may_be_made: bool = False

    @property
    def allowed(self) -> str:
        """What completes "must be …"."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        return f"{self.kind.allowed}, {self.most} at most" if self.most else self.kind.allowed

    def parse(self, value: object) -> Any:
        """The value as the settings hold it; raises `ValueError` for one that is not allowed."""
        found = self.kind.parse(value)
        if (self.choices and found not in self.choices) or (self.most and len(found) > self.most):
            raise ValueError
        return found


def key(default: Any, kind: Kind, doc: str, **more: Any) -> Any:
    """A field of the settings."""
    metadata = {"key": Key(kind, doc, **more)}
    repr = not more.get("hidden", False)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata, repr=repr)
    return dataclasses.field(default=default, metadata=metadata, repr=repr)


def _refuse(wrong: bool) -> None:
    if wrong:
        raise ValueError


def _text(value: object) -> str:
    _refuse(not isinstance(value, str) or not value.isprintable())
    return str(value)


def _flag(value: object) -> bool:
    _refuse(not isinstance(value, bool))
    return bool(value)


def _path(value: object) -> Path | None:
    if isinstance(value, Path):
        return value
    text = _text(value)
    return Path(text) if text else None


def _paths(value: object) -> tuple[Path, ...]:
    paths = tuple(_path(item) for item in _list(value))
    return tuple(path for path in paths if path is not None)


def _list(value: object) -> list[object]:
    _refuse(not isinstance(value, list | tuple))
    return list(value)  # type: ignore[call-overload, no-any-return]  # asked above


def _names(value: object) -> tuple[str, ...]:
    names = tuple(_text(item) for item in _list(value))
    _refuse(not all(names) or len(set(names)) < len(names))
    return names


def _matchers(value: object) -> tuple[str, ...]:
    from engram_diagnose.service.missed import is_matchers

    matchers = tuple(_text(item) for item in _list(value))
    _refuse(not all(map(is_matchers, matchers)))
    return matchers


def _headers(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError
    for name, text in value.items():
        _refuse(not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name))
        _refuse(not isinstance(text, str) or not text.isascii() or not text.isprintable())
    return dict(value)


def _url(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    _refuse(bool(text) and not (usable and not parts.query and not parts.fragment))
    return text.rstrip("/")


def _any_url(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    _refuse(bool(text) and not (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0))
    return text


def _public_url(value: object) -> str:
    text = _url(value)
    _refuse("@" in urlsplit(text).netloc or bool(re.search(r"[\"'<>;,\s]", text)))
    return text


def _listen(value: object) -> str:
    text = _text(value)
    host, colon, port = text.rpartition(":")
    _refuse(not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535)
    bare = host.removeprefix("[").removesuffix("]")
    _refuse(host != (f"[{bare}]" if ":" in bare else bare))
    _refuse(not (_is_name(bare) or _is_address(bare)))
    return text


def _is_name(text: str) -> bool:
    """Whether it is a host's name and nothing else: the system takes `0`, `127.1` and `0x7f.1` for addresses."""
    labels = text.removesuffix(".").split(".")
    proper = len(text) <= 253 and all(
        re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", one) for one in labels
    )
    return proper and not re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", labels[-1])


def _is_address(text: str) -> bool:
    """Whether it is an address as everybody writes it: without a zone, and IPv4 as itself."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return isinstance(found, ipaddress.IPv4Address) or (found.scope_id is None and found.ipv4_mapped is None)


def count(low: int, high: int) -> Kind:
    """A whole number within bounds."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Kind(f"a whole number from {low} to {high}", parse)


def seconds(low: float, high: float) -> Kind:
    """A figure within bounds, in the unit that its key's name ends with."""

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return float(value)

    return Kind(f"a number from {low:.15g} to {high:.15g}", parse)


TEXT: Final = Kind("text", _text)
FLAG: Final = Kind("true or false", _flag)
FILE: Final = Kind("the path of a file", _path)
FILES: Final = Kind("a list of paths", _paths)
NAMES: Final = Kind("a list of different names", _names)
MATCHERS: Final = Kind('a list of matchers as in PromQL\'s braces, such as \'job="engram",env="prod"\'', _matchers)
HEADERS: Final = Kind('a table of header names and printable values, such as {X-Scope-OrgID = "tenant"}', _headers)
URL: Final = Kind("a URL such as https://engram-diagnose.example, without user, query and fragment", _public_url)
URLS: Final = Kind(
    'a list of URLs such as "http://127.0.0.1:9093"', lambda value: tuple(_url(item) for item in _list(value))
)
SECRET_URL: Final = Kind("a URL such as http://127.0.0.1:9090", _any_url)
LISTEN: Final = Kind("an address and port such as 127.0.0.1:7433 or [::1]:7433, without a zone", _listen)
