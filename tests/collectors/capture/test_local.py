"""The whole way on a recorded two-node host: capture, then facts."""

from pathlib import Path

import pytest
from hosts import LIMITS, grow

from engram_diagnose.collectors.capture.local import capture_host, capture_local
from engram_diagnose.collectors.capture.machine import Machine, host_identity
from engram_diagnose.collectors.capture.target import LocalTarget, NoTarget
from engram_diagnose.collectors.parse.local import LOCAL_FACTS, facts_of_host, facts_of_local
from engram_diagnose.engine.facts.fact import Fact, Reason, Status
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of

SERVER = LocalTarget(4242, 200000, 7432, "engram", "listens on port 7432")

LATER = {
    "proc/stat": ("cpu  4000 0 1000 20000 200", "cpu  5000 0 1200 20700 300"),
    "proc/vmstat": ("pswpin 100", "pswpin 150"),
    "proc/diskstats": (
        "1000 10 80000 500 2000 20 160000 4000 0 3000 4500 0 0 0 0 100 300",
        "1000 10 80000 500 2500 20 160000 5000 0 5500 7000 0 0 0 0 600 2800",
    ),
    "proc/4242/net/dev": ("eth0: 1000000", "eth0: 6000000"),
    "proc/4242/net/snmp": ("1000 2000 10", "1000 2100 15"),
    "proc/4242/stat": ("0 1000 500 0", "0 1900 600 0"),
    "proc/4242/io": ("wchar: 256000\nsyscr: 10\nsyscw: 1000", "wchar: 512000\nsyscr: 10\nsyscw: 2000"),
    "proc/4242/task/4242/schedstat": ("1000000000 100000000", "2000000000 1100000000"),
    "proc/4242/task/4243/schedstat": ("2000000000 300000000", "6000000000 800000000"),
    "proc/4242/task/4244/status": ("ctxt_switches:\t50", "ctxt_switches:\t550"),
    "sys/fs/cgroup/system.slice/engram.service/cpu.stat": (
        "nr_periods 1000\nnr_throttled 900\nthrottled_usec 50000000",
        "nr_periods 1050\nnr_throttled 945\nthrottled_usec 60000000",
    ),
    "sys/fs/cgroup/system.slice/engram.service/memory.events": ("high 40", "high 90"),
    "sys/fs/cgroup/system.slice/engram.service/cpu.pressure": ("total=2000000", "total=4500000"),
    "sys/devices/system/node/node1/numastat": ("numa_foreign 100", "numa_foreign 600"),
}  # fmt: skip


class Time:
    """A clock that only sleeping moves; after the first moment of sleep the counters have moved."""

    def __init__(self, root: Path) -> None:
        self.now = 1_700_000_000.0
        self.changes = dict(LATER)
        self._root = root

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for path, (old, new) in self.changes.items():
            text = (self._root / path).read_text()
            assert old in text, path
            (self._root / path).write_text(text.replace(old, new, 1))
        self.changes = {}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return grow(tmp_path)


def machine_at(host: Path, time: Time) -> Machine:
    name = host_identity(proc_root=str(host / "proc"), etc_root=str(host / "etc"))
    return Machine(name.id, str(host / "proc"), str(host / "sys"), lambda: time.now)


def facts_at(host: Path, time: Time | None = None) -> dict[tuple[str, Scope], Fact]:
    time = time or Time(host)
    answers = capture_local(machine_at(host, time), SERVER, limits=LIMITS, seconds=5.0, sleep=time.sleep)
    return {fact.key: fact for fact in facts_of_local(answers)}


def figure(facts: dict[tuple[str, Scope], Fact], name: str, scope: Scope = INSTANCE) -> float:
    fact = facts[name, scope]
    assert isinstance(fact.value, tuple), fact
    assert fact.value[0] == fact.value[1], fact
    return fact.value[0]


def text(facts: dict[tuple[str, Scope], Fact], name: str) -> str:
    value = facts[name, INSTANCE].value
    assert isinstance(value, str)
    return value


