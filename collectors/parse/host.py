"""What the host is: CPUs, caches, vendor, virtualisation, vector instructions."""

import re
from collections.abc import Mapping
from typing import Final

from engram_diagnose.collectors.parse.figures import Found, Missing, UnparsedError, integer, number
from engram_diagnose.collectors.parse.lines import parse_list, parse_tree
from engram_diagnose.collectors.parse.process import uptime_seconds
from engram_diagnose.collectors.parse.recipe import Key, Recipe
from engram_diagnose.engine.facts.fact import Reason

_IMPLEMENTERS: Final = {
    "0x41": "ARM",
    "0x46": "Fujitsu",
    "0x48": "HiSilicon",
    "0x50": "APM",
    "0x51": "Qualcomm",
    "0x61": "Apple",
    "0xc0": "Ampere",
}
_ARM_PARTS: Final = {
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
    "0xd83": "Neoverse-V3AE",
    "0xd84": "Neoverse-V3",
    "0xd8e": "Neoverse-N3",
}
"""What ARM's kernels leave to the reader: the cores that servers have, by part number."""
_HYPERVISORS: Final = (
    ("amazon", "ec2"),
    ("google", "gce"),
    ("vmware", "vmware"),
    ("virtualbox", "virtualbox"),
    ("xen", "xen"),
    ("qemu", "kvm"),
    ("kvm", "kvm"),
    ("virtual machine", "hyper-v"),
)
_VECTORS: Final = (
    ("avx512f", "avx512"),
    ("avx2", "avx2"),
    ("avx", "avx"),
    ("sse2", "sse"),
    ("sve", "sve"),
    ("asimd", "neon"),
    ("neon", "neon"),
)


_WIDE: Final = frozenset({"avx512", "avx2", "sve", "neon"})
"""Those worth using for arithmetic on embeddings."""


def parse_cpuinfo(text: str) -> dict[str, str]:
    """The first processor of `/proc/cpuinfo`, by lower-case name: `model name	: AMD EPYC 7763`."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields


def parse_cache_size(text: str) -> int:
    """Bytes of `48K`, `32M` or `1024`; raises `UnparsedError`."""
    size = re.fullmatch(r"([0-9]{1,12})([KMG]?)", text.strip())
    if size is None:
        raise UnparsedError(f"{text[:40]!r} is not a size")
    return int(size.group(1)) << {"": 0, "K": 10, "M": 20, "G": 30}[size.group(2)]


def _topology(tree: str, stat: str) -> Mapping[Key, Found]:
    files = parse_tree(tree)
    facts: dict[Key, Found] = {}
    cores = len(parse_list(files.get("online", ""))) or len(re.findall(r"(?m)^cpu[0-9]+ ", stat))
    if cores:
        facts["host.cores"] = float(cores)
    packages = {text for path, text in files.items() if path.endswith("/physical_package_id")}
    if packages:
        facts["host.sockets"] = float(len(packages))
    siblings = [text for path, text in files.items() if path.endswith("/thread_siblings_list")]
    if siblings:
        facts["host.smt"] = float(any(len(parse_list(text)) > 1 for text in siblings))
    domains = {text for path, text in files.items() if path.endswith("/cache/index3/shared_cpu_list")}
    if domains:
        facts["host.l3_domains"] = float(len(domains))
    return {**facts, **_caches(files)}


def _caches(files: Mapping[str, str]) -> Mapping[Key, Found]:
    """Sizes of the caches that the first core sees; a socket may have several of the last level."""
    facts: dict[Key, Found] = {}
    for folder in sorted(path[:-6] for path in files if path.endswith("/level")):
        level, kind = files[f"{folder}/level"].strip(), files.get(f"{folder}/type", "").strip()
        fact = _CACHES.get(level)
        if fact and kind != "Instruction" and f"{folder}/size" in files:
            facts[fact] = float(parse_cache_size(files[f"{folder}/size"]))
        if level == "1" and f"{folder}/coherency_line_size" in files:
            line = integer(files[f"{folder}/coherency_line_size"].strip())
            facts["host.line_bytes"] = float(line)
    return facts


_CACHES: Final = {"1": "host.l1d_bytes", "2": "host.l2_bytes", "3": "host.l3_bytes"}


def _processor(cpuinfo: str) -> Mapping[Key, Found]:
    fields = parse_cpuinfo(cpuinfo)
    maker = fields.get("cpu implementer", "").lower()
    vendor = fields.get("vendor_id") or _IMPLEMENTERS.get(maker, maker)
    part = fields.get("cpu part", "")
    core = _ARM_PARTS.get(part.lower()) if vendor == "ARM" else None
    model = fields.get("model name") or core or (f"{vendor} {part}" if part else "")
    isa = _vectors(fields)
    facts: dict[Key, Found] = {}
    if vendor:
        facts["host.vendor"] = vendor
    if model:
        facts["host.model"] = model
    if isa:
        facts |= {"simd.isa": isa, "simd.available": float(isa in _WIDE)}
    return facts


def _vectors(fields: Mapping[str, str]) -> str:
    """The widest vector instructions among the CPU's flags; empty when it states no flags."""
    flags = frozenset((fields.get("flags") or fields.get("features") or "").split())
    return next((isa for flag, isa in _VECTORS if flag in flags), "none") if flags else ""


