"""What the firmware says of the memory modules, without what names them."""

from __future__ import annotations

from engram_diagnose.collectors.capture.reading import Reading, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engram_diagnose.collectors.capture.machine import Machine

_TABLE = "firmware/dmi/tables/DMI"
_MEMORY_DEVICE = 17
_END = 127
_HEADER_BYTES = 4
_LOCATORS = (0x10, 0x11)
_STRING_FIELDS = (0x10, 0x11, 0x17, 0x18, 0x19, 0x1A, 0x2B)
"""Where a memory device names its slot, bank, maker, serial number, asset tag, part and firmware."""


def memory_devices(machine: Machine) -> Reading:
    """
    The memory devices of the SMBIOS table, one a line: the formatted part in hexadecimal, then slot and bank.

    Serial numbers and all other strings are left out; the three are separated by tabs. The table is root's to read.
    """
    table = read(machine.sys(_TABLE))
    if table.body is None:
        denied = table.reason == "PTRACE_DENIED"
        return Reading(None, table.reason, f"/sys/{_TABLE}: only root may read it") if denied else table
    lines = memory_device_lines(table.body.encode("utf-8", "surrogateescape"))
    absent = Reading(None, "SOURCE_ABSENT", "the firmware's table holds no memory device")
    return Reading("".join(f"{line}\n" for line in lines)) if lines else absent


def memory_device_lines(table: bytes) -> list[str]:
    """
    The lines of the structures of type 17.

    `structure := type length handle:2 formatted strings; strings := (text NUL)* NUL NUL?`. What comes after a structure
    that is cut off or has no length is left out.
    """
    lines = []
    at = 0
    while at + _HEADER_BYTES <= len(table):
        kind, length = table[at], table[at + 1]
        end = table.find(b"\0\0", at + length)
        if kind == _END or length < _HEADER_BYTES or end < 0:
            break
        if kind == _MEMORY_DEVICE:
            lines.append(_line(table[at : at + length], table[at + length : end].split(b"\0")))
        at = end + 2
    return lines


def _line(formatted: bytes, strings: list[bytes]) -> str:
    kept = bytearray(formatted)
    for field in _STRING_FIELDS:
        if field < len(kept):
            kept[field] = 0
    slots = [_string(formatted, field, strings) for field in _LOCATORS]
    return "\t".join([bytes(kept).hex(), *slots])


def _string(formatted: bytes, field: int, strings: list[bytes]) -> str:
    """A string by its number, counted from 1; printable ASCII alone."""
    number = formatted[field] if field < len(formatted) else 0
    text = strings[number - 1] if 0 < number <= len(strings) else b""
    return "".join(chr(byte) for byte in text if 32 <= byte < 127).strip()
