"""Parsers of kernel files on samples of real ones, and on what real ones do at the edges."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.host import trim_cpuinfo
from engram_diagnose.collectors.capture.process import sum_numa_maps
from engram_diagnose.collectors.parse.cgroup import CGROUP, cpu_quota, memory_limit
from engram_diagnose.collectors.parse.cpu import CPU, PROCESS_CPU, parse_stat
from engram_diagnose.collectors.parse.disk import DISK, parse_diskstats
from engram_diagnose.collectors.parse.figures import UnparsedError
from engram_diagnose.collectors.parse.host import HOST, parse_cache_size
from engram_diagnose.collectors.parse.lines import bracketed, parse_counts, parse_list, parse_tree
from engram_diagnose.collectors.parse.memory import MEMORY
from engram_diagnose.collectors.parse.network import NETWORK
from engram_diagnose.collectors.parse.numa import NUMA
from engram_diagnose.collectors.parse.process import PROCESS, allowed_cpus, parse_process_stat
from engram_diagnose.collectors.parse.recipe import Answers, Recipe, facts_of
from engram_diagnose.collectors.parse.threads import SCHEDULING
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Value

RECORDINGS = Path(__file__).parents[3] / "../shared/recordings"


def facts_from(
    recipes: tuple[Recipe, ...], first: Mapping[str, str], then: Mapping[str, str] | None = None
) -> dict[str, Fact]:
    """The facts of texts by source, of a second snapshot 2 s later where there is one."""
    answers = [Answer("host", name, 1.0, "id", text) for name, text in first.items()]
    answers += [Answer("host", name, 3.0, "id", text) for name, text in (then or {}).items()]
    return {fact.name: fact for fact in facts_of(recipes, Answers(answers))}


def reason(fact: Fact) -> Reason:
    assert fact.unknown is not None, fact
    return fact.unknown.reason


STAT = "113 (tokio) R) S) S 1 0 0 0 -1 4194304 676 0 3 0 183 463 0 0 20 0 2 0 491 219525120 51406"


def test_a_name_with_brackets_does_not_shift_the_fields() -> None:
    stat = parse_process_stat(STAT)
    assert (stat.state, stat.user_ticks, stat.system_ticks, stat.start_ticks) == ("S", 183, 463, 491)
    assert stat.processor == -1


def test_short_lines_of_process_times_are_unparsed() -> None:
    with pytest.raises(UnparsedError):
        parse_process_stat("113 (engram) S 1 0 0")


def test_cpu_times_may_lack_columns_of_newer_kernels() -> None:
    assert parse_stat("cpu 1 2 3 4\n")["cpu"].total == 10


def test_iowait_that_falls_counts_as_none() -> None:
    facts = facts_from(CPU, {"/proc/stat": "cpu 10 0 0 10 50 0 0 0"}, {"/proc/stat": "cpu 20 0 0 20 40 0 0 0"})
    assert facts["cpu.iowait_share"].value == (0.0, 0.0)
    assert facts["cpu.host_busy_share"].value == (0.5, 0.5)


def test_stolen_time_is_work_that_waited() -> None:
    facts = facts_from(CPU, {"/proc/stat": "cpu 0 0 0 0 0 0 0 0"}, {"/proc/stat": "cpu 50 0 0 25 0 0 0 25"})
    assert facts["cpu.host_busy_share"].value == (0.75, 0.75)
    assert facts["cpu.steal_share"].value == (0.25, 0.25)


def process_of(ticks: int) -> str:
    return f"113 (engram) S 1 0 0 0 -1 4194304 676 0 3 0 {ticks} 0 0 0 20 0 2 0 491 219525120 51406"


def neighbours(allowed: str) -> dict[str, Fact]:
    """A server that used one core's worth of CPUs 0 and 1, which were full, while CPUs 2 and 3 idled."""
    after = "cpu 400 0 0 400\ncpu0 200 0 0 0\ncpu1 200 0 0 0\ncpu2 0 0 0 200\ncpu3 0 0 0 200\n"
    common = {"sysconf": "CLK_TCK 100\n", "/proc/PID/status": f"Name:\tengram\nCpus_allowed_list:\t{allowed}\n"}
    before = "".join(f"{name} 0 0 0 0\n" for name in ("cpu", "cpu0", "cpu1", "cpu2", "cpu3"))
    return facts_from(
        PROCESS_CPU,
        common | {"/proc/stat": before, "/proc/PID/stat": process_of(0)},
        {"/proc/stat": after, "/proc/PID/stat": process_of(200)},
    )


