"""Speed and channels of the memory modules, as far as the firmware can be believed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.parse.figures import Between, Missing, Noted, Said, UnparsedError
from engram_diagnose.collectors.parse.host import is_guest
from engram_diagnose.collectors.parse.lines import parse_sizes
from engram_diagnose.collectors.parse.recipe import Key, Recipe
from engram_diagnose.engine.facts.fact import Reason

_KNOWN_TYPES: Final = frozenset({0x12, 0x13, 0x18, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x22, 0x23})
"""DDR, DDR2, DDR3, DDR4, LPDDR to LPDDR5, DDR5: what has transfers of 64 bits a channel (SMBIOS 3.7, table 78)."""

_CHANNEL_BYTES: Final = 8
_MODULES_A_CHANNEL: Final = 3
"""No server board puts more modules on one channel."""

_UNKNOWN_16: Final = 0xFFFF
_EXTENDED_SIZE: Final = 0x7FFF
_SLOWEST, _FASTEST = 200e6, 20e9
"""Transfers per second between which every module of these types lies: DDR-200, and twice what DDR5 goes up to."""


@dataclass(frozen=True, slots=True)
class MemoryModule:
    """One memory device: bytes (0 where the slot is empty), type, transfers per second (0 unknown), and its slot."""

    size: int
    type: int
    transfers: float
    slot: str
    bank: str


def parse_memory_devices(text: str) -> list[MemoryModule]:
    """Lines of `formatted-part-in-hex TAB slot TAB bank`, empty slots included; raises `UnparsedError`."""
    return [_module(*[*line.split("\t"), "", ""][:3]) for line in text.splitlines() if line.strip()]


def _module(formatted: str, slot: str, bank: str) -> MemoryModule:
    try:
        data = bytes.fromhex(formatted)
    except ValueError:
        raise UnparsedError(f"{formatted[:40]!r} is no memory device") from None
    return MemoryModule(_size(data), _figure(data, 0x12, 1), _transfers(data), slot, bank)


def _figure(data: bytes, at: int, size: int) -> int:
    """An unsigned figure of the formatted part; 0 in tables of a version that does not have it yet."""
    return int.from_bytes(data[at : at + size], "little") if at + size <= len(data) else 0


def _size(data: bytes) -> int:
    size = _figure(data, 0x0C, 2)
    if size == _UNKNOWN_16:
        return 0
    if size == _EXTENDED_SIZE:
        return (_figure(data, 0x1C, 4) & 0x7FFFFFFF) << 20
    return (size & 0x7FFF) << 10 if size & 0x8000 else size << 20


def _transfers(data: bytes) -> float:
    """The speed it is run at; the one it is made for where that is not said, which is in MT/s as well."""
    configured = _wide(_figure(data, 0x20, 2), _figure(data, 0x58, 4))
    return 1e6 * (configured or _wide(_figure(data, 0x15, 2), _figure(data, 0x54, 4)))


def _wide(short: int, long: int) -> int:
    return long & 0x7FFFFFFF if short == _UNKNOWN_16 else short


_CHANNEL: Final = re.compile(r"channel[ _-]{0,2}([0-9]{1,2}|[a-z])(?![a-z])", re.IGNORECASE)
_LETTER: Final = re.compile(r"dimm[ _-]{0,2}([a-z])[ _-]{0,2}[0-9]", re.IGNORECASE)
_SOCKET: Final = re.compile(r"(?:cpu|proc(?:essor)?|node|socket|^p)[ _-]{0,2}([0-9]{1,2})", re.IGNORECASE)


def channel_of(module: MemoryModule) -> tuple[str, str] | None:
    """
    Socket and channel as its slot or bank names them: `P0_Node0_Channel1_Dimm0`, `CPU1_DIMM_A2`; None where neither
    does. A bare `A1` tells nothing: for one maker the letter is the channel, for the next the socket.
    """
    place = f"{module.bank} {module.slot}"
    found = _CHANNEL.search(place) or _LETTER.search(module.slot)
    socket = _SOCKET.search(module.slot) or _SOCKET.search(module.bank)
    return (socket.group(1) if socket else "", found.group(1).lower()) if found else None


_QUALITY: Final = "experimental: the form of these tables is known from their standard only"


def _memory(devices: str, cpuinfo: str, meminfo: str) -> Mapping[Key, Said]:
    modules = [module for module in parse_memory_devices(devices) if module.size]
    doubt = _doubt(modules, cpuinfo, parse_sizes(meminfo).get("MemTotal", 0))
    if doubt is not None:
        return dict.fromkeys(_MEMORY, doubt)
    speed = min(module.transfers for module in modules)  # a channel runs as fast as its slowest module
    few, many = _channels(modules)
    figures = {"host.memory_channels": (few, many), "host.memory_speed": (speed, speed),
               "membw.theoretical": (speed * _CHANNEL_BYTES * few, speed * _CHANNEL_BYTES * many)}  # fmt: skip
    return {name: Noted(low if low == high else Between(low, high), _QUALITY) for name, (low, high) in figures.items()}


def _channels(modules: list[MemoryModule]) -> tuple[float, float]:
    """How many are populated, at least and at most: exactly, where every module's slot names its channel."""
    named = [channel_of(module) for module in modules]
    if None not in named:
        return (float(len(set(named))),) * 2
    return float(-(-len(modules) // _MODULES_A_CHANNEL)), float(len(modules))


def _doubt(modules: list[MemoryModule], cpuinfo: str, total: int) -> Missing | None:
    """Why these modules are not to be believed."""
    if is_guest(cpuinfo):
        return Missing(Reason.SOURCE_ABSENT, "a virtual machine's firmware makes up its memory modules")
    if not modules:
        return Missing(Reason.SOURCE_ABSENT, "the firmware names no memory module")
    if any(module.type not in _KNOWN_TYPES for module in modules):
        return Missing(Reason.SOURCE_ABSENT, "the firmware does not say which kind of memory the modules are")
    if any(not _SLOWEST <= module.transfers <= _FASTEST for module in modules):
        return Missing(Reason.SOURCE_ABSENT, "the firmware gives no speed of the modules that could be one")
    if sum(module.size for module in modules) < total:
        return Missing(Reason.SOURCE_ABSENT, "the modules that the firmware names are smaller than the memory there is")
    return None


_MEMORY: Final = ("membw.theoretical", "host.memory_speed", "host.memory_channels")

SMBIOS: Final = (Recipe(_MEMORY, _memory, texts=("memory devices", "/proc/cpuinfo"), optional=("/proc/meminfo",)),)
"""The memory modules of a machine that is none in another."""
