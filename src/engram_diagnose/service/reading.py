"""
Reads the service's settings: a TOML file, what the command line says above it, and checks of the whole.
"""

import dataclasses
import difflib
import ipaddress
import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from engram_diagnose.service.keys import FILE, FILES, Key
from engram_diagnose.service.settings import Login, Settings

_FLAGS: Final = {"prometheus.url": "--prometheus"}
"""Options of the command line that are called otherwise than their key."""


class SettingsError(ValueError):
    """Settings that cannot be used; the message has a line for each problem: where, which key, what is allowed."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_settings(path: Path | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """
    The settings in the file, with `overrides` above them by dotted key (`{"prometheus.url": …}`).

    Paths in the file are relative to its folder. Raises `SettingsError` with every problem that was found.
    """
    found = _Reading(path, _document(path) if path else {}, dict(overrides or {}))
    settings: Settings = found.table(Settings, "", found.document)
    for dotted in found.overrides:
        raise KeyError(dotted)  # a slip of ours: the command line sets no such key
    problems = tuple(found.problems) or tuple(f"{path or 'serve'}: {text}" for text in contradictions(settings))
    if problems:
        raise SettingsError(problems)
    return settings


def read_database(path: Path | None = None, override: Path | None = None) -> Path | None:
    """
    The database that the settings name, whatever is wrong with the rest of them; `override` goes before the file.

    Raises `SettingsError` where the file is needed and is no TOML, or names no path.
    """
    overrides = {"database": override} if override else {}
    found = _Reading(path, _document(path) if path and not override else {}, dict(overrides))
    database: Path | None = found.only("database")
    if found.problems:
        raise SettingsError(tuple(found.problems))
    return database


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = f"it is not TOML: {error}"
    raise SettingsError((f"{path}: cannot read the settings: {reason}",))


class _Reading:
    """One file being read; keeps the problems found, and the overrides not used yet."""

    def __init__(self, path: Path | None, document: dict[str, Any], overrides: dict[str, object]) -> None:
        self.path = path
        self.document = document
        self.overrides = overrides
        self.problems: list[str] = []

    def table(self, kind: Any, prefix: str, document: Mapping[str, Any]) -> Any:
        """A table of the file as the dataclass that describes it."""
        known = dict(_keys(kind))
        self._refuse_unknown(prefix, document, set(known) | set(_tables(kind)))
        values = {name: value for name, about in known.items() if (value := self._value(prefix, name, about, document))
                  is not _ABSENT}  # fmt: skip
        tables = {name: self._table(inner, name, document) for name, inner in _tables(kind).items()}
        if "login" not in (one.name for one in dataclasses.fields(kind)):
            return kind(**values, **tables)
        login = {one.name: values.pop(one.name) for one in dataclasses.fields(Login) if one.name in values}
        return kind(**values, **tables, login=Login(**login))

    def only(self, name: str) -> Any:
        """One key that stands before the first table; None where nothing sets it."""
        value = self._value("", name, dict(_keys(Settings))[name], self.document)
        return None if value is _ABSENT else value

    def _table(self, kind: Any, name: str, document: Mapping[str, Any]) -> Any:
        found = document.get(name, {})
        if not isinstance(found, dict):
            self.problems.append(f"{self.path}: {name} must be a table, written [{name}]")
            found = {}
        return self.table(kind, f"{name}.", found)

    def _value(self, prefix: str, name: str, about: Key, document: Mapping[str, Any]) -> Any:
        dotted = f"{prefix}{name}"
        if dotted in self.overrides:
            where, value = f"serve: {_FLAGS.get(dotted, '--' + name.replace('_', '-'))}", self.overrides.pop(dotted)
            base = Path.cwd()
        elif name in document:
            where, value = f"{self.path}: {dotted}", document[name]
            base = self.path.parent if self.path else Path()
        else:
            return _ABSENT
        try:
            parsed = about.parse(value)
        except (ValueError, RecursionError):
            self.problems.append(f"{where} must be {about.allowed}{_seen(value, about)}")
            return _ABSENT
        located = _located(parsed, base, about)
        self.problems += [f"{where}: {problem}" for problem in _missing(located, about)]
        return located

    def _refuse_unknown(self, prefix: str, document: Mapping[str, Any], known: set[str]) -> None:
        for name in document:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
                self.problems.append(f"{self.path}: there is no setting {prefix + name!r}; {hint}")


_ABSENT: Final = object()


def _keys(kind: Any) -> Iterator[tuple[str, Key]]:
    """The keys of a table by name; those of its login stand among them."""
    for one in dataclasses.fields(kind):
        if "key" in one.metadata:
            yield one.name, one.metadata["key"]
        elif one.name == "login":
            yield from _keys(Login)


def described(kind: Any, prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Every key below a table with its dotted name."""
    yield from ((prefix + name, about) for name, about in _keys(kind))
    for name, inner in _tables(kind).items():
        yield from described(inner, f"{prefix}{name}.")