@pytest.mark.parametrize(("allowed", "busy", "others"), [("0-1", 1.0, 1.0), ("0-3", 0.5, 1.0), ("2-3", 0.0, 0.0)])
def test_only_the_cpus_that_a_process_may_use_count_for_it(allowed: str, busy: float, others: float) -> None:
    facts = neighbours(allowed)
    assert facts["cpu.allowed_busy_share"].value == (busy, busy)
    assert facts["cpu.allowed_neighbour_cores"].value == (others, others)
    assert facts["cpu.neighbour_cores"].value == (1.0, 1.0)


def test_cpus_that_are_not_told_apart_are_unknown_and_not_idle() -> None:
    facts = neighbours("64-71")
    assert reason(facts["cpu.allowed_busy_share"]) is Reason.SOURCE_ABSENT
    assert reason(facts["cpu.allowed_neighbour_cores"]) is Reason.SOURCE_ABSENT


@pytest.mark.parametrize(
    ("text", "members"),
    [("0-3", {0, 1, 2, 3}), ("0,2-3", {0, 2, 3}), ("", set()), ("7\n", {7})],
)
def test_lists_of_cpus(text: str, members: set[int]) -> None:
    assert parse_list(text) == members


@pytest.mark.parametrize("text", ["3-1", "a", "0-99999999", "-1", "1--2"])
def test_what_is_no_list_of_cpus_is_unparsed(text: str) -> None:
    with pytest.raises(UnparsedError):
        parse_list(text)


def test_cpus_that_are_not_online_cannot_be_used() -> None:
    status = "Cpus_allowed_list:\t0-127\n"
    assert allowed_cpus(status, "online:0-3\n") == {0, 1, 2, 3}
    assert len(allowed_cpus(status)) == 128
    assert allowed_cpus("", "online:0-3\n") == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("text", "choice"),
    [("none [mq-deadline] kyber bfq", "mq-deadline"), ("none", "none"), ("a b", None), ("", None)],
)
def test_the_choice_stands_in_brackets(text: str, choice: str | None) -> None:
    assert bracketed(text) == choice


@pytest.mark.parametrize(("text", "size"), [("48K", 49152), ("32M\n", 1 << 25), ("1024", 1024)])
def test_cache_sizes(text: str, size: int) -> None:
    assert parse_cache_size(text) == size


V1_CPU = "version:1\n0/cpu.cfs_quota_us:{}\n0/cpu.cfs_period_us:100000\n0/cpu.stat:nr_periods {}\n0/cpu.stat:nr_throttled {}\n0/cpu.stat:throttled_time {}\n"  # noqa: E501
STATUS = {"/proc/PID/status": "Cpus_allowed_list:\t0-1\n"}


def test_version_1_groups_are_read_as_well() -> None:
    facts = facts_from(
        CGROUP,
        {"cgroup/cpu": V1_CPU.format(50000, 10, 0, 0), **STATUS},
        {"cgroup/cpu": V1_CPU.format(50000, 20, 5, 2_000_000_000)},
    )
    assert facts["cgroup.cpu_quota"].value == (0.5, 0.5)
    assert facts["cgroup.cpu_throttled_period_share"].value == (0.5, 0.5)
    assert facts["cgroup.cpu_throttled_time_share"].value == (0.5, 1.0)


def test_without_a_quota_nothing_is_throttled_and_the_quota_has_no_meaning() -> None:
    text = {"cgroup/cpu": V1_CPU.format(-1, 0, 0, 0)}
    facts = facts_from(CGROUP, text, text)
    assert facts["cgroup.cpu_quota"].status is Status.NOT_APPLICABLE
    assert facts["cgroup.cpu_throttled_period_share"].value == (0.0, 0.0)


def test_with_a_quota_and_no_period_in_between_the_share_is_unknown() -> None:
    text = {"cgroup/cpu": V1_CPU.format(50000, 10, 5, 0), **STATUS}
    facts = facts_from(CGROUP, text, text)
    assert reason(facts["cgroup.cpu_throttled_period_share"]) is Reason.TOO_FEW_SAMPLES


def test_the_tightest_level_counts() -> None:
    assert cpu_quota("0/cpu.max:max 100000\n1/cpu.max:400000 100000\n2/cpu.max:200000 100000\n") == 2
    assert memory_limit("0/memory.max:max\n1/memory.max:100\n2/memory.max:50\n") == 50
    assert memory_limit("0/memory.limit_in_bytes:9223372036854771712\n") is None
    assert memory_limit("0/memory.max:100\n0/memory.high:80\n") == 80


