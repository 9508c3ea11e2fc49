"""Hosts of several kinds, from the files of /proc and /sys to facts."""

import os
import threading
from pathlib import Path

import pytest
from hosts import LIMITS, SERVER, captured, facts, plain, stat, thread, value, why, write

from engram_diagnose.collectors.capture.local import capture_local
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.threads import spread
from engram_diagnose.collectors.parse.local import facts_of_local
from engram_diagnose.engine.facts.fact import Reason, Status
from engram_diagnose.engine.facts.scope import INSTANCE, scope_of

# Threads


def many(count: int, *, later: bool) -> dict[str, str]:
    """
    Threads of which every fourth runs a fifth of the time and waits for a CPU as long, and the rest wait for a lock or
    for a disk.
    """
    files: dict[str, str] = {}
    for index in range(count):
        busy = later and index % 4 == 0
        files |= thread(
            42 + index,
            run=1000 if busy else 0,
            wait=1000 if busy else 0,
            voluntary=500 if later else 0,
            state="D" if index % 2 else "S",
            wchan="jbd2_log_wait_commit" if index % 2 else "futex_wait_queue",
        )
    return files


def test_of_ten_thousand_threads_a_share_is_read_and_the_facts_say_so(tmp_path: Path) -> None:
    limits = {**LIMITS, "threads": 200.0, "state_reads": 400.0}
    root = write(tmp_path, {**plain(), **many(1000, later=False)})
    found = facts(root, many(1000, later=True), limits=limits)
    assert value(found, "sched.threads") == 1000
    # Every fourth of the threads ran 1 s of 5 s and waited 1 s.
    assert value(found, "sched.blocked_share") == pytest.approx(1 - 0.25 * 2 / 5, abs=0.02)
    assert value(found, "sched.running_share") == pytest.approx(0.25 / 5, abs=0.01)
    assert value(found, "sched.runq_wait_share") == pytest.approx(0.5)
    assert value(found, "sched.voluntary_rate") == pytest.approx(1000 * 500 / 5)
    assert value(found, "sched.d_state_share") == pytest.approx(0.5, abs=0.05)
    for name in ("sched.blocked_share", "sched.runq_wait_share", "sched.voluntary_rate"):
        assert found[name, INSTANCE].quality == "of 200 of 1,000 threads"
    assert found["sched.threads", INSTANCE].quality == ""
    reason, detail = why(found, "sched.thread_cpu_imbalance")
    assert reason is Reason.TOO_EXPENSIVE
    assert "busiest" in detail


def test_the_second_snapshot_reads_the_threads_of_the_first(tmp_path: Path) -> None:
    root = write(tmp_path, {**plain(), **many(300, later=False)})
    for index in range(100):  # threads that end meanwhile, and others that begin
        os.rename(root / f"proc/42/task/{42 + 3 * index}", root / f"proc/42/gone-{index}")
    found = facts(root, many(300, later=True), limits={**LIMITS, "threads": 50.0})
    assert found["sched.blocked_share", INSTANCE].known
    assert value(found, "sched.threads") == 300


def test_where_all_threads_are_read_nothing_is_noted(tmp_path: Path) -> None:
    found = facts(write(tmp_path, {**plain(), **many(40, later=False)}), many(40, later=True))
    assert value(found, "sched.threads") == 40
    assert found["sched.blocked_share", INSTANCE].quality == ""
    assert value(found, "sched.thread_cpu_imbalance") == pytest.approx(1.0)


def test_no_more_is_read_for_states_than_is_allowed_and_that_over_the_whole_window(tmp_path: Path) -> None:
    root = write(tmp_path, {**plain(), **many(500, later=False)})
    answers = captured(root, limits={**LIMITS, "state_reads": 1000.0})
    states = next(answer for answer in answers if answer.name == "/proc/PID/task/states")
    samples = sum(int(line.split()[-1]) for line in (states.body or "").splitlines())
    assert 450 <= samples <= 500  # two reads each
    times = [answer.time for answer in answers if answer.name == "/proc/PID/task"]
    assert times[1] - times[0] == pytest.approx(5.0)


def test_the_most_frequent_wait_channels_are_named_with_their_shares(tmp_path: Path) -> None:
    root = write(tmp_path, {**plain(), **thread(42), **thread(43), **thread(44, state="D", wchan="io_schedule"),
                            **thread(45, state="R", wchan="0")})  # fmt: skip
    found = facts(root)
    assert value(found, "sched.top_wchan") == "futex_wait_queue"
    assert value(found, "sched.wait_channels") == "futex_wait_queue 50 %, io_schedule 25 %"