def test_the_process_facts_of_a_two_node_host(host: Path) -> None:
    facts = facts_at(host)
    # 1,000 ticks of 10 ms in 5 s.
    assert figure(facts, "cpu.process_cores") == pytest.approx(2.0)
    assert figure(facts, "cpu.user_share") == pytest.approx(0.9)
    assert figure(facts, "cpu.sys_share") == pytest.approx(0.1)
    # A quota of 0.8 CPU is less than the four it may run on.
    assert figure(facts, "cpu.busy") == 1.0
    assert figure(facts, "process.pid") == 4242
    assert figure(facts, "process.uptime") == pytest.approx(8000)
    assert figure(facts, "mem.rss") == 2**30
    assert figure(facts, "mem.pss") == 1_000_000 * 1024
    assert figure(facts, "mem.anon_huge_share") == pytest.approx(0.25)
    assert figure(facts, "io.write_calls_rate") == pytest.approx(200)
    assert figure(facts, "io.bytes_per_write") == pytest.approx(256)
    assert figure(facts, "mem.heap") == 768 << 20
    assert figure(facts, "mem.file") == 256 << 20
    assert figure(facts, "cpu.available_cores") == pytest.approx(0.8)


def test_the_scheduling_facts_follow_the_run_times_of_the_threads(host: Path) -> None:
    facts = facts_at(host)
    # Three threads ran 5 s and waited 1.5 s of their 15 s.
    assert figure(facts, "sched.blocked_share") == pytest.approx(1 - 6.5 / 15)
    assert figure(facts, "sched.runq_wait_share") == pytest.approx(1.5 / 6.5)
    # The busiest ran 4 s, the three on average 5/3 s.
    assert figure(facts, "sched.thread_cpu_imbalance") == pytest.approx(4 * 3 / 5)
    assert figure(facts, "sched.threads") == 3
    assert figure(facts, "sched.voluntary_rate") == pytest.approx(100)
    assert figure(facts, "sched.d_state_share") == pytest.approx(1 / 3)
    assert text(facts, "sched.top_wchan") == "futex_wait_queue"


def test_the_control_group_facts_take_the_limits_of_every_level(host: Path) -> None:
    facts = facts_at(host)
    assert figure(facts, "cgroup.cpu_quota") == pytest.approx(0.8)
    assert figure(facts, "cgroup.cpu_throttled_period_share") == pytest.approx(0.9)
    # 10 s of stopped queues in 5 s: on four CPUs between a half and all of the time.
    assert facts["cgroup.cpu_throttled_time_share", INSTANCE].value == pytest.approx((0.5, 1.0))
    assert figure(facts, "cgroup.mem_limit") == 2**31
    assert figure(facts, "cgroup.mem_used_share") == pytest.approx(0.75)
    assert figure(facts, "cgroup.mem_high_event_rate") == pytest.approx(10)
    assert figure(facts, "cgroup.oom_kills") == 1


def test_pressure_is_that_of_the_servers_own_group(host: Path) -> None:
    facts = facts_at(host)
    assert figure(facts, "psi.cpu_some_share") == pytest.approx(0.5)
    assert facts["psi.cpu_some_share", INSTANCE].source == "cgroup/pressure"


def test_without_pressure_files_of_its_group_the_hosts_stand_in(host: Path) -> None:
    for file in (host / "sys/fs/cgroup/system.slice/engram.service").glob("*.pressure"):
        file.unlink()
    time = Time(host)
    time.changes = {"proc/pressure/cpu": ("total=2000000", "total=3000000")}
    facts = facts_at(host, time)
    assert figure(facts, "psi.cpu_some_share") == pytest.approx(0.2)
    assert facts["psi.cpu_some_share", INSTANCE].source == "/proc/pressure/cpu"


def test_the_host_facts_of_a_two_node_host(host: Path) -> None:
    facts = facts_at(host)
    assert figure(facts, "cpu.host_busy_share") == pytest.approx(0.6)
    assert figure(facts, "cpu.iowait_share") == pytest.approx(0.05)
    # 12 s of CPU time in 5 s, of which the server had 2 CPUs.
    assert figure(facts, "cpu.neighbour_cores") == pytest.approx(0.4)
    assert figure(facts, "cpu.freq_ratio") == pytest.approx(0.5)
    assert figure(facts, "cpu.thermal_throttle_rate") == 0
    assert figure(facts, "host.cores") == 4
    assert figure(facts, "host.sockets") == 2
    assert figure(facts, "host.smt") == 0
    assert figure(facts, "host.l1d_bytes") == 32 << 10
    assert figure(facts, "host.l3_bytes") == 32 << 20
    assert text(facts, "host.vendor") == "AuthenticAMD"
    assert text(facts, "host.virt") == "kvm"
    assert text(facts, "simd.isa") == "avx2"
    assert text(facts, "mem.thp_mode") == "madvise"
    assert figure(facts, "mem.available_share") == pytest.approx(0.25)
    assert figure(facts, "mem.used_share") == pytest.approx(0.75)
    assert figure(facts, "mem.hugepages_free") == 7
    assert figure(facts, "host.huge_pages") == 8
    assert figure(facts, "host.l3_domains") == 2
    assert figure(facts, "host.load_average") == pytest.approx(3.1)
    assert figure(facts, "mem.swapin_rate") == pytest.approx(10)