def is_guest(cpuinfo: str) -> bool:
    """Whether the CPU says that a hypervisor runs it; ARM's says nothing."""
    return "hypervisor" in parse_cpuinfo(cpuinfo).get("flags", "").split()


def _virtualisation(cpuinfo: str, product: str, container: str) -> Mapping[Key, Found]:
    if container.strip() not in ("", "none"):
        return {"host.virt": "container"}
    guest = is_guest(cpuinfo)
    text = product.lower()
    known = next((name for word, name in _HYPERVISORS if word in text), "")
    if guest or (known and "flags" not in parse_cpuinfo(cpuinfo)):
        return {"host.virt": known or "vm"}
    if "flags" in parse_cpuinfo(cpuinfo) or product:
        return {"host.virt": "none"}
    return {"host.virt": Missing(Reason.SOURCE_ABSENT, "neither CPU nor firmware says it")}


def _system(uname: str) -> Mapping[Key, Found]:
    """`release 6.1.0-18-amd64` and `machine x86_64`."""
    fields = dict(line.split(" ", 1) for line in uname.splitlines() if " " in line)
    names = {"host.kernel": "release", "host.arch": "machine"}
    return {fact: fields[name] for fact, name in names.items() if fields.get(name)}


def _uptime(text: str) -> Mapping[Key, Found]:
    return {"host.uptime": uptime_seconds(text)}


def _load(text: str) -> Mapping[Key, Found]:
    """`0.40 0.62 0.42 2/117 27581`: over one, five and fifteen minutes."""
    return {"host.load_average": number([*text.split(), ""][0])}


HOST: Final = (
    Recipe(("host.load_average",), _load, texts=("/proc/loadavg",)),
    Recipe(
        ("host.cores", "host.sockets", "host.smt", "host.line_bytes", "host.l3_domains", *_CACHES.values()),
        _topology,
        texts=("/sys/devices/system/cpu",),
        optional=("/proc/stat",),
    ),
    Recipe(
        ("host.vendor", "host.model", "simd.isa", "simd.available"),
        _processor,
        texts=("/proc/cpuinfo",),
    ),
    Recipe(
        ("host.virt",),
        _virtualisation,
        texts=("/proc/cpuinfo",),
        optional=("/sys/class/dmi/id", "container"),
    ),
    Recipe(("host.kernel", "host.arch"), _system, texts=("uname",)),
    Recipe(("host.uptime",), _uptime, texts=("/proc/uptime",)),
)
"""The machine itself."""