@pytest.mark.parametrize("count", [1, 7, 100, 2048, 2049, 10_000])
@pytest.mark.parametrize("period", [2, 3, 5, 16])
def test_an_even_share_favours_no_kind_of_thread_that_is_started_in_turns(count: int, period: int) -> None:
    items = [str(number) for number in range(count)]
    chosen = spread(items, 2048)
    assert len(chosen) <= 2048
    assert chosen == spread(items, 2048)
    if count > 2048:
        assert len(chosen) > 2000
        kinds = [sum(int(one) % period == kind for one in chosen) / len(chosen) for kind in range(period)]
        assert kinds == pytest.approx([1 / period] * period, abs=0.02)


def test_in_turns_every_thread_is_seen() -> None:
    items = [str(number) for number in range(1000)]
    seen = {one for turn in range(25) for one in spread(items, 100, turn=turn)}
    assert len(seen) > 950


# Ends and jumps


def test_a_stop_ends_the_window_early_and_the_second_snapshot_is_taken(tmp_path: Path) -> None:
    root = write(tmp_path, plain())
    stop = threading.Event()
    times = iter(range(100_000))

    def sleep(_: float) -> None:
        write(root, {**thread(42, run=2000), "proc/42/stat": stat(42, user=100)})
        stop.set()

    machine = Machine("id", str(root / "proc"), str(root / "sys"), lambda: 1e9 + next(times) / 100)
    answers = capture_local(machine, SERVER, limits=LIMITS, seconds=3600.0, stop=stop, sleep=sleep)
    found = {fact.key: fact for fact in facts_of_local(answers)}
    assert [answer.name for answer in answers].count("/proc/PID/task") == 2
    assert found["cpu.process_cores", INSTANCE].known
    assert found["cpu.process_cores", INSTANCE].window < 10


def test_a_stop_that_was_set_before_takes_no_time(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    root = write(tmp_path, plain())
    machine = Machine("id", str(root / "proc"), str(root / "sys"))
    answers = capture_local(machine, SERVER, limits=LIMITS, seconds=3600.0, stop=stop)
    assert [answer.name for answer in answers].count("/proc/stat") == 2


def test_counters_that_were_reset_are_unknown_and_not_negative(tmp_path: Path) -> None:
    first = {"proc/vmstat": "pswpin 100\n", "proc/42/stat": stat(42, user=500), "proc/42/io": "syscw: 9\nwchar: 900\n",
             "proc/42/net/dev": "eth0: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n"}  # fmt: skip
    then = {"proc/vmstat": "pswpin 1\n", "proc/42/stat": stat(42, user=1), "proc/42/io": "syscw: 1\nwchar: 100\n",
            "proc/42/net/dev": "eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"}  # fmt: skip
    found = facts(write(tmp_path, {**plain(), **first}), then)
    for name in ("mem.swapin_rate", "cpu.process_cores", "cpu.busy", "cpu.user_share", "io.write_calls_rate",
                 "net.rx_rate"):  # fmt: skip
        assert why(found, name)[0] is Reason.RESET, name


def test_a_wall_clock_that_jumps_does_not_move_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, plain())
    machine = Machine("id", str(root / "proc"), str(root / "sys"))
    monkeypatch.setattr("time.time", lambda: 0.0)
    answers = capture_local(machine, SERVER, limits=LIMITS, seconds=0.05)
    times = [answer.time for answer in answers]
    assert times == sorted(times)
    assert 0.05 <= times[-1] - times[0] < 5


# Limits on threads


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, (1 / 1000, 0.2)),  # of the user's 1,000, its own thread at least and all 200 of the host at most
        ({"proc/sys/kernel/threads-max": "250\n"}, 0.8),
        ({"proc/sys/kernel/pid_max": "201\n"}, 200 / 201),
        ({"proc/42/limits": "Max processes             unlimited   unlimited   processes\n"}, 200 / 10_000),
    ],
)
def test_the_fullest_limit_on_threads_counts(
    tmp_path: Path, changes: dict[str, str], share: float | tuple[float, float]
) -> None:
    found = facts(write(tmp_path, {**plain(), **changes}))
    low = 200 / 10_000 if isinstance(share, tuple) else 0
    wanted = (max(low, share[0]), share[1]) if isinstance(share, tuple) else share
    assert value(found, "process.thread_used_share") == pytest.approx(wanted)