def test_numa_shares_say_where_memory_is_and_where_threads_run(host: Path) -> None:
    facts = facts_at(host)
    zero, one = scope_of({"node": "0"}), scope_of({"node": "1"})
    assert figure(facts, "numa.nodes") == 2
    assert figure(facts, "numa.mem_share", one) == pytest.approx(0.75)
    assert figure(facts, "numa.cpu_share", zero) == pytest.approx(1.0)
    assert figure(facts, "numa.cpu_share", one) == 0
    assert figure(facts, "numa.remote_access_share") == pytest.approx(0.75)
    assert facts["numa.remote_access_share", INSTANCE].status is Status.PROXY
    assert figure(facts, "numa.foreign_alloc_rate") == pytest.approx(100)
    assert figure(facts, "numa.balancing_on") == 1
    assert figure(facts, "numa.max_distance") == 21
    assert figure(facts, "numa.allowed_nodes") == 2
    assert figure(facts, "numa.node_mem_total", one) == 8 << 30
    assert figure(facts, "numa.node_mem_free", zero) == 512 << 20
    assert text(facts, "numa.policy") == "default"


def test_network_traffic_is_counted_once_though_a_bridge_repeats_it(host: Path) -> None:
    facts = facts_at(host)
    assert figure(facts, "net.rx_rate") == pytest.approx(1e6)
    assert figure(facts, "net.link_speed") == 1.25e9
    assert figure(facts, "net.retrans_share") == pytest.approx(0.05)


def test_every_local_fact_is_there_with_host_time_and_reason(host: Path) -> None:
    time = Time(host)
    facts = facts_at(host, time)
    assert {name for name, _ in facts} == set(LOCAL_FACTS)
    identity = machine_at(host, time).host
    assert {fact.host for fact in facts.values()} == {identity}
    windows = [fact.window for fact in facts.values() if fact.window]
    assert windows == pytest.approx([5.0] * len(windows))


def test_without_a_data_directory_disk_facts_say_how_to_get_them(host: Path) -> None:
    fact = facts_at(host)["disk.iops", INSTANCE]
    assert fact.unknown is not None
    assert "--data-dir" in fact.unknown.detail


def test_on_one_node_the_facts_about_several_are_not_applicable(host: Path) -> None:
    for file in (host / "sys/devices/system/node/node1").iterdir():
        file.unlink()
    time = Time(host)
    time.changes = {}
    facts = facts_at(host, time)
    assert figure(facts, "numa.nodes") == 1
    remote = facts["numa.remote_access_share", INSTANCE]
    assert remote.status is Status.NOT_APPLICABLE


def test_a_server_elsewhere_leaves_every_local_fact_unknown(host: Path) -> None:
    time = Time(host)
    elsewhere = NoTarget("OTHER_HOST", "db9:7432 is not a name of this machine")
    answers = capture_local(machine_at(host, time), elsewhere, limits=LIMITS, sleep=time.sleep)
    facts = facts_of_local(answers)
    assert [answer.name for answer in answers] == ["target"]
    assert {fact.name for fact in facts} == set(LOCAL_FACTS)
    assert {fact.unknown.reason for fact in facts if fact.unknown} == {Reason.OTHER_HOST}
    assert all("server's host" in fact.get_by for fact in facts)


