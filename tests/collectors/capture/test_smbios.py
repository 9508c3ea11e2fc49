"""Memory modules as the firmware's table names them: speed and channels, or why they are not believed."""

import errno
import struct
from pathlib import Path

import pytest
from hosts import facts, plain, value, why, write
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture import smbios
from engram_diagnose.collectors.capture.reading import Reading, failure
from engram_diagnose.collectors.capture.smbios import memory_device_lines
from engram_diagnose.collectors.parse.figures import UnparsedError
from engram_diagnose.collectors.parse.smbios import MemoryModule, channel_of, parse_memory_devices
from engram_diagnose.engine.facts.fact import Reason
from engram_diagnose.engine.facts.scope import INSTANCE

DDR4, DDR5, RAM = 0x1A, 0x22, 0x07
TABLE = "sys/firmware/dmi/tables/DMI"


def structure(kind: int, formatted: bytes, *strings: str) -> bytes:
    texts = b"".join(text.encode() + b"\0" for text in strings) or b"\0"
    return bytes([kind, 4 + len(formatted)]) + struct.pack("<H", 0x1100) + formatted + texts + b"\0"


def module(slot: str, *, gib: int = 16, kind: int = DDR4, speed: int = 3200, configured: int = 2933, bank: str = "",
           extended: int = 0) -> bytes:  # fmt: skip
    """A memory device of SMBIOS 3.3; 32 GiB and more go into the extended size."""
    size = 0x7FFF if gib >= 32 else gib * 1024
    data = struct.pack("<HHHHHBBBBBHHBBBB", 0, 0xFFFE, 72, 64, size, 9, 0, 1, 2, kind, 0x80, speed, 3, 4, 5, 6)
    data += struct.pack("<BLHHHH", 0, gib * 1024 if gib >= 32 else 0, configured, 1200, 1200, 1200)
    data += bytes(0x54 - 4 - len(data)) + struct.pack("<LL", extended, extended)
    return structure(17, data, slot, bank or "Not Specified", "Samsung", "SERIAL-4711", "TAG-1", "M393A2K43DB3")


END = structure(127, b"")


def host(tmp_path: Path, *devices: bytes, **changes: str) -> Path:
    table = structure(0, bytes(20), "BIOS maker", "1.0") + b"".join(devices) + END
    root = write(tmp_path, {**plain(), **changes})
    (root / TABLE).parent.mkdir(parents=True)
    (root / TABLE).write_bytes(table)
    return root


def test_modules_whose_slots_name_their_channels_give_the_bandwidth(tmp_path: Path) -> None:
    slots = [f"P{socket} CHANNEL {channel}" for socket in (0, 1) for channel in "ABCDEFGH"]
    found = facts(host(tmp_path, *(module("DIMM 1", bank=slot) for slot in slots), module("DIMM 0", gib=0)))
    assert value(found, "host.memory_speed") == 2933e6
    assert value(found, "host.memory_channels") == 16
    assert value(found, "membw.theoretical") == pytest.approx(2933e6 * 8 * 16)
    assert found["membw.theoretical", INSTANCE].quality.startswith("experimental")


def test_two_modules_on_a_channel_are_one_channel(tmp_path: Path) -> None:
    found = facts(host(tmp_path, *(module(f"CPU1_DIMM_{letter}{n}") for letter in "ABCD" for n in (1, 2))))
    assert value(found, "host.memory_channels") == 4


def test_where_slots_do_not_tell_channels_the_bandwidth_is_an_interval(tmp_path: Path) -> None:
    found = facts(host(tmp_path, *(module(f"A{n}", gib=32) for n in range(1, 7))))
    assert value(found, "host.memory_channels") == (2, 6)
    assert value(found, "membw.theoretical") == pytest.approx((2933e6 * 16, 2933e6 * 48))


def test_the_slowest_module_sets_the_speed(tmp_path: Path) -> None:
    found = facts(host(tmp_path, module("DIMM_A1"), module("DIMM_B1", configured=2400)))
    assert value(found, "host.memory_speed") == 2400e6


