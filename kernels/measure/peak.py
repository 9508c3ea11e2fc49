"""
The floating point peak of one core, in operations a second on 32-bit floats; a fused multiply-add is two.

    peak.fma    /s by width of the registers ("128 bit", "256 bit", "512 bit")

Wider registers do not always do more: some CPUs lower their frequency for them, others do each in two steps.
"""

from collections.abc import Iterable
from functools import partial
from typing import Final

from llvmlite import binding

from engram_diagnose.kernels.loops.peak import WIDTHS, multiply_add, operations
from engram_diagnose.kernels.loops.vectors import accumulators_here, lanes_here
from engram_diagnose.kernels.measure.bench import Bench
from engram_diagnose.kernels.measure.measurement import Measurement, Outcome
from engram_diagnose.kernels.measure.sampling import measured

NAME: Final = "peak.fma"
_LANE_BITS: Final = 32
_HALF: Final = 2


def peak(bench: Bench) -> list[Outcome]:
    """The peak with the widest registers of this CPU, and with half of them where it has AVX-512."""
    bench.say("floating point peak of one core")
    widest = lanes_here()
    lanes = [each for each in WIDTHS if each == widest or (each == widest // _HALF and widest == WIDTHS[-1])]
    return [bench.pool.run(partial(_peak, bench, each))[0] for each in lanes]


def best(outcomes: Iterable[Outcome]) -> Measurement | None:
    """The peak: that of the width which attains the most. None where it was not measured."""
    found = [one for one in outcomes if isinstance(one, Measurement) and one.name == NAME]
    return max(found, key=lambda one: one.median, default=None)


def lanes_of(measurement: Measurement) -> int:
    """How many floats its registers hold."""
    return int(measurement.labels["width"].partition(" ")[0]) // _LANE_BITS


def _peak(bench: Bench, lanes: int) -> Measurement:
    sums = accumulators_here()
    done = operations(1, lanes=lanes, sums=sums)
    return measured(
        NAME, "/s", partial(multiply_add, lanes=lanes, sums=sums), bench,
        figure=lambda seconds: done / seconds, better="higher", labels={"width": f"{lanes * _LANE_BITS} bit"},
        notes=(f"{sums} sums at once; one core, with whatever its sibling does meanwhile", *_without_fma()),
    )  # fmt: skip


def _without_fma() -> tuple[str, ...]:
    """What to know of an x86-64 CPU, or a guest, that lacks the instruction."""
    if binding.get_host_cpu_features().get("fma", True):
        return ()
    return ("this CPU shows no fused multiply-add: each is a multiplication and an addition",)
