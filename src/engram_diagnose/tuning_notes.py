"""
What an operator has to know beside the changes: names that are not the server's, values that nobody can use, settings
that belong together and were parted.
"""

from collections.abc import Iterator

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.engine.advice.advise import Advice, advise
from engram_diagnose.engine.advice.choice import Choice
from engram_diagnose.engine.advice.dependence import dependents
from engram_diagnose.engine.diagnosis import Diagnosis
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.fact import Reason


def notes_of(bundle: Bundle, diagnosis: Diagnosis, advice: Advice, choice: Choice) -> Iterator[str]:
    """The notes, in the order in which they matter."""
    if bundle.options.get("redacted") is True:
        yield (
            "this bundle is redacted: instance, spaces and paths are pseudonyms; put the server's own names into the "
            "queries before you ask them"
        )
    yield from _unusable(diagnosis)
    yield from _beyond(diagnosis)
    yield from _parted(diagnosis, advice, choice)


def _unusable(diagnosis: Diagnosis) -> Iterator[str]:
    """The settings that the file holds and that cannot be read; a server may not start with them."""
    for name in diagnosis.catalogue.parameters:
        fact = diagnosis.memory.lookup(name)
        if fact is not None and fact.unknown is not None and fact.unknown.reason is Reason.UNPARSED:
            yield f"{fact.unknown.detail}: it counts as unknown"


def _beyond(diagnosis: Diagnosis) -> Iterator[str]:
    for name, parameter in diagnosis.catalogue.parameters.items():
        value = diagnosis.memory.value(name)
        if parameter.kind != "number" or not isinstance(value, tuple):
            continue
        if value[0] < parameter.low or value[1] > parameter.high:
            shown = fact_text(value, diagnosis.catalogue.facts[name])
            yield f"{_called(diagnosis, name)} is {shown}, beyond what advice would set it to"


def _parted(diagnosis: Diagnosis, advice: Advice, choice: Choice) -> Iterator[str]:
    """Changes that were left out while those they are computed from were not, or that all were."""
    if not (choice.only or choice.without):
        return
    whole = advise(diagnosis, sizing=advice.sizing)
    advised, left = {one.name for one in advice.of("advised")}, {one.name for one in whole.of("advised")}
    left -= advised
    for name in sorted(advised):
        parted = [_called(diagnosis, other) for other in dependents(name, diagnosis) if other in left]
        if parted:
            yield f"{', '.join(parted)} is computed from {_called(diagnosis, name)}, and was left out of the change"
    if left and not advised:
        yield f"--only or --without leaves out all that is advised: {', '.join(sorted(left))}"


def _called(diagnosis: Diagnosis, parameter: str) -> str:
    """What the configuration calls a parameter."""
    dialect = diagnosis.catalogue.dialects.get(diagnosis.subject.dialect)
    key = dialect.keys.get(parameter) if dialect is not None else None
    return key.key if key is not None and key.key else parameter
