"""Two sides by turns: in random pairs, kept when stopped, judged as `verify` judges, and never by too few runs."""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, validate

from engram_diagnose.bench.comparing import SIDES, SideName, SwitchError, Turns, by_command, compared, interleave
from engram_diagnose.engine.comparison.policy import Policy
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.render.verification_markdown import verification_markdown
from engram_diagnose.render.verification_text import verification_text
from engram_diagnose.rulebase import load_rules
from engram_diagnose.verification.side import NothingToCompareError

sys.path.append(str(Path(__file__).parents[1] / "verification" / "making"))
from made_sides import run

Json = dict[str, Any]


@pytest.fixture(scope="module")
def judged() -> Callable[[Json], Json]:
    loaded = load_rules((), thorough=False)
    policy: Policy = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules)
    catalogue: Catalogue = loaded.catalogue
    return lambda benchmark: compared(benchmark, policy, catalogue)


class Server:
    """A server whose P99 is that of the side it was switched to, with noise and a drift over the runs."""

    def __init__(self, p99: dict[str, float], *, drift: float = 0.0, invalid: tuple[int, ...] = ()) -> None:
        self.p99, self.drift, self.invalid = p99, drift, invalid
        self.side = ""
        self.switched: list[str] = []
        self.measured: list[str] = []
        self.noise = random.Random(5)

    def switch(self, side: SideName) -> None:
        self.side = side
        self.switched.append(side)

    def measure(self, side: SideName) -> Json:
        assert side == self.side
        self.measured.append(side)
        number = len(self.measured)
        p99 = self.p99[side] * (1 + self.drift * number) * self.noise.uniform(0.97, 1.03)
        return run(number, "", p99, valid=number not in self.invalid)


def made(server: Server, turns: Turns, **more: Any) -> Any:
    return interleave(turns, switch=server.switch, measure=server.measure, **more)


# --- Turns ----------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(0, 2**32))
def test_every_pair_has_both_sides_and_the_same_seed_gives_the_same_order(runs: int, seed: int) -> None:
    pairs = Turns(runs, seed).pairs()
    assert len(pairs) == runs
    assert all(set(pair) == set(SIDES) for pair in pairs)
    assert pairs == Turns(runs, seed).pairs()


def test_both_orders_of_a_pair_are_as_likely() -> None:
    first = [pair[0] for seed in range(400) for pair in Turns(8, seed).pairs()]
    assert 0.45 < first.count("before") / len(first) < 0.55


def test_the_server_is_switched_only_when_the_side_changes() -> None:
    server = Server({"before": 0.01, "after": 0.01})
    found = made(server, Turns(8, 7))
    changes = 1 + sum(one["side"] != other["side"] for one, other in zip(found.runs, found.runs[1:], strict=False))
    assert len(server.switched) == changes < 16
    assert [one["order"] for one in found.runs] == list(range(1, 17))
    assert found.ended == ""


def test_a_run_that_was_not_valid_is_followed_by_a_further_pair_while_there_are_spare_ones() -> None:
    server = Server({"before": 0.01, "after": 0.01}, invalid=(3, 4))
    found = made(server, Turns(8, 1, spare=2))
    assert len(found.runs) == 18
    assert found.on("before") == found.on("after") == 8
    assert len(made(Server({"before": 0.01, "after": 0.01}, invalid=(3, 4)), Turns(8, 1)).runs) == 16


def test_progress_tells_each_run_before_it_starts() -> None:
    told: list[tuple[int, int, str]] = []
    made(Server({"before": 0.01, "after": 0.01}), Turns(2, 1), on_progress=lambda *one: told.append(one))
    assert [number for number, _, _ in told] == [1, 2, 3, 4]
    assert {planned for _, planned, _ in told} == {4}


def test_further_pairs_are_counted_as_they_come() -> None:
    told: list[tuple[int, int, str]] = []
    server = Server({"before": 0.01, "after": 0.01}, invalid=(2,))
    made(server, Turns(2, 1, spare=1), on_progress=lambda *one: told.append(one))
    assert [(number, planned) for number, planned, _ in told] == [(1, 4), (2, 4), (3, 4), (4, 4), (5, 6), (6, 6)]


def test_no_runs_are_no_plan() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        Turns(0, 1)


# --- Stopped --------------------------------------------------------------------------------------


@given(st.integers(0, 15))
def test_ctrl_c_in_any_run_keeps_those_before_it(at: int) -> None:
    server = Server({"before": 0.01, "after": 0.01})
    measure = server.measure

    def interrupted(side: SideName) -> Json:
        if len(server.measured) == at:
            raise KeyboardInterrupt
        return measure(side)

    found = interleave(Turns(8, 1), switch=server.switch, measure=interrupted)
    assert len(found.runs) == at
    assert found.ended == f"stopped by hand after {at} of 16 runs"


