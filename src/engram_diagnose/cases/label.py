"""
Labels: what is known of an incident, beside its bundle, as `rules/schema/label-v1.json` describes it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

SCHEMA: Final = "engram-diagnose/label/v1"
HEALTHY: Final = "healthy"
"""The family of cases in which nothing is wrong."""
LAB: Final = "lab"

Visible = Literal["yes", "no", "untold"]
Json = dict[str, Any]


class LabelError(ValueError):
    """A label that cannot be read; says which, where in it, and what to do."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host's shape: the cores and bytes (0: no limit) that the server might use."""

    shape: str
    cores: int
    memory: int = 0
    cpu: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What clients did: operations a second that were offered, and what the healthy server carried (0: unknown)."""

    mix: Mapping[str, float]
    rate: float
    connections: int
    seconds: float
    capacity: float = 0.0


@dataclass(frozen=True, slots=True)
class Label:
    """
    What is known of one case.

    `causes` holds, for each thing that is wrong, the rules that name it rightly; none for a healthy server.
    `true_besides` are rules that are neither right nor wrong here. `felt` are figures that clients measured: the name,
    without the fault, and with it (seconds, or shares).
    """

    name: str
    faults: tuple[str, ...]
    families: tuple[str, ...]
    severity: str
    causes: tuple[tuple[str, ...], ...]
    visible: Visible
    host: Host
    source: str
    when: str
    bundle: str
    digest: str
    true_besides: frozenset[str] = frozenset()
    hidden_by: str = ""
    load: Loaded | None = None
    noise: str = ""
    missing: tuple[str, ...] = ()
    of: str = ""
    seed: int = 0
    version: str = ""
    felt: tuple[tuple[str, float, float], ...] = ()
    right: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "right", frozenset(rule for rules in self.causes for rule in rules))

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.causes

    @property
    def family(self) -> str:
        """Its family as reports call it; of several, all of them."""
        return " + ".join(self.families)


def encode_label(label: Label) -> bytes:
    """The label as its file holds it: the same bytes for the same label."""
    return (json.dumps(_document(label), indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _document(label: Label) -> Json:
    host, load = label.host, label.load
    found: Json = {
        "schema": SCHEMA, "name": label.name, "faults": list(label.faults), "families": list(label.families),
        "severity": label.severity, "causes": [list(rules) for rules in label.causes],
        "true_besides": sorted(label.true_besides), "visible": label.visible, "hidden_by": label.hidden_by,
        "host": {"shape": host.shape, "cores": host.cores, "memory": host.memory, "cpu": host.cpu},
        "noise": label.noise, "missing": list(label.missing), "of": label.of, "seed": label.seed,
        "source": label.source, "version": label.version, "when": label.when,
        "bundle": {"file": label.bundle, "sha256": label.digest},
    }  # fmt: skip
    if label.felt:
        found["felt"] = [{"figure": name, "healthy": healthy, "sick": sick} for name, healthy, sick in label.felt]
    if load is not None:
        found["load"] = {"mix": dict(load.mix), "rate": load.rate, "connections": load.connections,
                         "seconds": load.seconds, "capacity": load.capacity}  # fmt: skip
    return found


def decode_label(content: bytes, *, where: str) -> Label:
    """The label in a file's bytes; raises `LabelError` naming `where`, the place in it and what is wrong."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{where} is no label: it is not JSON ({error}); make the case again") from None
    problem = _problem(found)
    if problem:
        raise LabelError(f"{where} is no label: {problem}; rules/schema/label-v1.json describes one")
    label = _label(found)
    if label.healthy != (label.families == (HEALTHY,)):
        raise LabelError(f"{where}: a case without causes is of the family {HEALTHY!r} alone, and any other is not of "
                         "it; mend causes or families")  # fmt: skip
    return label


def _problem(found: object) -> str:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(_schema()).iter_errors(found))
    if error is None:
        return ""
    place = "/".join(str(part) for part in error.absolute_path)
    return f"{place}: {error.message}"[:500] if place else error.message[:500]


@cache
def _schema() -> Json:
    text = resources.files("engram_diagnose").joinpath("rules", "schema", "label-v1.json").read_bytes()
    schema: Json = json.loads(text)
    return schema


def _label(found: Json) -> Label:
    host, load = found["host"], found.get("load")
    return Label(
        name=found["name"], faults=tuple(found["faults"]), families=tuple(found["families"]),
        severity=found["severity"], causes=tuple(tuple(rules) for rules in found["causes"]), visible=found["visible"],
        host=Host(host["shape"], host["cores"], host.get("memory", 0), host.get("cpu", "")),
        source=found["source"], when=found["when"], bundle=found["bundle"]["file"], digest=found["bundle"]["sha256"],
        true_besides=frozenset(found.get("true_besides", ())), hidden_by=found.get("hidden_by", ""),
        load=None if load is None else Loaded(load["mix"], load["rate"], load["connections"], load["seconds"],
                                              load.get("capacity", 0.0)),
        noise=found.get("noise", ""), missing=tuple(found.get("missing", ())), of=found.get("of", ""),
        seed=found.get("seed", 0), version=found.get("version", ""),
        felt=tuple((one["figure"], one["healthy"], one["sick"]) for one in found.get("felt", ())),
    )  # fmt: skip