def test_version_1_counts_hits_of_the_limit_as_a_proxy() -> None:
    first = {"cgroup/memory": "version:1\n0/memory.failcnt:10\n0/memory.limit_in_bytes:1000\n"}
    then = {
        "cgroup/memory": "version:1\n0/memory.failcnt:30\n0/memory.limit_in_bytes:1000\n"
        "0/memory.usage_in_bytes:900\n0/memory.oom_control:oom_kill_disable 0\n"
        "0/memory.oom_control:oom_kill 2\n"
    }
    facts = facts_from(CGROUP, first, then)
    assert facts["cgroup.mem_high_event_rate"].value == (10.0, 10.0)
    assert facts["cgroup.mem_high_event_rate"].status is Status.PROXY
    assert facts["cgroup.mem_used_share"].value == (0.9, 0.9)
    assert facts["cgroup.oom_kills"].value == (2.0, 2.0)


DISKSTATS = "   8  0 sda {} 0 0 {} {} 0 0 {} 0 {} {} 0 0 0 0{}\n"
DEVICE = {"storage/device": "name:sda\nqueue/rotational:1\nqueue/scheduler:[none]\n"}


def test_what_is_reclaimed_for_a_groups_limit_is_counted_by_the_group_alone() -> None:
    first, then = ({"cgroup/memory": f"version:2\n0/memory.max:1000\n0/memory.stat:pgscan_direct {count}\n"}
                   for count in (100, 900))  # fmt: skip
    assert facts_from(CGROUP, first, then)["cgroup.mem_direct_reclaim_rate"].value == (400, 400)
    old = {"cgroup/memory": "version:1\n0/memory.limit_in_bytes:1000\n0/memory.stat:total_inactive_file 4\n"}
    assert reason(facts_from(CGROUP, old, old)["cgroup.mem_direct_reclaim_rate"]) is Reason.SOURCE_ABSENT


def test_disk_figures_are_differences_of_counters() -> None:
    facts = facts_from(
        DISK,
        {"/proc/diskstats": DISKSTATS.format(0, 0, 0, 0, 0, 0, " 0 0"), **DEVICE},
        {"/proc/diskstats": DISKSTATS.format(100, 50, 300, 150, 1000, 4000, " 40 80")},
    )
    assert facts["disk.iops"].value == (200.0, 200.0)
    assert facts["disk.await"].value == pytest.approx((0.0005, 0.0005))
    assert facts["disk.util_share"].value == (0.5, 0.5)
    assert facts["disk.queue_depth"].value == (2.0, 2.0)
    assert facts["disk.flush_rate"].value == (20.0, 20.0)
    assert facts["disk.flush_latency"].value == pytest.approx((0.002, 0.002))
    assert facts["disk.rotational"].value == (1.0, 1.0)
    assert facts["disk.scheduler"].value == "none"
    assert str(facts["disk.iops"].scope) == "{device=sda}"


def test_sectors_are_of_512_bytes_on_every_device() -> None:
    row = "8 0 sda 0 0 {} 0 0 0 {} 0 0 0 0\n"
    facts = facts_from(
        DISK,
        {"/proc/diskstats": row.format(0, 0), **DEVICE},
        {"/proc/diskstats": row.format(8, 4000)},
    )
    assert facts["disk.read_rate"].value == (2048.0, 2048.0)
    assert facts["disk.write_rate"].value == (1_024_000.0, 1_024_000.0)


def test_kernels_before_5_5_count_no_flushes() -> None:
    text = {"/proc/diskstats": DISKSTATS.format(1, 1, 1, 1, 1, 1, "")}
    facts = facts_from(DISK, {**text, **DEVICE}, text)
    assert reason(facts["disk.flush_rate"]) is Reason.KERNEL_CONFIG


def test_an_idle_disk_has_no_latency() -> None:
    text = {"/proc/diskstats": DISKSTATS.format(1, 1, 1, 1, 1, 1, " 1 1")}
    facts = facts_from(DISK, {**text, **DEVICE}, text)
    assert facts["disk.iops"].value == (0.0, 0.0)
    assert reason(facts["disk.await"]) is Reason.TOO_FEW_SAMPLES
    assert reason(facts["disk.flush_latency"]) is Reason.TOO_FEW_SAMPLES