def test_what_a_switch_raises_is_not_taken_for_a_result() -> None:
    def broken(side: SideName) -> None:
        raise SwitchError(side)

    with pytest.raises(SwitchError):
        interleave(Turns(8, 1), switch=broken, measure=lambda _: {})


def test_a_comparison_without_any_run_says_so() -> None:
    found = made(Server({"before": 0.01, "after": 0.01}), Turns(8, 1), stop=lambda: True)
    with pytest.raises(NothingToCompareError, match="no run was made"):
        found.benchmark("nothing", "made 1")


def test_a_side_without_a_run_cannot_be_compared(judged: Callable[[Json], Json]) -> None:
    found = made(Server({"before": 0.01, "after": 0.01}), Turns(1, 1))
    one = {**found.benchmark("half", "made 1"), "runs": [found.runs[0]]}
    both = judged({**one, "runs": list(found.runs)})
    assert both["provisional"] is True
    lone = Server({"before": 0.01, "after": 0.01}, invalid=(2,))
    with pytest.raises(NothingToCompareError, match="none of 1 runs is valid"):
        judged(made(lone, Turns(1, 1)).benchmark("half", "made 1"))


# --- Judged ---------------------------------------------------------------------------------------


def test_a_large_gain_is_found_although_the_server_drifts(judged: Callable[[Json], Json]) -> None:
    found = judged(made(Server({"before": 0.02, "after": 0.012}, drift=0.01), Turns(8, 3)).benchmark("gain", "made 1"))
    assert found["verdict"]["state"] == "improved"
    assert "provisional" not in found


def test_eight_identical_runs_a_side_are_no_change_of_anything(judged: Callable[[Json], Json]) -> None:
    found = judged(made(Server({"before": 0.01, "after": 0.01}), Turns(8, 3)).benchmark("same", "made 1"))
    assert found["verdict"]["state"] in ("no change", "inconclusive")


@pytest.mark.parametrize("runs", [1, 3, 7])
def test_fewer_than_eight_runs_are_provisional_and_decide_nothing(
    runs: int, judged: Callable[[Json], Json], root: Path
) -> None:
    found = judged(made(Server({"before": 0.05, "after": 0.001}), Turns(runs, 3)).benchmark("three", "made 1"))
    assert found["verdict"]["state"] == "inconclusive"
    assert {one["verdict"] for one in found["figures"]} == {"inconclusive"}
    assert f"{runs} of the 8 runs a side that a verdict needs" in found["verdict"]["sentence"]
    for text in (verification_text(found), verification_markdown(found)):
        assert "PROVISIONAL" in text
        assert "improved" not in text
    schema = (root / "rules" / "schema" / "verification-v1.json").read_text(encoding="utf-8")
    validate(found, json.loads(schema), cls=Draft202012Validator)


def test_a_provisional_comparison_shows_the_figure_that_moved_most(judged: Callable[[Json], Json]) -> None:
    found = judged(made(Server({"before": 0.05, "after": 0.01}), Turns(3, 3)).benchmark("three", "made 1"))
    assert "op.latency.p" in found["verdict"]["sentence"]
    assert "before" in found["verdict"]["sentence"]


# --- Commands -------------------------------------------------------------------------------------


def test_commands_switch_and_what_goes_wrong_names_the_side(tmp_path: Path) -> None:
    kept = tmp_path / "side"
    say = f"{sys.executable} -c \"import sys; open(r'{kept}', 'w').write(sys.argv[1])\""
    switch = by_command({"before": f"{say} old", "after": f"{say} new"}, timeout_seconds=20)
    switch("after")
    assert kept.read_text() == "new"
    failing = f"{sys.executable} -c \"import sys; sys.exit('no such unit')\""
    with pytest.raises(SwitchError, match=r"side after .* ended with 1: no such unit"):
        by_command({"before": say, "after": failing}, timeout_seconds=20)("after")
    with pytest.raises(SwitchError, match="cannot be run"):
        by_command({"before": "/nowhere/at/all", "after": say}, timeout_seconds=20)("before")
    slow = f'{sys.executable} -c "import time; time.sleep(60)"'
    with pytest.raises(SwitchError, match="longer than"):
        by_command({"before": slow, "after": slow}, timeout_seconds=0.3)("before")
    with pytest.raises(ValueError, match="no command switches to the side after"):
        by_command({"before": say, "after": ""}, timeout_seconds=1)
