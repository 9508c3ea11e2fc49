"""
From a bundle to a patch: the diagnosis, one decision per parameter, and the configuration as it is and would be.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.configuration import facts_of_configuration, modified_at
from engram_diagnose.engine.advice.advise import Advice, advise
from engram_diagnose.engine.advice.choice import Choice
from engram_diagnose.engine.advice.decision import Decision, same
from engram_diagnose.engine.advice.document import advice_document, prediction_document
from engram_diagnose.engine.advice.learning import adjusted, learned
from engram_diagnose.engine.advice.past import Past
from engram_diagnose.engine.advice.record import Application, KeyChange, Prediction, Realised
from engram_diagnose.engine.diagnosis import Diagnosis, Expert
from engram_diagnose.engine.explanation.verdict import verdict
from engram_diagnose.engine.facts.catalogue import Dialect
from engram_diagnose.engine.facts.fact import Fact, Value
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import Reference
from engram_diagnose.engine.language.problem import did_you_mean
from engram_diagnose.judging import criteria_of
from engram_diagnose.patch.edit import Assignment, edited
from engram_diagnose.patch.unified import unified
from engram_diagnose.render.neutral import visible
from engram_diagnose.session import diagnose_bundle
from engram_diagnose.tuning_notes import notes_of

DIGEST: Final = "sha256:"
_LONGEST: Final = 64 << 20
"""Bytes of a configuration or a patch."""


class CannotTuneError(ValueError):
    """A wish that cannot be met, or a configuration that cannot be read: what, where, and what to do next."""


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What the operator asks for. `sizing` lets the tables advise; `only` and `without` name parameters or their keys;
    `stated` are facts the operator answers for; `values` are values chosen instead of the advised ones, in base units.
    `in_effect` says that the server runs with what the file holds, though the file is newer than its process.
    """

    sizing: bool = False
    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    stated: tuple[Fact, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    in_effect: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """
    The file to be changed, `name` as it was named and `path` from the root. `path` is None where it is not on this
    host, `masked` where only a copy without its secrets is at hand: neither can be applied here.
    """

    name: str
    content: bytes
    digest: str
    path: Path | None = None
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Tuning:
    """
    All of it: what was decided, for which file, and what that file would become. Names in a `redacted` bundle are not
    the server's.
    """

    diagnosis: Diagnosis
    advice: Advice
    predictions: tuple[Prediction, ...]
    configuration: Configuration
    result: bytes
    document: dict[str, Any]
    redacted: bool = False

    @property
    def changes(self) -> bool:
        """Whether the file would change."""
        return self.result != self.configuration.content


@dataclass(frozen=True, slots=True)
class History:
    """What the ledger holds of this instance and this file."""

    applications: tuple[Application, ...] = ()
    realised: tuple[Realised, ...] = ()


def tune(bundle: Bundle, expert: Expert, configuration: Configuration, wish: Wish, *, now: float,
         history: History = History(), target_set: str = "") -> Tuning:  # fmt: skip
    """
    Advise on a bundle, and edit a copy of the configuration.

    Raises `CannotTuneError` for names that are no parameters, `ConfigurationError` for a file that cannot be edited.
    """
    dialect = expert.loaded.catalogue.dialects.get(bundle.dialect)
    _check_names(wish, expert, dialect)
    diagnosis = diagnose_bundle(bundle, expert, target_set=target_set, stated=wish.stated)
    moved = _moved(configuration, diagnosis, dialect)
    past = Past(history.applications, history.realised, moved, None if wish.in_effect else _modified(bundle))
    choice = Choice(wish.only, wish.without, wish.values)
    advice = advise(diagnosis, sizing=wish.sizing, past=past, choice=choice)
    predictions, taught = _predictions(advice, history, diagnosis.policy.least_cases)
    result = edited(configuration.content, _assignments(advice, configuration, dialect), name=configuration.name)
    document = advice_document(advice, diagnosis)
    document["effects"] = _effects(document["effects"], predictions, taught)
    document |= _file(configuration, result)
    document |= {"made": iso(now), "expires": iso(now + diagnosis.policy.expires_after)}
    document["criteria"] = criteria_of(advice, predictions, diagnosis, expert.loaded)
    document["verdict"] = verdict(diagnosis)
    document["notes"] = list(notes_of(bundle, diagnosis, advice, choice))
    redacted = bundle.options.get("redacted") is True
    return Tuning(diagnosis, advice, predictions, configuration, result, document, redacted)


# Which file


def configuration_of(bundle: Bundle, named: str) -> Configuration:
    """
    The file that was named; else the one the bundle was made with, where it is on this host; else the bundle's copy.

    Raises `CannotTuneError` for a named file that cannot be read.
    """
    if named:
        return _read(Path(named))
    answer = next((one for one in bundle.of("config") if one.answered), None)
    if answer is None:
        return Configuration("the server's configuration", b"", digest(b""))
    path = Path(answer.name)
    if answer.host == _this_host() and path.is_file():
        return _read(path)
    content = (answer.body or "").encode("utf-8", "surrogateescape")
    stated = answer.detail.partition(" ")[0] if answer.detail.startswith(DIGEST) else digest(content)
    return Configuration(answer.name, content, stated, masked=stated != digest(content))


def digest(content: bytes) -> str:
    """`sha256:…` of a file's bytes."""
    return DIGEST + hashlib.sha256(content).hexdigest()


def _this_host() -> str:
    from engram_diagnose.collectors.capture.machine import host_identity

    return host_identity().id


def _read(path: Path) -> Configuration:
    content = file_content(path)
    return Configuration(str(path), content, digest(content), path.absolute())


def file_content(path: Path) -> bytes:
    """A configuration or a patch; raises `CannotTuneError` for what is no file, cannot be read, or is far too long."""
    shown = visible(str(path))
    try:
        with open(path, "rb", opener=_at_once) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise CannotTuneError(f"{shown} is no file; name the configuration with --config")
            content = stream.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, CannotTuneError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotTuneError(f"cannot read {shown}: {reason}; name the configuration with --config") from None
    if len(content) > _LONGEST:
        raise CannotTuneError(f"{shown} is longer than {_LONGEST >> 20} MiB, which no configuration is")
    return content


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody to write, as a pipe would have it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _modified(bundle: Bundle) -> float | None:
    """When the configuration had been changed last as it was measured, in seconds since the epoch."""
    answer = next((one for one in bundle.of("config") if one.answered), None)
    return modified_at(answer) if answer is not None else None


def _moved(configuration: Configuration, diagnosis: Diagnosis, dialect: Dialect | None) -> dict[str, Value | None]:
    """The parameters that the file sets otherwise than when the server was measured."""
    if configuration.path is None or dialect is None:
        return {}
    text = configuration.content.decode("utf-8-sig", "surrogateescape")
    answer = Answer("config", configuration.name, diagnosis.subject.time, "", text)
    seen = Seen(diagnosis.memory)
    if not any(seen.value(Reference(name)) is not None for name, key in dialect.keys.items() if key.key):
        return {}  # it was measured without any configuration
    facts = facts_of_configuration(answer, dialect, diagnosis.catalogue)
    return {fact.name: fact.value for fact in facts if fact.name in diagnosis.catalogue.parameters
            and not same(fact.value, seen.value(Reference(fact.name)))}  # fmt: skip


# Which parameters


def _check_names(wish: Wish, expert: Expert, dialect: Dialect | None) -> None:
    parameters = expert.loaded.catalogue.parameters
    keys = {key.key for key in dialect.keys.values()} if dialect is not None else set()
    for name in sorted(wish.only | wish.without):
        if name not in parameters and name not in keys:
            near = did_you_mean(name, [*parameters, *keys])
            hint = near or "the names stand in the output of: engram-diagnose tune --size"
            raise CannotTuneError(f"{visible(name)} is neither a parameter nor a key of the configuration; {hint}")


# What the file becomes


def _assignments(advice: Advice, configuration: Configuration, dialect: Dialect | None) -> list[Assignment]:
    spelled = _spellings(configuration)
    found = []
    for decision in advice.of("advised"):
        if decision.key is None or decision.wanted is None:
            continue
        names = (decision.key.key, *decision.key.aliases)
        name = next((one for one in names if one in spelled), decision.key.key)
        found.append(Assignment(name, _toml_value(decision)))
    return found


def _spellings(configuration: Configuration) -> frozenset[str]:
    """The keys that the file sets; none of a file that is no TOML, which the editor will say."""
    from engram_diagnose.collectors.parse.figures import UnparsedError
    from engram_diagnose.collectors.parse.toml_text import leaves, parse_toml

    try:
        return frozenset(name for name, _ in leaves(parse_toml(configuration.content.decode("utf-8-sig"))))
    except (UnparsedError, UnicodeDecodeError):
        return frozenset()


def _toml_value(decision: Decision) -> Any:
    """The wanted value in the unit of its key."""
    assert decision.key is not None  # noqa: S101 -- the caller has asked
    value: Any = decision.wanted
    if isinstance(value, tuple):
        figure = value[0] / decision.key.unit.factor
        whole = round(figure)
        value = whole if abs(figure - whole) < 1e-9 * max(1.0, abs(figure)) else figure
        if decision.parameter.kind == "bool":
            value = bool(whole)
    return (value,) if decision.key.array else value


def _file(configuration: Configuration, result: bytes) -> dict[str, Any]:
    name = configuration.name
    changed = result != configuration.content
    return {
        "file": {
            "name": name,
            "path": str(configuration.path) if configuration.path is not None else name,
            "here": configuration.path is not None,
            "masked": configuration.masked,
            "changed": changed,
            "base": configuration.digest,
            "result": None if configuration.masked else digest(result),
            "diff": unified(configuration.content, result, name=name) if changed else "",
            "reverse": unified(result, configuration.content, name=name) if changed else "",
        }
    }


# What it should bring


def _predictions(advice: Advice, history: History, least: int) -> tuple[tuple[Prediction, ...], dict[str, int]]:
    """The predictions, scaled by what earlier ones of the same cause came to; and from how many cases."""
    found, taught = [], {}
    for expected in advice.expected:
        if expected.prediction is None:
            continue
        lesson = learned(expected.prediction.rule, history.realised)
        if lesson is not None and lesson.cases >= least:
            taught[expected.prediction.rule] = lesson.cases
            found.append(adjusted(expected.prediction, lesson))
        else:
            found.append(expected.prediction)
    return tuple(found), taught


def _effects(
    effects: Iterable[dict[str, Any]], predictions: Iterable[Prediction], taught: Mapping[str, int]
) -> list[dict[str, Any]]:
    by_rule = {prediction.rule: prediction for prediction in predictions}
    return [
        effect | {"learned_from": taught.get(effect["rule"]),
                  "prediction": prediction_document(by_rule[effect["rule"]]) if effect["rule"] in by_rule else None}
        for effect in effects
    ]  # fmt: skip


def ledger_name(path: Path) -> str:
    """What the ledger calls a file: its own name, not that of a link to it."""
    return os.path.realpath(path)


def application_of(tuning: Tuning, *, at: float, patch: str) -> Application:
    """The ledger's entry for a patch that is about to be applied."""
    advised = (one for one in tuning.advice.of("advised") if one.key is not None and one.wanted is not None)
    changes = tuple(
        KeyChange(one.name, one.key.key if one.key else "", one.current, one.wanted, one.chosen.rule)
        for one in advised
        if one.wanted is not None
    )
    return Application(
        at,
        "" if tuning.redacted else tuning.diagnosis.subject.instance,
        ledger_name(tuning.configuration.path) if tuning.configuration.path else tuning.configuration.name,
        tuning.configuration.digest,
        digest(tuning.result),
        tuning.diagnosis.subject.dialect,
        changes,
        tuning.predictions,
        "intended",
        patch,
    )
