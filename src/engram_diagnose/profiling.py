"""
The deep look: everything a host can tell of the server, in the guide's eight steps, with what collecting cost.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.perf_record import STACKS
from engram_diagnose.collectors.parse.stacks import Profile, collapsed, places, read_profile
from engram_diagnose.diagnosing import collect_bundle, diagnosis_document

if TYPE_CHECKING:
    from engram_diagnose.collectors.gather import Request

Json = dict[str, Any]
Say = Callable[[str], None]

SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Baseline": (
        "ops.rate", "op.rate", "op.error_share", "ops.queue_depth", "client.connections", "workload.read_share",
        "activation.cache_hit_ratio", "tier.hit_share", "index.nodes", "data.memory_bytes", "process.uptime",
    ),
    "CPU": (
        "cpu.process_cores", "cpu.usable_cores", "cpu.user_share", "cpu.sys_share", "cpu.host_busy_share",
        "cpu.steal_share", "cpu.freq_ratio", "cgroup.cpu_quota", "cgroup.cpu_throttled_period_share", "pmu.ipc",
        "pmu.backend_stall_share", "pmu.memory_bound_share", "pmu.branch_miss_ratio", "cache.miss_ratio",
        "cache.llc_miss_ratio", "cache.llc_mpki", "tlb.walk_pki", "simd.packed_share", "simd.hot_code_packed_share",
        "prof.samples", "prof.lost_share", "prof.unknown_frame_share",
    ),
    "NUMA": (
        "numa.nodes", "numa.max_distance", "numa.balancing_on", "numa.allowed_nodes", "numa.policy", "numa.mem_share",
        "numa.cpu_share", "numa.node_mem_free", "numa.remote_access_share", "numa.foreign_alloc_rate",
    ),
    "Memory": (
        "mem.rss", "mem.heap", "mem.file", "mem.pss", "mem.swap", "mem.anon_huge_share", "mem.hugetlb_bytes",
        "mem.thp_mode", "mem.minor_fault_rate", "mem.major_fault_rate", "mem.available", "mem.available_share",
        "cgroup.mem_limit", "cgroup.mem_used_share", "psi.memory_some_share", "membw.total", "membw.used_share",
        "membw.latency",
    ),
    "Threads and locks": (
        "sched.threads", "sched.blocked_share", "sched.runq_wait_share", "sched.d_state_share", "sched.top_wchan",
        "sched.voluntary_rate", "sched.involuntary_rate", "sched.thread_cpu_imbalance", "lock.futex_rate",
        "lock.yield_rate", "lock.futex_wait_share", "lock.hot_addresses", "lock.hot_address_top_share",
        "lock.spin_symbol_share", "lock.wait_mean", "coherence.hitm", "coherence.top_symbol", "psi.cpu_some_share",
    ),
    "I/O": (
        "io.read_rate", "io.write_rate", "io.write_calls_rate", "io.bytes_per_write", "io.fsync_rate", "io.fsync_p99",
        "io.fsync_wait_share", "io.fsync_symbol_share", "disk.iops", "disk.await", "disk.util_share",
        "disk.queue_depth", "disk.flush_rate", "disk.flush_latency", "disk.rotational", "disk.write_cache",
        "disk.scheduler", "fs.type", "fs.free_share", "psi.io_some_share",
    ),
    "Latency": ("op.latency.p50", "op.latency.p90", "op.latency.p95", "op.latency.p99", "op.latency.p999"),
}  # fmt: skip
"""The guide's steps and the facts of each; the eighth is the list of bottlenecks, which stands first."""

_TOP_FUNCTIONS: Final = 10


def collect_profile(request: "Request", packs: Iterable[Path], *, say: Say, progress: Say) -> Bundle:
    """A bundle with everything."""
    return collect_bundle(replace(request, profile=True), packs, say=say, progress=progress)


def profile_document(bundle: Bundle, packs: Iterable[Path]) -> Json:
    """The diagnosis of a bundle, with the sections of a profile, its top functions, and what collecting cost."""
    diagnosis = diagnosis_document(bundle, packs)
    profile = profile_of(bundle)
    return {
        "schema": "engram-diagnose/profile/v1",
        "sections": [_section(title, names, diagnosis["facts"]) for title, names in SECTIONS.items()],
        "functions": _functions(profile) if profile is not None else [],
        "costs": _newest(bundle, "costs"),
        "guard": _newest(bundle, "guard"),
        "diagnosis": diagnosis,
    }


def profile_of(bundle: Bundle) -> Profile | None:
    """The CPU profile in a bundle, if there is one that can be read."""
    answer = next((one for one in reversed(bundle.of("profile")) if one.name == STACKS), None)
    found = read_profile(answer)
    return found if isinstance(found, Profile) else None


def _section(title: str, names: Iterable[str], facts: Iterable[Json]) -> Json:
    by_name: dict[str, list[Json]] = {}
    for fact in facts:
        by_name.setdefault(fact["name"], []).append(fact)
    return {"title": title, "facts": [fact for name in names for fact in by_name.get(name, ())]}


def _functions(profile: Profile) -> list[Json]:
    """Where the samples were: in the function itself, and in what it called."""
    kept = max(1, profile.kept)
    found = places(profile)[:_TOP_FUNCTIONS]
    return [{"name": one.name, "self_share": one.own / kept, "total_share": one.total / kept} for one in found]


def _newest(bundle: Bundle, name: str) -> Json | None:
    answer = next((one for one in reversed(bundle.of("collection")) if one.name == name and one.answered), None)
    try:
        found = json.loads(answer.body or "") if answer is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def make_folder(folder: Path) -> None:
    """
    Make the folder that the files go to, before anything is measured: what was measured must have a place.

    Raises `click.ClickException` for a folder that cannot be made or is not empty.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise click.ClickException(f"{folder} is not empty; name a folder that is not there yet (--directory)")
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.ClickException(f"cannot make {folder}: {reason}; name another --directory") from None


def write_files(folder: Path, bundle: Bundle, document: Json) -> list[Path]:
    """
    Write bundle, report, flame graph and stacks into a folder; what was written, the bundle first.

    Raises `BundleError` and `CannotWriteError`, for a full disk for one.
    """
    from engram_diagnose.cli.output import write_text
    from engram_diagnose.collectors.bundle import write_bundle
    from engram_diagnose.render.html import render_html
    from engram_diagnose.render.markdown import render_markdown

    written = [folder / "profile.bundle"]
    write_bundle(written[0], bundle)
    texts = {
        "report.md": render_markdown(document["diagnosis"]),
        "report.html": render_html(document["diagnosis"]),
    }
    profile = profile_of(bundle)
    if profile is not None:
        texts |= _of_profile(profile, bundle.instance)
    for name, text in texts.items():
        write_text(folder / name, text)
        written.append(folder / name)
    return written


def _of_profile(profile: Profile, instance: str) -> dict[str, str]:
    from engram_diagnose.render.flamegraph import render_flamegraph, render_speedscope

    title = f"CPU profile of {instance}" if instance else "CPU profile"
    return {
        "flamegraph.html": render_flamegraph(profile, title=title),
        "stacks.collapsed": collapsed(profile),
        "speedscope.json": render_speedscope(profile, title=title),
    }