def test_host_answers_in_a_bundle_do_not_count_when_the_server_is_elsewhere(host: Path) -> None:
    time = Time(host)
    machine = machine_at(host, time)
    answers = capture_local(machine, SERVER, limits=LIMITS, sleep=time.sleep)
    away = capture_local(machine, NoTarget("OTHER_HOST", "elsewhere"), limits=LIMITS, sleep=time.sleep)
    facts = facts_of_local([*answers[1:], *away])
    assert not any(fact.known for fact in facts)


def test_a_process_that_is_replaced_in_between_is_gone(host: Path) -> None:
    time = Time(host)
    time.changes = {"proc/4242/stat": ("200000 219525120", "900000 219525120")}
    facts = facts_at(host, time)
    for name in ("cpu.process_cores", "mem.rss", "mem.pss", "sched.blocked_share", "process.pid"):
        unknown = facts[name, INSTANCE].unknown
        assert unknown is not None, name
        assert unknown.reason is Reason.TARGET_GONE
    assert facts["mem.total", INSTANCE].known


def test_a_process_that_ends_in_between_is_gone(host: Path) -> None:
    time = Time(host)
    time.changes = {}
    answers = capture_local(
        machine_at(host, time), SERVER, limits=LIMITS, sleep=lambda seconds: _end(host, time, seconds)
    )
    facts = {fact.name: fact for fact in facts_of_local(answers)}
    unknown = facts["cpu.busy"].unknown
    assert unknown is not None
    assert unknown.reason is Reason.TARGET_GONE


def _end(host: Path, time: Time, seconds: float) -> None:
    time.now += seconds
    (host / "proc/4242/stat").unlink(missing_ok=True)


def test_a_large_process_is_not_walked_through(host: Path) -> None:
    status = host / "proc/4242/status"
    status.write_text(status.read_text().replace("VmRSS:\t 1048576 kB", "VmRSS:\t 9048576 kB"))
    facts = facts_at(host)
    for name in ("mem.pss", "mem.anon_huge_share", "numa.mem_share", "numa.remote_access_share"):
        unknown = facts[name, INSTANCE].unknown
        assert unknown is not None, name
        assert unknown.reason is Reason.TOO_EXPENSIVE
        assert "GiB" in unknown.detail


def test_an_empty_machine_gives_reasons_and_no_traceback(tmp_path: Path) -> None:
    machine = Machine("id", str(tmp_path / "proc"), str(tmp_path / "sys"), lambda: 1.0)
    answers = capture_local(machine, SERVER, limits=LIMITS, seconds=0.0, sleep=lambda _: None)
    facts = facts_of_local(answers)
    assert {fact.name for fact in facts} == set(LOCAL_FACTS)
    known = {fact.name for fact in facts if fact.known}
    assert known <= {"host.kernel", "host.arch", "process.pid"}


def test_the_machine_alone_can_be_captured_for_sizing(host: Path) -> None:
    time = Time(host)
    time.changes = {}
    answers = capture_host(machine_at(host, time), seconds=1.0, sleep=time.sleep)
    facts = {fact.name: fact for fact in facts_of_host(answers)}
    assert facts["host.cores"].value == (4.0, 4.0)
    assert facts["numa.nodes"].value == (2.0, 2.0)
    assert not any(name.startswith(("process.", "sched.")) for name in facts)


def test_a_machine_that_is_not_watched_is_read_once_and_gives_no_rates(host: Path) -> None:
    time = Time(host)
    answers = capture_host(machine_at(host, time), seconds=0, sleep=time.sleep)
    assert [answer.name for answer in answers].count("/proc/stat") == 1
    facts = {fact.name: fact for fact in facts_of_host(answers)}
    assert facts["host.cores"].known
    assert not facts["cpu.host_busy_share"].known


def test_no_secret_of_the_command_line_is_captured(host: Path) -> None:
    time = Time(host)
    answers = capture_local(machine_at(host, time), SERVER, limits=LIMITS, sleep=time.sleep)
    assert not any("hunter2" in (answer.body or "") for answer in answers)


def test_the_host_is_known_by_a_digest_and_not_by_its_machine_id(host: Path) -> None:
    roots = {"proc_root": str(host / "proc"), "etc_root": str(host / "etc")}
    identity = host_identity(**roots)
    assert identity.name == "db1"
    assert len(identity.id) == 16
    assert identity.id not in "0123456789abcdef0123456789abcdef"
    (host / "etc/machine-id").unlink()
    assert host_identity(**roots).id != identity.id