def test_a_device_that_is_not_counted_is_absent() -> None:
    text = {"/proc/diskstats": ""}
    facts = facts_from(DISK, {**text, **DEVICE}, text)
    assert reason(facts["disk.iops"]) is Reason.SOURCE_ABSENT
    assert parse_diskstats("") == {}


def task(run: int, wait: int) -> str:
    return f"7/stat:{STAT}\n7/schedstat:{run} {wait} 9\n"


def test_a_kernel_without_run_times_is_said() -> None:
    text = {"/proc/PID/task": f"7/stat:{STAT}\n", "/proc/PID/status": ""}
    facts = facts_from(SCHEDULING, text, text)
    assert reason(facts["sched.blocked_share"]) is Reason.KERNEL_CONFIG
    assert reason(facts["sched.migration_rate"]) is Reason.KERNEL_CONFIG
    assert facts["sched.threads"].value == (1.0, 1.0)


def test_threads_that_never_ran_have_no_waiting_share() -> None:
    text = {"/proc/PID/task": task(5, 5), "/proc/PID/status": ""}
    facts = facts_from(SCHEDULING, text, text)
    assert facts["sched.blocked_share"].value == (1.0, 1.0)
    assert reason(facts["sched.runq_wait_share"]) is Reason.TOO_FEW_SAMPLES


def test_threads_that_come_or_go_do_not_count() -> None:
    first = {"/proc/PID/task": task(0, 0), "/proc/PID/status": ""}
    then = {"/proc/PID/task": task(0, 0).replace("7/", "8/")}
    facts = facts_from(SCHEDULING, first, then)
    assert reason(facts["sched.blocked_share"]) is Reason.TOO_FEW_SAMPLES


def test_where_threads_wait_may_be_hidden() -> None:
    facts = facts_from(SCHEDULING, {"/proc/PID/task/states": "S 0 40\nD 0 10\n"})
    assert facts["sched.d_state_share"].value == (0.2, 0.2)
    assert reason(facts["sched.top_wchan"]) is Reason.PTRACE_DENIED
    busy = facts_from(SCHEDULING, {"/proc/PID/task/states": "R 0 40\n"})
    assert reason(busy["sched.top_wchan"]) is Reason.TOO_FEW_SAMPLES


def test_a_process_that_wrote_nothing_has_no_write_size() -> None:
    text = {"/proc/PID/io": "wchar: 10\nsyscw: 1\nread_bytes: 0\nwrite_bytes: 0\n"}
    facts = facts_from(PROCESS, text, text)
    assert facts["io.write_rate"].value == (0.0, 0.0)
    assert reason(facts["io.bytes_per_write"]) is Reason.TOO_FEW_SAMPLES


def test_unlimited_open_files_have_no_share() -> None:
    limits = "Max open files            unlimited            unlimited            files\n"
    facts = facts_from(PROCESS, {"/proc/PID/fd": "7\n", "/proc/PID/limits": limits})
    assert facts["process.fd_used_share"].status is Status.NOT_APPLICABLE


def test_counters_that_kernels_split_are_added_up() -> None:
    facts = facts_from(
        MEMORY,
        {"/proc/vmstat": "pswpin 0\npgscan_direct_dma 1\npgscan_direct_normal 1\nworkingset_refault 5\n"},
        {"/proc/vmstat": "pswpin 2\npgscan_direct_dma 3\npgscan_direct_normal 5\nworkingset_refault 9\n"},
    )
    assert facts["mem.direct_reclaim_rate"].value == (3.0, 3.0)
    assert facts["mem.refault_rate"].value == (2.0, 2.0)


def test_virtual_links_say_no_speed() -> None:
    facts = facts_from(NETWORK, {"/sys/class/net": "eth0/speed:-1\neth0/operstate:up\n"})
    assert reason(facts["net.link_speed"]) is Reason.SOURCE_ABSENT


