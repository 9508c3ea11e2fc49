"""
Two sides by turns: short runs, interleaved at random, judged by what `verify` judges with.

What drifts (a warm cache, a growing log, a neighbour) then hits both sides. One long run a side would take the drift
for the difference, and the requests within a run share its luck, so that they cannot stand for runs.
"""

import json
import random
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from engram_diagnose.engine.comparison.outcome import overall
from engram_diagnose.engine.comparison.policy import Policy
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.verification.benchmark import read_benchmark, side_of_benchmarks
from engram_diagnose.verification.comparing import compare_sides
from engram_diagnose.verification.document import document
from engram_diagnose.verification.side import Key, NothingToCompareError

Json = Mapping[str, Any]
SideName = Literal["before", "after"]
SIDES: Final[tuple[SideName, SideName]] = ("before", "after")
Switch = Callable[[SideName], None]
"""Puts the server in the state of a side, and returns when it is ready; called only when the side changes."""
Measure = Callable[[SideName], Json]
"""Makes one short run and returns it in the benchmark format; its `order` and `side` are set here."""
Progress = Callable[[int, int, SideName], None]
"""Told the number of the run that starts, how many there are to be by now, and its side."""
_STDERR: Final = 400


class SwitchError(RuntimeError):
    """A command that should switch to a side and failed; says which, how, and what it wrote."""


@dataclass(frozen=True, slots=True)
class Turns:
    """
    So many runs a side, in pairs of both whose order is random.

    A pair with a run that was not valid is followed by a further one, `spare` times at most.
    """

    runs: int
    seed: int
    spare: int = 0

    def __post_init__(self) -> None:
        if self.runs < 1 or self.spare < 0:
            raise ValueError(f"{self.runs} runs a side with {self.spare} spare ones: at least one run, and none less")

    def pairs(self) -> list[tuple[SideName, SideName]]:
        """The pairs in their order, the spare ones last; the same seed gives the same."""
        chance = random.Random(self.seed)  # noqa: S311 -- an order, not a secret
        return [SIDES if chance.random() < 0.5 else SIDES[::-1] for _ in range(self.runs + self.spare)]


@dataclass(frozen=True, slots=True)
class Interleaved:
    """The runs that were made, in their order; `ended` says why there are fewer than planned, empty for all of them."""

    runs: tuple[Json, ...]
    ended: str = ""

    def on(self, side: SideName) -> int:
        """How many valid runs a side has."""
        return sum(run["side"] == side and run["validity"]["valid"] for run in self.runs)

    def benchmark(self, name: str, tool: str) -> dict[str, Any]:
        """The runs as a document of the benchmark format; raises `NothingToCompareError` without any."""
        if not self.runs:
            raise NothingToCompareError(f"{name}: no run was made ({self.ended}); nothing can be compared")
        return {"schema": "engram-diagnose/benchmark/v1", "name": name, "tool": tool, "runs": list(self.runs)}


def interleave(turns: Turns, *, switch: Switch, measure: Measure, on_progress: Progress = lambda *_: None,
               stop: Callable[[], bool] = lambda: False) -> Interleaved:  # fmt: skip
    """
    Make the runs, side by side.

    Ctrl-C, and `stop()` between runs, end it early: the runs so far are kept. What `switch` or `measure` raise is not
    caught, as a side that cannot be had is no comparison.
    """
    made: list[Json] = []
    try:
        for side in _sides(turns, made):
            if stop():
                return Interleaved(tuple(made), _stopped(made, turns))
            if not made or made[-1]["side"] != side:
                switch(side)
            on_progress(len(made) + 1, _planned(made, turns), side)
            made.append({**measure(side), "order": len(made) + 1, "side": side})
    except KeyboardInterrupt:
        return Interleaved(tuple(made), _stopped(made, turns))
    return Interleaved(tuple(made))


