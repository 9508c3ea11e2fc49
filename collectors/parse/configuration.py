"""The server's configuration: what each parameter was when it was read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import figure
from engram_diagnose.collectors.parse.recipe import absence
from engram_diagnose.collectors.parse.toml_text import leaves, line_of_key, parse_toml
from engram_diagnose.engine.facts.catalogue import Catalogue, ConfigKey, Dialect, Kind
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Value, point

_IGNORED: Final = ("telemetry.ignored_keys", "telemetry.ignored_key_names")
_MOST_NAMED: Final = 50
_AGE: Final = "server.config_age"
_MODIFIED: Final = re.compile(r" modified ([0-9]{1,12}\.[0-9]{3})$")
_GIVE_FILE: Final = "give the server's configuration file with --config"


@dataclass(frozen=True, slots=True)
class _File:
    """One configuration with what was found in it."""

    answer: Answer
    text: str
    values: Mapping[str, object]


def facts_of_configuration(answer: Answer | None, dialect: Dialect, catalogue: Catalogue) -> list[Fact]:
    """
    A fact for each parameter the dialect has a key for, in base units, and the ignored keys.

    A key that is not set has the dialect's built-in default, with status RECORDED, or is unknown.
    A parameter without a key is a constant of that server, known without any file.
    A value of the wrong kind is unknown and its line named. `telemetry.ignored_keys` counts the
    keys of the file that the dialect does not know: the server reads past them without a word.
    """
    everything = [dialect.keys[name] for name in sorted(dialect.keys)]
    constants = [_default(key, answer, dialect) for key in everything if not key.key]
    keys = [key for key in everything if key.key]
    return constants + _facts(keys, answer, dialect, catalogue)


def _facts(keys: list[ConfigKey], answer: Answer | None, dialect: Dialect, catalogue: Catalogue) -> list[Fact]:
    if answer is None:
        return _all_unknown(keys, Missing(Reason.NOT_COLLECTED, "no configuration was read"), None)
    if not answer.answered:
        return _all_unknown(keys, absence(answer), answer)
    try:
        values = dict(leaves(parse_toml(answer.body or "")))
    except (UnparsedError, RecursionError) as error:
        why = Missing(Reason.UNPARSED, f"{answer.name}: {error}")
        return _all_unknown(keys, why, answer)
    file = _File(answer, answer.body or "", values)
    facts = [_fact(key, file, dialect, catalogue) for key in keys]
    return [*facts, *_ignored(file, dialect), _age(answer)]


def modified_at(answer: Answer) -> float | None:
    """When the file had been changed last as it was read, in seconds since the epoch; None where that was not seen."""
    found = _MODIFIED.search(answer.detail)
    return float(found[1]) if found else None


def _age(answer: Answer) -> Fact:
    modified = modified_at(answer)
    if modified is None:
        return unknown(_AGE, Missing(Reason.SOURCE_ABSENT, "the time of the file's last change was not seen"), answer)
    return known(_AGE, point(max(0.0, answer.time - modified)), answer)


def _all_unknown(keys: list[ConfigKey], why: Missing, answer: Answer | None) -> list[Fact]:
    names = (*(key.parameter for key in keys), *_IGNORED, _AGE)
    return [unknown(name, why, answer, get_by=_GIVE_FILE) for name in names]


def _fact(key: ConfigKey, file: _File, dialect: Dialect, catalogue: Catalogue) -> Fact:
    spelling = next((name for name in (key.key, *key.aliases) if name in file.values), None)
    if spelling is None:
        return _default(key, file.answer, dialect)
    found = _figure_of(key, file.values[spelling], _kind(key, catalogue))
    allowed = _values(key, catalogue)
    if isinstance(found, str) and allowed and found not in allowed:
        found = UnparsedError(f"{found[:40]!r} is none of {', '.join(allowed)}")
    if isinstance(found, UnparsedError):
        line = line_of_key(file.text, spelling)
        place = f", line {line}" if line else ""
        detail = f"{file.answer.name}{place}: {spelling}: {found}"
        return unknown(
            key.parameter,
            Missing(Reason.UNPARSED, detail),
            file.answer,
            source=spelling,
            get_by="correct the value",
        )
    return known(key.parameter, found, file.answer, source=f"{file.answer.name}: {spelling}")


def _default(key: ConfigKey, answer: Answer | None, dialect: Dialect) -> Fact:
    if key.default is None:
        return _undefined(key, answer, dialect)
    value: Value = key.default if isinstance(key.default, str) else point(key.default * key.unit.factor)
    source = f"built-in default of {dialect.name}"
    host, time = (answer.host, answer.time) if answer else ("", 0.0)
    return Fact(key.parameter, value, Status.RECORDED, source=source, host=host, time=time)


def _undefined(key: ConfigKey, answer: Answer | None, dialect: Dialect) -> Fact:
    if not key.key:
        why = Missing(Reason.NOT_IN_DIALECT, f"{dialect.name} has no key for it")
        return unknown(key.parameter, why, answer)
    detail = f"{key.key} is not set, and {dialect.name} states no default"
    advice = f"set {key.key}, or look up what the server does without it"
    why = Missing(Reason.SOURCE_ABSENT, detail)
    return unknown(key.parameter, why, answer, source=key.key, get_by=advice)


def _kind(key: ConfigKey, catalogue: Catalogue) -> Kind:
    spec = catalogue.parameters.get(key.parameter) or catalogue.facts.get(key.parameter)
    if spec is not None:
        return spec.kind
    return "text" if isinstance(key.default, str) else "number"


def _values(key: ConfigKey, catalogue: Catalogue) -> tuple[str, ...]:
    spec = catalogue.parameters.get(key.parameter) or catalogue.facts.get(key.parameter)
    return spec.values if spec is not None else ()


def _value(key: ConfigKey, value: object, kind: Kind) -> Value | UnparsedError:
    """The value in base units, or what is wrong with it."""
    if kind == "text":
        return value if isinstance(value, str) else _wrong(value, "a text")
    if kind == "bool":
        return point(float(value)) if isinstance(value, bool) else _wrong(value, "true or false")
    number = figure(value)
    return _wrong(value, "a number") if number is None else point(number * key.unit.factor)


def _figure_of(key: ConfigKey, value: object, kind: Kind) -> Value | UnparsedError:
    """The value in base units; of an array, the one that all its entries have."""
    if not key.array:
        return _value(key, value, kind)
    if not isinstance(value, list) or not value:
        return _wrong(value, "an array with an entry")
    entries = [_value(key, entry, kind) for entry in value]
    wrong = next((entry for entry in entries if isinstance(entry, UnparsedError)), None)
    if wrong is not None:
        return wrong
    return entries[0] if len(set(entries)) == 1 else UnparsedError("its entries differ, so that it is no one figure")


def _wrong(value: object, wanted: str) -> UnparsedError:
    shown = repr(value)
    return UnparsedError(f"{shown if len(shown) <= 40 else shown[:40] + '…'} is not {wanted}")


def _ignored(file: _File, dialect: Dialect) -> list[Fact]:
    names = ignored_keys(file.values, dialect)
    return [
        known(_IGNORED[0], point(float(len(names))), file.answer),
        known(_IGNORED[1], _listed(names), file.answer),
    ]


def _listed(names: tuple[str, ...]) -> str:
    """Some names of many: nobody reads thousands of keys, and a file may hold them."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def ignored_keys(values: Mapping[str, object], dialect: Dialect) -> tuple[str, ...]:
    """The dotted keys that are neither a parameter's, nor match one of the dialect's patterns."""
    read = {name for key in dialect.keys.values() for name in (key.key, *key.aliases)}
    return tuple(
        sorted(
            name
            for name in values
            if name not in read and not any(fnmatchcase(name, pattern) for pattern in dialect.known_keys)
        )
    )
