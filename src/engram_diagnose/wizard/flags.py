"""
The wizard's questions as options, for those who would rather not be asked.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from engram_diagnose.cli.options import named_option, together
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.wizard.answers import (
    INSTRUCTIONS,
    STORAGES,
    WORKLOADS,
    UnusableAnswerError,
    cores_of,
    memory_of,
    nodes_of,
    stated_facts,
)

ANSWERS: Final = ("workload", "cores", "memory", "storage", "numa_nodes", "simd")
"""What the options call their values."""


class Answer(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5; we run on 8.1
    """A value that the wizard would ask for."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return self._parse(str(value))
        except UnusableAnswerError as error:
            self.fail(str(error), param, ctx)


answer_options = together(
    named_option("--workload", type=click.Choice(WORKLOADS), help="Size for this load, whatever was measured."),
    named_option("--cores", type=Answer("CORES", cores_of), help="Cores that the server may use, such as 24, or 2.5."),
    named_option("--memory", type=Answer("SIZE", memory_of), help="Memory that the server may use, such as 64GiB."),
    named_option("--storage", type=click.Choice(STORAGES), help="What the data lies on: flash, or a rotating disk."),
    named_option("--numa-nodes", type=Answer("COUNT", nodes_of), help="NUMA nodes of the server's host."),
    named_option("--simd", type=click.Choice(INSTRUCTIONS), help="Widest vector instructions of the server's CPU."),
)


def facts_of_options(values: Mapping[str, Any]) -> tuple[Fact, ...]:
    """The facts of the options' values; those that were not given state nothing."""
    return stated_facts(**{name: values[name] for name in ANSWERS if values.get(name) is not None})
