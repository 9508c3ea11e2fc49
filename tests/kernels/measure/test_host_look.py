"""What the kernel's texts say of the CPUs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.kernels.measure.host_look import CpuTimes, cpu_model, cpu_times, governors

STAT = """\
cpu  1000 10 300 9000 50 1 20 40 0 0
cpu0 500 5 150 4500 25 1 10 20 30 0
cpu1 500 5 150 4500 25 0 10 20 0 0
cpu10 7 7 7 7 7 7 7 7 7 7
intr 12345 0 0
"""

X86 = """\
processor	: {number}
vendor_id	: GenuineIntel
model name	: Some Processor
stepping	: {stepping}
cpu MHz		: {megahertz}
"""

ARM = """\
processor	: 0
BogoMIPS	: 243.75
CPU implementer	: 0x41
CPU part	: 0xd40
"""


def test_the_times_are_those_of_the_cpus_asked_for() -> None:
    found = cpu_times(STAT, [0], ticks_a_second=100)
    assert found == CpuTimes(busy=6.66, steal=0.2, total=52.11)
    both = cpu_times(STAT, [0, 1], ticks_a_second=100)
    assert both.steal == pytest.approx(0.4)
    assert both.total == pytest.approx(52.11 + 52.10)


@pytest.mark.parametrize("text", ["", "cpu0", "cpu0 1 2 3", "cpu0 a b c d e f g h", "cpu0 -1 2 3 4 5 6 7 8"])
def test_times_that_are_not_told_are_zeros(text: str) -> None:
    assert cpu_times(text, [0], ticks_a_second=100) == CpuTimes(0, 0, 0)


@given(st.text())
def test_no_text_is_too_strange_to_look_at(text: str) -> None:
    cpu_times(text, [0, 1])
    cpu_model(text)


def test_a_model_is_the_same_whatever_frequency_its_cpus_have() -> None:
    blocks = [X86.format(number=number, stepping=1, megahertz=2000 + number) for number in range(4)]
    assert cpu_model("\n".join(blocks)) == "GenuineIntel, Some Processor, 1"


def test_another_stepping_is_another_model_and_arm_has_one_as_well() -> None:
    one, other = (cpu_model(X86.format(number=0, stepping=step, megahertz=1)) for step in (1, 2))
    assert one != other
    assert cpu_model(ARM) == "0x41, 0xd40"


def test_each_governor_is_named_once_and_none_where_there_is_none(tmp_path: Path) -> None:
    for cpu, name in enumerate(("powersave", "powersave", "performance")):
        (tmp_path / f"cpu{cpu}" / "cpufreq").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "cpufreq" / "scaling_governor").write_text(f"{name}\n")
    assert governors([0, 1], tmp_path) == ("powersave",)
    assert governors([0, 1, 2, 3], tmp_path) == ("performance", "powersave")
    assert governors([7], tmp_path) == ()
