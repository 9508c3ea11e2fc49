"""What microbenchmarks left is taken along, with what the host is now."""

import json
from pathlib import Path

import pytest

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.attained import attained, device_of, record_path, state_place
from engram_diagnose.collectors.capture.machine import Machine

HOST = "f00dfeedf00dfeed"
CPUINFO = "processor\t: 0\nmodel name\t: Made-up CPU 9000\n\nprocessor\t: 1\nmodel name\t: Made-up CPU 9000\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "state"))
    proc = tmp_path / "proc"
    (proc / "sys" / "kernel").mkdir(parents=True)
    (proc / "cpuinfo").write_text(CPUINFO)
    (proc / "sys" / "kernel" / "osrelease").write_text("6.1.0-made-up\n")
    return Machine(HOST, str(proc), str(tmp_path / "sys"), lambda: 1.79e9)


def keep(text: str, host: str = HOST) -> None:
    path = Path(record_path(state_place(), host))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def by_name(answers: list[Answer]) -> dict[str, Answer]:
    return {answer.name: answer for answer in answers}


def test_the_record_is_taken_as_it_is_with_what_the_host_is_now(machine: Machine, tmp_path: Path) -> None:
    keep('{"any": "text"}')
    found = by_name(attained(machine, data_dir=str(tmp_path)))
    assert found["attained"].body == '{"any": "text"}'
    assert json.loads(found["attained/now"].body or "") == {
        "cpu": "Made-up CPU 9000", "cpus": 2, "kernel": "6.1.0-made-up", "device": device_of(str(tmp_path)),
    }  # fmt: skip


@pytest.mark.parametrize("there", ["nothing", "another host's"])
def test_without_a_record_of_this_host_that_is_said(machine: Machine, there: str) -> None:
    if there == "another host's":
        keep("{}", "0" * 16)
    (answer,) = attained(machine, data_dir="")
    assert (answer.body, answer.reason, answer.detail) == (None, "NOT_COLLECTED", "nobody has measured this host")


def test_a_record_that_is_too_large_is_not_read(machine: Machine) -> None:
    keep("x" * ((1 << 20) + 1))
    (answer,) = attained(machine, data_dir="")
    assert answer.reason == "TOO_EXPENSIVE"


def test_a_folder_that_is_not_there_yet_lies_on_the_disk_above_it(tmp_path: Path) -> None:
    assert device_of(str(tmp_path / "not" / "there")) == device_of(str(tmp_path))
    assert device_of("") == ""
    assert device_of("a\0b") == ""


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"ENGRAM_DIAGNOSE_STATE": "/state"}, "/state"),
        ({"XDG_STATE_HOME": "/shared", "HOME": "/home/me"}, "/shared/engram-diagnose"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/engram-diagnose"),
    ],
)
def test_the_state_is_where_its_variables_say(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], place: str
) -> None:
    for name in ("ENGRAM_DIAGNOSE_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert state_place() == place