def test_roots_processes_are_not_counted_against_a_user(tmp_path: Path) -> None:
    files = plain()
    files["proc/42/status"] = files["proc/42/status"].replace("998\t998\t998\t998", "0\t0\t0\t0")
    assert value(facts(write(tmp_path, files)), "process.thread_used_share") == pytest.approx(0.02)


def test_the_thread_limit_of_an_outer_group_counts(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/system.slice"
    found = facts(write(tmp_path, {
        **plain(),
        "proc/42/cgroup": "0::/system.slice/engram.service\n",
        "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        f"{group}/pids.max": "100\n", f"{group}/pids.current": "95\n",
        f"{group}/engram.service/pids.max": "max\n", f"{group}/engram.service/pids.current": "40\n",
    }))  # fmt: skip
    assert value(found, "process.thread_used_share") == pytest.approx(0.95)


# The address space


def test_a_reserved_address_space_is_no_hindrance(tmp_path: Path) -> None:
    files = plain()
    files["proc/42/status"] += "VmSize:\t 209715200 kB\n"
    files["proc/42/smaps_rollup"] = "Pss:   900 kB\nAnonymous:   800 kB\nAnonHugePages:   0 kB\n"
    found = facts(write(tmp_path, files))
    assert value(found, "mem.virtual") == 200 * 2**30
    assert value(found, "mem.pss") == 900 * 1024


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"proc/42/status": "VmSize:\t 209715200 kB\nVmRSS:\t 8388608 kB\n"}, "8.0 GiB resident"),
        ({"proc/42/status": "VmRSS:\t 1048576 kB\nVmSwap:\t 1572864 kB\n"}, "2.5 GiB resident"),
        ({"proc/42/maps": "7f00-7f01 rw-p 0 0:0 0\n" * 20_001}, "more than 20000 mappings"),
        ({"proc/42/status": "Name:\tengram\n"}, "not known"),
    ],
)
def test_what_is_dear_to_walk_is_not_walked(tmp_path: Path, changes: dict[str, str], detail: str) -> None:
    found = facts(write(tmp_path, {**plain(), "proc/42/smaps_rollup": "Pss:   900 kB\n", **changes}))
    reason, said = why(found, "mem.pss")
    assert reason is Reason.TOO_EXPENSIVE
    assert detail in said


# Control groups