@pytest.mark.parametrize(
    ("cpuinfo", "facts"),
    [
        ("vendor_id : GenuineIntel\nmodel name : Xeon\nflags : sse2 avx avx2 avx512f",
         {"host.vendor": "GenuineIntel", "host.model": "Xeon", "simd.isa": "avx512",
          "simd.available": (1.0, 1.0), "host.virt": "none"}),
        ("CPU implementer : 0x41\nCPU part : 0xd40\nFeatures : fp asimd sve",
         {"host.vendor": "ARM", "host.model": "Neoverse-V1", "simd.isa": "sve"}),
        ("CPU implementer : 0x41\nCPU part : 0xabc\nFeatures : fp asimd",
         {"host.model": "ARM 0xabc", "simd.isa": "neon"}),
        ("vendor_id : X\nflags : fpu hypervisor",
         {"simd.isa": "none", "simd.available": (0.0, 0.0), "host.virt": "vm"}),
    ],
)  # fmt: skip
def test_processors_of_several_makers(cpuinfo: str, facts: dict[str, Value]) -> None:
    found = facts_from(HOST, {"/proc/cpuinfo": cpuinfo})
    assert {name: found[name].value for name in facts} == facts


def test_a_cloud_is_told_by_its_firmware() -> None:
    texts = {"/proc/cpuinfo": "Features : asimd", "/sys/class/dmi/id": "sys_vendor:Amazon EC2\n"}
    assert facts_from(HOST, texts)["host.virt"].value == "ec2"


def test_the_first_processor_is_kept_in_full() -> None:
    block = "processor\t: {}\nflags\t\t: avx2\ncpu MHz\t\t: 2000.000\n"
    trimmed = trim_cpuinfo("\n".join(block.format(n) for n in range(3)))
    assert trimmed.count("flags") == 1
    assert trimmed.count("cpu MHz") == 3


def test_pages_are_added_up_by_node_and_size() -> None:
    text = "7f00 default anon=3 N0=1 N1=2 kernelpagesize_kB=4\n7f01 bind:1 huge N1=1 kernelpagesize_kB=2048\n"
    large = 2 << 20
    assert sum_numa_maps(text) == f"N0 4096\nN1 {8192 + large}\npolicy/bind {large}\npolicy/default 12288\n"


@pytest.mark.parametrize(
    ("sums", "policy"),
    [
        ("N0 9\npolicy/default 5\npolicy/local 4\n", "default"),
        ("policy/bind 7\npolicy/default 5\n", "bind"),
        ("policy/bind 5\npolicy/default 4\npolicy/interleave 4\n", "mixed"),
    ],
)
def test_the_policy_is_that_of_more_than_half_of_the_memory(sums: str, policy: str) -> None:
    assert facts_from(NUMA, {"/proc/PID/numa_maps": sums})["numa.policy"].value == policy


def test_a_container_is_told_by_its_marks() -> None:
    texts = {"/proc/cpuinfo": "flags : hypervisor", "container": ".dockerenv\n"}
    assert facts_from(HOST, texts)["host.virt"].value == "container"


def test_the_room_below_a_groups_limit_counts_where_it_is_less() -> None:
    meminfo = "MemTotal: 1000 kB\nMemAvailable: 500 kB\n"
    group = "0/memory.max:1000\n0/memory.current:950\n0/memory.stat:inactive_file 50\n"
    texts = {"/proc/meminfo": meminfo}
    assert facts_from(MEMORY, texts)["mem.available_share"].value == (0.5, 0.5)
    facts = facts_from(MEMORY, {**texts, "cgroup/memory": group})
    assert facts["mem.available_share"].value == pytest.approx((0.1, 0.1))


def test_only_vectors_worth_using_are_available() -> None:
    for flag, available in (("sse2", 0.0), ("avx", 0.0), ("avx2", 1.0), ("asimd", 1.0)):
        facts = facts_from(HOST, {"/proc/cpuinfo": f"flags : {flag}"})
        assert facts["simd.available"].value == (available, available)


def test_trees_and_counts_take_the_shapes_of_real_files() -> None:
    assert parse_tree("a/b:1\na/b:2 : x\nc:\n") == {"a/b": "1\n2 : x", "c": ""}
    counts = parse_counts("pgfault 12\nsyscw: 3\nse.nr_migrations      :      5\nnot a row\n")
    assert counts == {"pgfault": 12, "syscw": 3, "se.nr_migrations": 5}


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not on this machine")
def test_the_maps_of_a_real_two_node_guest() -> None:
    text = (RECORDINGS / "perf/numa-2node-qemu-guest.txt").read_text(errors="replace")
    maps = text.partition("@@numa_maps")[2].partition("@@")[0]
    totals = parse_counts(sum_numa_maps(maps))
    # numastat says 0.04 MB on node 0 and 200.96 MB on node 1.
    assert totals["N0"] < 100_000
    assert totals["N1"] == pytest.approx(200.96 * 2**20, rel=0.01)
