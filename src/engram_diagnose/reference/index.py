"""
Who reads what: the rule base seen from the other end.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engram_diagnose.collectors.parse.local import LOCAL_FACTS
from engram_diagnose.engine.facts.catalogue import ConfigKey, Source, TargetSpec, split_window
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.stages import needs
from engram_diagnose.engine.language.vocabulary import Vocabulary

SHIPPED = "engram"
"""The pack of the rules that come with the tool."""

THIS_HOST = "this host"
"""Where a fact comes from that /proc, /sys and psutil tell."""


@dataclass(frozen=True, slots=True)
class Index:
    """A loaded rule base with its back references; every list is sorted."""

    loaded: Loaded
    vocabulary: Vocabulary
    readers: Mapping[str, tuple[str, ...]]
    writers: Mapping[str, str]
    setters: Mapping[str, tuple[str, ...]]
    explained_by: Mapping[str, tuple[str, ...]]
    masked_by: Mapping[str, tuple[str, ...]]

    def rule(self, name: str) -> Rule | None:
        """A rule that is in force."""
        return self.loaded.rules.rules.get(name)

    def sources(self, fact: str) -> list[tuple[str, Source]]:
        """How each dialect publishes a fact, once per scope it speaks of."""
        return [
            (name, source)
            for name, dialect in sorted(self.loaded.catalogue.dialects.items())
            for source in dialect.sources.values()
            if source.fact == fact
        ]

    def keys(self, parameter: str) -> list[tuple[str, ConfigKey | None]]:
        """Where each dialect of the server keeps a setting; None where it has no word of it."""
        dialects = sorted(self.loaded.catalogue.dialects.items())
        return [(name, dialect.keys.get(parameter)) for name, dialect in dialects if dialect.config_files]

    def targets(self, fact: str) -> list[TargetSpec]:
        """The targets set for a fact, widest scope first."""
        found = [target for target in self.loaded.catalogue.targets if target.name == fact]
        return sorted(found, key=lambda target: (len(target.scope.labels), target.scope))

    def is_local(self, fact: str) -> bool:
        """Whether it is read from the host the server runs on."""
        return fact in LOCAL_FACTS


def index_of(loaded: Loaded) -> Index:
    """The back references of a rule base."""
    rules = loaded.rules.rules.values()
    return Index(
        loaded,
        Vocabulary(loaded.catalogue, loaded.rules.rules),
        readers=_gathered((base_of(name), rule.id) for rule in rules for name in needs(rule)),
        writers={fact: rule.id for rule in rules for fact in rule.outputs.values()},
        setters=_gathered(
            (setting.parameter, rule.id) for rule in rules for item in rule.recommend for setting in item.settings
        ),
        explained_by=_gathered((symptom, rule.id) for rule in rules for symptom in rule.explains),
        masked_by=_gathered((cause, rule.id) for rule in rules for cause in rule.masks),
    )


def base_of(name: str) -> str:
    """A fact's name without its window."""
    return split_window(name)[0]


def _gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        found[key].add(value)
    return {key: tuple(sorted(values)) for key, values in found.items()}
