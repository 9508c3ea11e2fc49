"""Which local process is the server; whether a name means this machine."""

import json
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.names import names_this_host, split_instance
from engram_diagnose.collectors.capture.target import (
    LocalTarget,
    NoTarget,
    local_target,
    target_answer,
)

LISTENING = "   0: 0100007F:{port:04X} 00000000:0000 0A 0:0 0:0 0 {uid} 0 {inode} 1\n"
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid inode\n"
OWN = "Local:\n  |-- 127.0.0.1\n     /32 host LOCAL\n  |-- 192.0.2.7\n     /32 host LOCAL\n"


class Proc:
    """A small /proc, written file by file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("sys/kernel/hostname", "db1\n")
        self.write("net/fib_trie", OWN)
        self.write("net/if_inet6", "20010db8000000000000000000000007 02 40 00 80     eth0\n")
        self.write("net/tcp", HEADER)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def process(self, pid: int, name: str = "engram", *, uid: int = 998, inode: int = 0) -> None:
        self.write(f"{pid}/comm", name + "\n")
        self.write(f"{pid}/stat", f"{pid} ({name}) S {'0 ' * 18}{pid * 10} 0 0\n")
        self.write(f"{pid}/status", f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
        if inode:
            (self.root / str(pid) / "fd").mkdir()
            (self.root / str(pid) / "fd" / "7").symlink_to(f"socket:[{inode}]")

    def listen(self, port: int, inode: int, *, uid: int = 998, pid: int | None = None) -> None:
        row = HEADER + LISTENING.format(port=port, inode=inode, uid=uid)
        self.write("net/tcp" if pid is None else f"{pid}/net/tcp", row)

    def find(self, instance: str = "", port: int | None = None, pid: int | None = None,
             via: str = "") -> LocalTarget | NoTarget:  # fmt: skip
        return local_target(instance, port, pid, via=via, proc_root=str(self.root),
                            resolver=lambda host: NAMES.get(host, frozenset()))  # fmt: skip


NAMES = {
    "db1.example.net": frozenset({"192.0.2.7"}),
    "db2.example.net": frozenset({"192.0.2.8"}),
    "prometheus.example.net": frozenset({"192.0.2.99"}),
}


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def found(target: LocalTarget | NoTarget) -> LocalTarget:
    assert isinstance(target, LocalTarget), target
    return target


def missing(target: LocalTarget | NoTarget) -> NoTarget:
    assert isinstance(target, NoTarget), target
    return target


def test_the_process_that_holds_the_port_is_the_server(proc: Proc) -> None:
    proc.process(10, "sshd", inode=1)
    proc.process(20, "engram", inode=31337)
    proc.listen(7432, 31337)
    target = found(proc.find("localhost:7432"))
    assert (target.pid, target.start_ticks, target.port) == (20, 200, 7432)


def test_without_any_hint_the_default_port_is_looked_at(proc: Proc) -> None:
    proc.process(20, "python3", inode=31337)
    proc.listen(7432, 31337)
    assert found(proc.find()).pid == 20


def test_a_server_that_took_the_next_free_port_is_found_by_its_name(proc: Proc) -> None:
    proc.process(20, "engram", inode=5)
    proc.listen(7440, 5, pid=20)
    target = found(proc.find())
    assert (target.pid, target.port) == (20, 7440)


def test_a_port_that_nobody_holds_is_said(proc: Proc) -> None:
    target = missing(proc.find("db1:7432"))
    assert target.reason == "SOURCE_ABSENT"
    assert "7432" in target.detail


def test_two_servers_of_which_neither_is_meant_are_not_chosen_between(proc: Proc) -> None:
    for pid, port in ((20, 7433), (30, 7434)):
        proc.process(pid, inode=pid)
        proc.listen(port, pid, pid=pid)
    target = missing(proc.find())
    assert target.reason == "SOURCE_ABSENT"
    assert "20" in target.detail
    assert "30" in target.detail
    assert "--pid" in target.detail


def test_this_program_is_not_taken_for_the_server(proc: Proc) -> None:
    proc.process(20, "engram-diagnose", inode=5)
    proc.listen(7433, 5, pid=20)
    assert isinstance(proc.find(), NoTarget)


@pytest.mark.parametrize("name", ["kubectl", "ssh", "docker-proxy"])
def test_a_forwarded_port_is_another_host(proc: Proc, name: str) -> None:
    proc.process(20, name, inode=31337)
    proc.listen(7432, 31337)
    target = missing(proc.find("localhost:7432"))
    assert target.reason == "OTHER_HOST"
    assert name in target.detail


def test_without_permission_to_see_sockets_name_and_user_must_do(proc: Proc) -> None:
    proc.process(20, "engram", uid=998)
    proc.process(30, "postgres", uid=998)
    proc.listen(7432, 31337, uid=998)
    assert found(proc.find("localhost:7432")).pid == 20


def test_without_permission_and_without_a_name_it_is_said_who_may_look(proc: Proc) -> None:
    proc.process(30, "java", uid=998)
    proc.listen(7432, 31337, uid=998)
    target = missing(proc.find("localhost:7432"))
    assert target.reason == "PTRACE_DENIED"
    assert "root" in target.detail


def test_a_given_process_that_listens_elsewhere_is_refused(proc: Proc) -> None:
    proc.process(20, inode=5)
    proc.listen(9999, 5, pid=20)
    target = missing(proc.find("localhost:7432", pid=20))
    assert target.reason == "SOURCE_ABSENT"
    assert "7432" in target.detail


def test_a_given_process_in_a_container_is_looked_at_in_its_own_network(proc: Proc) -> None:
    proc.process(20, inode=5)
    proc.listen(7432, 5, pid=20)
    assert found(proc.find("localhost:7432", pid=20)).pid == 20


def test_a_given_process_that_does_not_exist_is_gone(proc: Proc) -> None:
    assert missing(proc.find(pid=99)).reason == "TARGET_GONE"


def test_another_hosts_name_is_another_host_even_with_a_process_id(proc: Proc) -> None:
    proc.process(20, inode=31337)
    proc.listen(7432, 31337)
    for instance in ("db2:7432", "db2.example.net:7432", "192.0.2.8:7432", "[2001:db8::8]:7432"):
        assert missing(proc.find(instance)).reason == "OTHER_HOST"
        assert missing(proc.find(instance, pid=20)).reason == "OTHER_HOST"


@pytest.mark.parametrize(
    "instance",
    [
        "localhost:7432",
        "127.0.0.1:7432",
        "0.0.0.0:7432",
        "[::1]:7432",
        "db1:7432",
        "DB1:7432",
        "192.0.2.7:7432",
        "[2001:db8::7]:7432",
        "db1.example.net:7432",
        "http://db1:7432/metrics",
    ],
)
def test_the_names_of_this_machine(proc: Proc, instance: str) -> None:
    proc.process(20, inode=31337)
    proc.listen(7432, 31337)
    assert found(proc.find(instance)).pid == 20


def test_the_localhost_of_a_prometheus_elsewhere_is_not_ours(proc: Proc) -> None:
    proc.process(20, inode=31337)
    proc.listen(7432, 31337)
    target = missing(proc.find("localhost:7432", via="prometheus.example.net"))
    assert target.reason == "OTHER_HOST"
    assert "prometheus.example.net" in target.detail
    assert found(proc.find("localhost:7432", via="localhost")).pid == 20
    assert found(proc.find("localhost:7432", via="db1.example.net")).pid == 20


@pytest.mark.parametrize(
    ("instance", "parts"),
    [
        ("db1:7432", ("db1", 7432)),
        ("db1", ("db1", None)),
        ("[2001:db8::7]:7432", ("2001:db8::7", 7432)),
        ("2001:db8::7", ("2001:db8::7", None)),
        ("https://user@DB1:7432/x", ("db1", 7432)),
        ("", ("", None)),
        (":7432", ("", 7432)),
        ("db1:port", ("db1:port", None)),
    ],
)
def test_an_instance_label_is_a_host_and_a_port(instance: str, parts: tuple[str, int | None]) -> None:
    assert split_instance(instance) == parts


def test_a_name_that_does_not_resolve_is_another_host(proc: Proc) -> None:
    here = names_this_host("engram-prod", proc_root=str(proc.root), resolver=lambda _: frozenset())
    assert not here


def test_the_finding_is_an_answer_of_its_own() -> None:
    machine = Machine("id", now=lambda: 5.0)
    answer = target_answer(machine, LocalTarget(20, 200, 7432, "engram", "listens on port 7432"))
    assert json.loads(answer.body or "")["pid"] == 20
    away = target_answer(machine, NoTarget("OTHER_HOST", "elsewhere"))
    assert (away.body, away.reason, away.detail) == (None, "OTHER_HOST", "elsewhere")