def test_a_speed_beyond_16_bits_is_read_from_where_it_stands(tmp_path: Path) -> None:
    fast = {"kind": DDR5, "speed": 0xFFFF, "configured": 0xFFFF, "extended": 12_800}
    found = facts(host(tmp_path, module("DIMM_A1", gib=64, **fast)))  # type: ignore[arg-type]
    assert value(found, "host.memory_speed") == 12.8e9


@pytest.mark.parametrize(
    ("devices", "changes", "detail"),
    [
        ([module("DIMM_A1", gib=64)], {"proc/cpuinfo": "vendor_id : X\nflags : sse2 hypervisor\n"}, "virtual machine"),
        ([module("DIMM_A1", gib=64, kind=RAM)], {}, "which kind"),
        ([module("DIMM_A1", gib=64, speed=0, configured=0)], {}, "speed"),
        ([module("DIMM_A1", gib=64, speed=40_000, configured=40_000)], {}, "speed"),
        ([module("DIMM_A1", gib=16)], {}, "smaller"),  # the host has 32 GiB
        ([module("DIMM_A1", gib=0)], {}, "names no memory module"),
        ([], {}, "no memory device"),
    ],
)
def test_what_cannot_be_so_is_unknown(
    tmp_path: Path, devices: list[bytes], changes: dict[str, str], detail: str
) -> None:
    found = facts(host(tmp_path, *devices, **changes))
    for name in ("membw.theoretical", "host.memory_speed", "host.memory_channels"):
        reason, said = why(found, name)
        assert reason is Reason.SOURCE_ABSENT
        assert detail in said


def test_without_the_table_the_reason_is_that_of_reading_it(tmp_path: Path) -> None:
    assert why(facts(write(tmp_path, plain())), "membw.theoretical")[0] is Reason.SOURCE_ABSENT


def test_that_only_root_may_read_the_table_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str, **_: int) -> Reading:
        return failure(PermissionError(errno.EACCES, "Permission denied"), path)

    monkeypatch.setattr(smbios, "read", denied)
    reason, said = why(facts(host(tmp_path, module("DIMM_A1", gib=64))), "membw.theoretical")
    assert reason is Reason.PTRACE_DENIED
    assert "only root" in said


def test_no_serial_number_is_captured() -> None:
    (line,) = memory_device_lines(module("DIMM_A1", bank="BANK 0") + END)
    assert line.endswith("\tDIMM_A1\tBANK 0")
    assert b"4711" not in bytes.fromhex(line.partition("\t")[0])
    assert "4711" not in line
    assert "Samsung" not in line


def test_structures_before_one_that_is_cut_off_are_kept() -> None:
    whole = module("DIMM_A1") + module("DIMM_B1")
    assert len(memory_device_lines(whole)) == 2
    assert len(memory_device_lines(whole[:-20])) == 1
    assert memory_device_lines(bytes([17, 0, 0, 0, 0, 0])) == []


@pytest.mark.parametrize(
    ("slot", "bank", "place"),
    [
        ("DIMM 0", "P0 CHANNEL A", ("0", "a")),
        ("CPU1_DIMM_B2", "", ("1", "b")),
        ("P1-DIMMC1", "P0_Node0_Channel2_Dimm0", ("1", "2")),
        ("DIMM_D1", "NODE 1", ("1", "d")),
        ("ChannelB-DIMM0", "BANK 2", ("", "b")),
        ("A1", "Not Specified", None),
        ("PROC 1 DIMM 8", "", None),
    ],
)
def test_a_slots_name_may_tell_socket_and_channel(slot: str, bank: str, place: tuple[str, str] | None) -> None:
    assert channel_of(MemoryModule(1, DDR4, 1.0, slot, bank)) == place


@given(table=st.one_of(st.binary(max_size=300), st.builds(lambda cut, junk: module("A1")[:cut] + junk,
                                                          st.integers(0, 140), st.binary(max_size=60))))  # fmt: skip
def test_any_table_gives_modules_or_none(table: bytes) -> None:
    lines = memory_device_lines(table)
    for found in parse_memory_devices("\n".join(lines)):
        assert found.size >= 0
        assert found.transfers >= 0


def test_what_is_no_hexadecimal_is_unparsed() -> None:
    with pytest.raises(UnparsedError):
        parse_memory_devices("no figures\tA1\t")
