"""Buffers: where they lie, what was asked for and what was given."""

import mmap
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.kernels.measure import memory as module
from engram_diagnose.kernels.measure.memory import HUGE, buffer, share_on_huge_pages

MIB = 1 << 20
SMAPS = """\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                3072 kB
Anonymous:          3072 kB
AnonHugePages:      2048 kB
VmFlags: rd wr mr mw me ac sd hg
7f0000400000-7f0000800000 rw-p 00000000 00:00 0
Anonymous:          1024 kB
AnonHugePages:         0 kB
7f0000800000-7f0000900000 r--p 00000000 08:01 1234      /usr/lib/x86_64-linux-gnu/libc.so.6
Anonymous:             0 kB
AnonHugePages:         0 kB
"""


@pytest.mark.parametrize("size", [1, 7, 4096, 4097, 3 * MIB + 5])
def test_a_buffer_has_the_bytes_that_were_asked_for_from_the_start_of_a_huge_page(size: int) -> None:
    one = buffer(size)
    assert len(one.bytes) == size
    assert one.bytes.ctypes.data % HUGE == 0
    assert not one.bytes.any()


def test_every_byte_is_what_was_asked_for() -> None:
    assert set(buffer(100_000, byte=0x3F).bytes) == {0x3F}


@given(size=st.integers(1, 100), kind=st.sampled_from([np.uint8, np.float32, np.float64, np.uint64]))
def test_as_an_array_of_another_type_what_makes_no_whole_item_is_left_out(size: int, kind: Any) -> None:
    array = buffer(size).of(kind)
    assert (array.dtype, len(array)) == (kind, size // np.dtype(kind).itemsize)


def test_an_array_keeps_its_memory_when_the_buffer_is_gone() -> None:
    array = buffer(MIB, byte=1).of(np.uint8)
    others = [buffer(MIB, byte=2) for _ in range(4)]
    assert int(array.sum()) == MIB
    assert len(others) == 4


def test_small_pages_are_small_whatever_the_system_prefers() -> None:
    assert buffer(4 * MIB, pages="small").huge in (0.0, None)


def test_huge_pages_are_told_as_a_share() -> None:
    share = buffer(4 * MIB).huge
    assert share is None or 0 <= share <= 1


def test_a_system_without_huge_pages_gives_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    monkeypatch.delattr(mmap, "MADV_NOHUGEPAGE", raising=False)
    assert len(buffer(MIB).bytes) == MIB
    assert len(buffer(MIB, pages="small").bytes) == MIB


def test_a_kernel_that_refuses_the_advice_gives_what_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 9999, raising=False)  # EINVAL, as from a kernel built without them
    assert len(buffer(MIB).bytes) == MIB


@pytest.mark.parametrize("size", [1 << 50, 1 << 70])
def test_memory_that_there_is_not_is_said_to_be_missing(size: int) -> None:
    with pytest.raises(MemoryError, match="cannot be mapped"):
        buffer(size)


@pytest.mark.parametrize("size", [0, -1])
def test_no_bytes_make_no_buffer(size: int) -> None:
    with pytest.raises(ValueError, match="one byte"):
        buffer(size)


def test_a_node_that_the_system_refuses_is_no_buffer_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> NoReturn:
        raise PermissionError(1, "mbind: Operation not permitted")

    monkeypatch.setattr(module, "bind", refuse)
    with pytest.raises(PermissionError):
        buffer(4096, node=0)
    assert len(buffer(4096).bytes) == 4096


def test_the_share_on_huge_pages_is_of_what_was_touched(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(SMAPS)
    assert share_on_huge_pages(0x7F0000000000, 3 * MIB, tmp_path / "smaps") == pytest.approx(2 / 3)
    assert share_on_huge_pages(0x7F0000400000, MIB, tmp_path / "smaps") == 0.0


def test_of_memory_that_lies_in_two_mappings_the_share_is_that_of_both(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(SMAPS)
    assert share_on_huge_pages(0x7F0000300000, 2 * MIB, tmp_path / "smaps") == 0.5


def test_a_small_part_of_a_mapping_that_neighbours_were_joined_to_is_not_said_to_be_huge(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(
        "10000000-20000000 rw-p 00000000 00:00 0\nAnonymous: 262144 kB\nAnonHugePages: 131072 kB\n"
    )
    assert share_on_huge_pages(0x10000000, 4 * MIB, tmp_path / "smaps") == 0.5


def test_of_memory_that_no_mapping_holds_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(SMAPS)
    assert share_on_huge_pages(0x1000, 4096, tmp_path / "smaps") is None
    assert share_on_huge_pages(0x7F0000000000, 4096, tmp_path / "none") is None


@given(text=st.text(alphabet="0123456789abcdef- :\nAnonymousHugePages kB", max_size=300))
def test_no_text_in_its_place_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "smaps"
    file.write_text("0-ffffffff rw-p\n" + text)
    share = share_on_huge_pages(0, 1 << 40, file)
    assert share is None or 0 <= share <= 1