V1 = """\
31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
32 23 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""


def test_limits_of_version_1_are_those_of_the_tightest_level(tmp_path: Path) -> None:
    cpu, memory = "sys/fs/cgroup/cpu", "sys/fs/cgroup/memory"
    first = {
        **plain(),
        "proc/42/cgroup": "4:memory:/pod/engram\n1:cpu:/pod/engram\n",
        "proc/self/mountinfo": V1,
        f"{cpu}/pod/cpu.cfs_quota_us": "50000\n",
        f"{cpu}/pod/cpu.cfs_period_us": "100000\n",
        f"{cpu}/pod/cpu.stat": "nr_periods 100\nnr_throttled 10\nthrottled_time 1000000000\n",
        f"{cpu}/pod/engram/cpu.cfs_quota_us": "200000\n",
        f"{cpu}/pod/engram/cpu.cfs_period_us": "100000\n",
        f"{cpu}/pod/engram/cpu.stat": "nr_periods 100\nnr_throttled 0\nthrottled_time 0\n",
        f"{memory}/pod/memory.limit_in_bytes": "1073741824\n",
        f"{memory}/pod/memory.usage_in_bytes": "805306368\n",
        f"{memory}/pod/engram/memory.limit_in_bytes": "9223372036854771712\n",
        f"{memory}/pod/engram/memory.usage_in_bytes": "104857600\n",
        f"{memory}/pod/engram/memory.failcnt": "5\n",
        f"{memory}/pod/engram/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    }
    later = {
        f"{cpu}/pod/cpu.stat": "nr_periods 150\nnr_throttled 50\nthrottled_time 6000000000\n",
        f"{cpu}/pod/engram/cpu.stat": "nr_periods 150\nnr_throttled 0\nthrottled_time 0\n",
        f"{memory}/pod/engram/memory.failcnt": "105\n",
    }
    found = facts(write(tmp_path, first), later)
    assert value(found, "cgroup.cpu_quota") == pytest.approx(0.5)
    assert value(found, "cpu.available_cores") == pytest.approx(0.5)
    assert value(found, "cgroup.cpu_throttled_period_share") == pytest.approx(40 / 50)
    assert value(found, "cgroup.mem_limit") == 2**30
    assert value(found, "cgroup.mem_used_share") == pytest.approx(0.75)
    assert value(found, "cgroup.mem_high_event_rate") == pytest.approx(20)
    assert found["cgroup.mem_high_event_rate", INSTANCE].status is Status.PROXY
    assert value(found, "cgroup.oom_kills") == 2


def test_a_cpuset_says_how_many_cores_there_are_for_the_server(tmp_path: Path) -> None:
    files = plain()
    files["proc/42/status"] = files["proc/42/status"].replace("0-3", "2-3")
    assert value(facts(write(tmp_path, files)), "cpu.available_cores") == 2


# Kernels and permissions


def test_a_kernel_without_run_times_and_pressure_says_which_it_lacks(tmp_path: Path) -> None:
    files = {name: text for name, text in plain().items() if not name.endswith("/schedstat")}
    found = facts(write(tmp_path, files))
    for name in ("sched.blocked_share", "sched.runq_wait_share", "sched.running_share"):
        assert why(found, name)[0] is Reason.KERNEL_CONFIG, name
    assert why(found, "psi.cpu_some_share")[0] is Reason.SOURCE_ABSENT


def test_a_process_that_is_hidden_leaves_its_facts_unknown_and_the_hosts_known(tmp_path: Path) -> None:
    files = {name: text for name, text in plain().items() if not name.startswith("proc/42/")}
    found = facts(write(tmp_path, files))  # hidepid=2: to others the process is not there
    assert why(found, "cpu.busy")[0] is Reason.TARGET_GONE
    assert why(found, "sched.blocked_share")[0] is Reason.TARGET_GONE
    assert value(found, "mem.total") == 32 * 2**30


# Machines


def test_an_arm_server_is_known_by_its_part_number(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu"
    found = facts(write(tmp_path, {
        **plain(),
        "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd atomics sve sve2\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd4f\nCPU revision\t: 1\n",
        f"{cpu}/cpu0/topology/physical_package_id": "0\n", f"{cpu}/cpu0/topology/thread_siblings_list": "0\n",
        f"{cpu}/cpu0/cache/index0/level": "1\n", f"{cpu}/cpu0/cache/index0/type": "Data\n",
        f"{cpu}/cpu0/cache/index0/size": "64K\n", f"{cpu}/cpu0/cache/index0/coherency_line_size": "64\n",
        f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "2600000\n", f"{cpu}/cpu0/cpufreq/cpuinfo_max_freq": "2600000\n",
    }))  # fmt: skip
    assert (value(found, "host.vendor"), value(found, "host.model")) == ("ARM", "Neoverse-V2")
    assert (value(found, "simd.isa"), value(found, "simd.available")) == ("sve", 1)
    assert value(found, "host.l1d_bytes") == 64 << 10
    assert value(found, "host.smt") == 0
    assert value(found, "cpu.freq_ratio") == 1
    assert why(found, "cpu.thermal_throttle_rate")[0] is Reason.SOURCE_ABSENT
    assert why(found, "host.virt")[0] is Reason.SOURCE_ABSENT


def test_the_reading_of_huge_pages_says_who_waits_for_them(tmp_path: Path) -> None:
    thp = "sys/kernel/mm/transparent_hugepage"
    found = facts(write(tmp_path, {**plain(), f"{thp}/enabled": "[always] madvise never\n",
                                   f"{thp}/defrag": "always defer [defer+madvise] madvise never\n"}))  # fmt: skip
    assert value(found, "mem.thp_mode") == "always"
    assert value(found, "mem.thp_defrag") == "defer+madvise"


def test_stolen_time_of_a_virtual_machine_is_told(tmp_path: Path) -> None:
    files = {**plain(), "sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/class/dmi/id/product_name": "m6i.large\n"}
    files["proc/cpuinfo"] = files["proc/cpuinfo"].replace("sse2", "hypervisor sse2")
    found = facts(write(tmp_path, files), {"proc/stat": "cpu  4500 0 1000 20400 200 0 100 100 0 0\n"})
    assert value(found, "host.virt") == "ec2"
    assert value(found, "cpu.steal_share") == pytest.approx(0.1)
    assert scope_of({}) == INSTANCE