def _tables(kind: Any) -> dict[str, Any]:
    return {one.name: one.default_factory for one in dataclasses.fields(kind)
            if "key" not in one.metadata and one.name != "login"}  # fmt: skip


def _seen(value: object, about: Key) -> str:
    """What stands there instead, where that gives nothing away."""
    if about.hidden or not isinstance(value, str | int | float | bool):
        return ""
    text = str(value)
    return f", not {text!r}" if len(text) <= 60 and text.isprintable() else ""


def _located(value: Any, base: Path, about: Key) -> Any:
    if about.kind is FILE and value is not None:
        return base / value.expanduser()
    if about.kind is FILES:
        return tuple(base / path.expanduser() for path in value)
    return value


def _missing(value: Any, about: Key) -> Iterator[str]:
    """Files that are named and not there, or cannot be read."""
    if about.may_be_made or about.kind not in (FILE, FILES) or value is None:
        return
    for path in value if isinstance(value, tuple) else (value,):
        if not path.exists():
            yield f"there is no file {path}"
        elif path.is_dir() and not about.folders:
            yield f"{path} is a folder, not a file"
        elif not os.access(path, os.R_OK):
            yield f"{path} cannot be read by this user"


def contradictions(settings: Settings) -> Iterator[str]:
    """What is wrong with settings that are each allowed."""
    yield from _exposure(settings)
    if (settings.tls.certificate is None) != (settings.tls.key is None):
        yield "tls.certificate and tls.key need each other; set both or neither"
    for name in ("prometheus", "alertmanager", "webhook"):
        login = getattr(settings, name).login
        if login.bearer_token_file and login.basic_auth_file:
            yield f"{name}.bearer_token_file and {name}.basic_auth_file exclude each other; leave one of them out"
        if login.client_key and not login.client_cert:
            yield f"{name}.client_key has no {name}.client_cert beside it; name the certificate as well"
    if settings.webhook.url and settings.webhook.url_file:
        yield "webhook.url and webhook.url_file exclude each other; leave one of them out"
    about = settings.alertmanager
    if about.resolve_after_seconds <= about.refresh_seconds:
        yield "alertmanager.resolve_after_seconds must be above alertmanager.refresh_seconds, or the alert flaps"


def _exposure(settings: Settings) -> Iterator[str]:
    if not (settings.auth.required or settings.allow_unauthenticated or is_loopback(settings.host)):
        yield (
            f"listen = {settings.listen!r} can be reached from other hosts, and nobody is asked who they are; set "
            "auth.bearer_token_files or auth.basic_auth_file, or allow_unauthenticated = true behind a proxy that asks"
        )


def weakened(before: Settings, after: Settings) -> Iterator[str]:
    """What a reload would take away of the locks. That takes a restart, which nobody does by mistake."""
    if before.auth.required and not after.auth.required:
        yield (
            "[auth] is gone from the settings, and a reload does not take the locks off a running service: restart "
            "it if that is meant"
        )
    if after.allow_unauthenticated and not before.allow_unauthenticated:
        yield (
            "allow_unauthenticated is newly set, and a reload does not take the locks off a running service: restart "
            "it if that is meant"
        )


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """
    Whether only this host can reach that address. A name other than localhost may mean anything.

    What `localhost` stands for here is asked when it is listened at.
    """
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return found.is_loopback or bool(isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped
                                     and found.ipv4_mapped.is_loopback)  # fmt: skip
