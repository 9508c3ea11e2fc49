"""Memory on a NUMA node: what the kernel is asked for, and what it says afterwards."""

import errno
import os
import platform

import pytest

from engram_diagnose.kernels.measure.memory import HUGE, Pages, buffer
from engram_diagnose.kernels.measure.placement import bind, nodes_of

MIB = 1 << 20


def first_node() -> int:
    """A node that this process may use; skips where there is none, or the calls are forbidden."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            allowed = next(line.split()[1] for line in file if line.startswith("Mems_allowed_list:"))
        node = int(allowed.replace("-", ",").split(",")[0])
        buffer(4096, node=node)
        nodes_of([buffer(4096).bytes.ctypes.data])
    except (OSError, StopIteration, ValueError) as error:
        pytest.skip(f"no memory can be placed here: {error}")
    return node


@pytest.mark.parametrize("pages", ["huge", "small"])
def test_memory_that_is_bound_to_a_node_lies_on_it(pages: Pages) -> None:
    node = first_node()
    one = buffer(4 * MIB, pages=pages, node=node)
    start = one.bytes.ctypes.data
    assert set(nodes_of(range(start, start + 4 * MIB, 4096))) == {node}
    assert len(one.bytes) == 4 * MIB
    assert one.bytes.ctypes.data % HUGE == 0


def test_a_page_that_was_never_touched_lies_on_no_node() -> None:
    first_node()
    assert nodes_of([0]) == [-errno.EFAULT] or nodes_of([0]) == [-errno.ENOENT]


def test_a_node_that_there_is_not_is_refused_by_the_system() -> None:
    first_node()
    with pytest.raises(OSError, match="mbind"):
        buffer(4096, node=1023)
    for node in (-1, 1024, 1 << 40):
        with pytest.raises(ValueError, match="no NUMA node"):
            bind(0, 4096, node)


def test_on_a_machine_whose_calls_are_not_known_none_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="mbind on riscv64 is not known"):
        buffer(4096, node=0)
    with pytest.raises(OSError, match="move_pages on riscv64 is not known"):
        nodes_of([0])


def test_a_refusal_says_what_was_refused_and_why() -> None:
    first_node()
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as caught:
        bind(1, 4096, 0)  # not the start of a page
    assert caught.value.errno == errno.EINVAL