def _sides(turns: Turns, made: Sequence[Json]) -> Any:
    """The side of each run; a further pair is asked for only while one of either side is missing."""
    for pair in turns.pairs():
        valid = [sum(run["side"] == side and run["validity"]["valid"] for run in made) for side in SIDES]
        if min(valid) >= turns.runs:
            return
        yield from pair


def _planned(made: Sequence[Json], turns: Turns) -> int:
    """How many runs there are to be by now: whole pairs, of which further ones come where a run was not valid."""
    return max(2 * turns.runs, 2 * (len(made) // 2 + 1))


def _stopped(made: Sequence[Json], turns: Turns) -> str:
    return f"stopped by hand after {len(made)} of {_planned(made, turns)} runs"


# Judged


def compared(benchmark: Json, policy: Policy, catalogue: Catalogue, *, named: Sequence[Key] = (),
             notes: Sequence[str] = ()) -> dict[str, Any]:  # fmt: skip
    """
    The verification document of a benchmark with runs of both sides; `render/verification_*` show it.

    With fewer runs a side than the policy asks for it is labelled provisional: it shows the figures and gives no
    verdict. Raises `NothingToCompareError` when a side has no valid run, `BenchmarkError` for a run that is none.
    """
    found = read_benchmark(str(benchmark["name"]), json.dumps(benchmark).encode())
    before, after = (side_of_benchmarks([found], side) for side in SIDES)
    made = document(compare_sides(before, after, policy, catalogue, named=named), catalogue)
    made["after"]["notes"] += list(notes)
    fewest = min(before.samples, after.samples)
    return _provisional(made, fewest, policy.least.runs) if fewest < policy.least.runs else made


def _provisional(made: dict[str, Any], runs: int, needed: int) -> dict[str, Any]:
    """The same without any verdict: so few runs cannot tell a change from noise, however large it looks."""
    figures = [{**one, "verdict": "inconclusive"} if one["verdict"] in ("improved", "worse", "no change") else one
               for one in made["figures"]]  # fmt: skip
    most = max(figures, key=lambda one: abs(one["change"] or 0.0) / (one["least"] or 1.0), default=None)
    shown = f": {_shown(most)}" if most and most["change"] is not None else ""
    sentence = f"{runs} of the {needed} runs a side that a verdict needs{shown}"
    states = [one["verdict"] for one in figures]
    return {
        **made,
        "provisional": True,
        "verdict": {"state": overall(states), "sentence": sentence,
                    "counts": {state: states.count(state) for state in made["verdict"]["counts"]}},
        "figures": figures,
    }  # fmt: skip


def _shown(figure: Json) -> str:
    where = ", ".join(f"{name}={value}" for name, value in figure["scope"].items())
    name = f"{figure['on']}{{{where}}}" if where else figure["on"]
    return f"{name} {figure['before_text']} before, {figure['after_text']} after ({figure['change_text']})"


# Switching by commands


def by_command(commands: Mapping[SideName, str], *, timeout_seconds: float) -> Switch:
    """
    A switch that runs a command for each side, without a shell; it must end with 0 when the server is ready.

    The switch raises `SwitchError` when it does not, or takes longer.
    """
    words = {side: shlex.split(text) for side, text in commands.items()}
    for side in SIDES:
        if not words.get(side):
            raise ValueError(f"no command switches to the side {side}")

    def switch(side: SideName) -> None:
        told = f"the command for the side {side} ({commands[side]})"
        try:
            done = subprocess.run(words[side], capture_output=True, timeout=timeout_seconds, check=False)  # noqa: S603 -- the operator's own
        except subprocess.TimeoutExpired:
            raise SwitchError(f"{told} took longer than {timeout_seconds:g} s; is the server ready then?") from None
        except OSError as error:
            raise SwitchError(f"{told} cannot be run: {error}") from None
        if done.returncode:
            wrote = done.stderr.decode(errors="replace").strip()[-_STDERR:]
            raise SwitchError(f"{told} ended with {done.returncode}: {wrote or 'it wrote nothing'}")

    return switch
