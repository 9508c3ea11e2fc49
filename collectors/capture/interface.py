"""How a release of the server is asked: of what its dialect says, what capture needs."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

USUAL_DIALECT = "guide"
"""What a server is taken to speak when nothing tells."""
WINDOWED_JSON = "windowed-json"
EXPOSITION = "prometheus"


@dataclass(frozen=True)
class Interface:
    """
    Where a server of one dialect answers.

    It publishes its metrics at `metrics_path` in `metrics_format` (`prometheus` or `windowed-json`), and at
    `exposition_path`, where there is one, the text exposition beside another format. `paths` are the small JSON answers
    worth asking for, `config_files` the places of its configuration, first choice first.
    """

    metrics_path: str
    metrics_format: str
    exposition_path: str = ""
    paths: tuple[str, ...] = ()
    config_files: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """What to ask a server for besides its text exposition, sorted."""
        metrics = {self.metrics_path} if self.metrics_format == WINDOWED_JSON else set()
        return tuple(sorted({*self.paths, *metrics}))


def interfaces_of(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, Interface]:
    """Interfaces by dialect, from what `dataclasses.asdict` makes of them, also after a way through JSON."""
    return {
        name: Interface(
            metrics_path=one["metrics_path"],
            metrics_format=one["metrics_format"],
            exposition_path=one["exposition_path"],
            paths=tuple(one["paths"]),
            config_files=tuple(one["config_files"]),
        )
        for name, one in plain.items()
    }


def dialect_by_form(interfaces: Mapping[str, Interface], body: str) -> str:
    """The dialect whose metrics have the form of this answer: JSON, or the text exposition."""
    form = WINDOWED_JSON if body.lstrip().startswith("{") else EXPOSITION
    fitting = [name for name, interface in interfaces.items() if interface.metrics_format == form]
    return USUAL_DIALECT if USUAL_DIALECT in fitting else min(fitting, default="")
