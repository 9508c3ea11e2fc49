"""What the machine says about itself: counters, memory, CPU topology, NUMA nodes, network."""

from __future__ import annotations

import os
import platform

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.reading import Reading, gather, read
from engram_diagnose.collectors.capture.smbios import memory_devices

_STATIC = ("version", "swaps", "sys/kernel/numa_balancing", "sys/kernel/threads-max", "sys/kernel/pid_max")
_MOVING = (
    "stat",
    "meminfo",
    "vmstat",
    "loadavg",
    "diskstats",
    "uptime",
    "pressure/cpu",
    "pressure/memory",
    "pressure/io",
)
_NETWORK = ("net/dev", "net/snmp")

_HUGE_PAGES = ("kernel/mm/transparent_hugepage/enabled", "kernel/mm/transparent_hugepage/defrag")

TOPOLOGY = (
    "online",
    "smt/active",
    "cpu[0-9]*/topology/physical_package_id",
    "cpu[0-9]*/topology/core_id",
    "cpu[0-9]*/topology/thread_siblings_list",
    "cpu0/cache/index*/level",
    "cpu0/cache/index*/type",
    "cpu0/cache/index*/size",
    "cpu0/cache/index*/coherency_line_size",
    "cpu[0-9]*/cache/index3/shared_cpu_list",
)
FREQUENCIES = (
    "cpu[0-9]*/cpufreq/scaling_cur_freq",
    "cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    "cpu[0-9]*/thermal_throttle/core_throttle_count",
)
NODES = ("online", "node[0-9]*/cpulist", "node[0-9]*/meminfo", "node[0-9]*/distance")
LINKS = ("*/speed", "*/operstate", "*/type", "*/device/uevent")
_CONTAINER_MARKS = (".dockerenv", "run/.containerenv", "run/systemd/container")
PRODUCT = ("sys_vendor", "product_name")


def host_static(machine: Machine) -> list[Answer]:
    """
    What does not change while one looks: kernel, CPUs and caches, nodes, huge-page mode, product.
    """
    answers = [machine.file("host", f"/proc/{name}", machine.proc(name)) for name in _STATIC]
    answers.append(machine.answer("host", "/proc/cpuinfo", _cpuinfo(machine)))
    answers.append(machine.answer("host", "uname", Reading(_uname())))
    answers.append(machine.answer("host", "sysconf", Reading(_sysconf())))
    answers.append(machine.answer("host", "container", _container(machine)))
    answers += [machine.file("host", f"/sys/{mode}", machine.sys(mode)) for mode in _HUGE_PAGES]
    answers.append(machine.answer("host", "memory devices", memory_devices(machine)))
    answers.append(_tree(machine, "devices/system/cpu", TOPOLOGY))
    answers.append(_tree(machine, "devices/system/node", NODES))
    answers.append(_tree(machine, "class/net", LINKS))
    answers.append(_tree(machine, "class/dmi/id", PRODUCT))
    return answers


def host_moving(machine: Machine, *, pid: int | None = None) -> list[Answer]:
    """
    One snapshot of the counters.

    The network's are those of `pid`'s network namespace where one is given.
    """
    answers = [machine.file("host", f"/proc/{name}", machine.proc(name)) for name in _MOVING]
    answers += [_network(machine, name, pid) for name in _NETWORK]
    answers.append(_tree(machine, "devices/system/cpu", FREQUENCIES, "/sys/cpu/frequencies"))
    nodes = gather(machine.sys("devices/system/node"), ("node[0-9]*/numastat",))
    answers.append(machine.answer("host", "/sys/node/numastat", nodes))
    return answers


def _tree(machine: Machine, path: str, patterns: tuple[str, ...], name: str = "") -> Answer:
    return machine.answer("host", name or f"/sys/{path}", gather(machine.sys(path), patterns))


def _network(machine: Machine, name: str, pid: int | None) -> Answer:
    path = machine.proc(name if pid is None else f"{pid}/{name}")
    return machine.file("host", f"/proc/{name}", path)


def _cpuinfo(machine: Machine) -> Reading:
    reading = read(machine.proc("cpuinfo"))
    return reading if reading.body is None else Reading(trim_cpuinfo(reading.body))


def trim_cpuinfo(text: str) -> str:
    """The first processor in full, of the others number and frequency: they repeat 1.5 KB each."""
    first, *others = text.split("\n\n")
    kept = ("processor", "cpu MHz")
    rest = [line for block in others for line in block.splitlines() if line.startswith(kept)]
    return "\n".join([first.rstrip("\n"), *rest]) + "\n"


def _container(machine: Machine) -> Reading:
    """Whether this program runs in a container, by the marks that engines leave in the root folder."""
    root = machine.proc("self/root")
    marks = [mark for mark in _CONTAINER_MARKS if os.path.exists(os.path.join(root, mark))]
    return Reading(f"{marks[0]}\n" if marks else "none\n")


def _uname() -> str:
    return f"system {platform.system()}\nrelease {platform.release()}\nmachine {platform.machine()}\n"


def _sysconf() -> str:
    return f"CLK_TCK {os.sysconf('SC_CLK_TCK')}\nPAGE_SIZE {os.sysconf('SC_PAGE_SIZE')}\n"
