"""The stage gives the lab and its clients cores of their own, and a lab that hangs is started again."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.demo.pace import USUAL
from engram_diagnose.demo.stage import CannotPlayError, healthy_config, restart, scene_of, sick_config, sides
from engram_diagnose.lab.faults import FAULTS, fault_named
from engram_diagnose.lab.process import LabError


@given(st.sets(st.integers(0, 255), min_size=1))
def test_the_lab_and_its_clients_do_not_share_a_core_where_there_are_two(cores: Iterable[int]) -> None:
    own, others = sides(set(cores))
    assert own
    assert others
    assert own | others == set(cores)
    assert not own & others or len(set(cores)) == 1


@pytest.mark.parametrize("name", FAULTS)
def test_the_sick_configuration_differs_in_the_faults_keys_alone(name: str, tmp_path: Path) -> None:
    healthy = healthy_config(tmp_path, cores=4)
    changed = scene_of(fault_named(name), "plain", USUAL).changed
    sick = sick_config(healthy, changed)
    differing = [line for line in sick.splitlines() if line not in healthy.splitlines()]
    assert len(differing) <= len(changed)
    assert sick_config(sick, changed) == sick


class Hanging:
    """A lab that does not end when told to."""

    def __init__(self, *, comes_up: bool) -> None:
        self.comes_up = comes_up
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1
        if self.stops == 1:
            raise LabError("the lab did not end within 30 s and was killed")

    def restart(self, config: str) -> None:
        self.stop()
        if not self.comes_up:
            raise LabError("the lab ended with 1 as it started")


def test_a_lab_that_does_not_end_is_started_all_the_same() -> None:
    process: Any = Hanging(comes_up=True)
    restart(process, "")
    assert process.stops == 2


def test_one_that_does_not_come_up_ends_the_demo_with_its_words() -> None:
    process: Any = Hanging(comes_up=False)
    with pytest.raises(CannotPlayError, match="ended with 1 as it started"):
        restart(process, "")
