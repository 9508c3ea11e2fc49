"""The running service: it starts, reloads and ends as an operator expects, and loses nothing it accepted."""

import asyncio
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from places import Answer, Got, place, until

from engram_diagnose.history.incidents import Grouping, StoreError, open_incidents
from engram_diagnose.history.model import Alert, Notification
from engram_diagnose.history.records import Search
from engram_diagnose.service.log import Log
from engram_diagnose.service.server import Service
from engram_diagnose.service.settings import Incidents, Settings, Tls

PROGRAM = [sys.executable, "-c", "from engram_diagnose.cli import main; main()"]


@dataclass
class Running:
    """One process of the service, in its folder."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    port: int = 0

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines() if line.endswith("}")]

    def until(self, event: str, *, after: int = 0, seconds: float = 30) -> dict[str, Any]:
        """The log's line of this event, once it is there, of those after the first so many lines."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.said()[after:]:
                if line["event"] == event:
                    return line
            assert self.process.poll() is None or event == "stopped", (self.folder / "log").read_text()
            time.sleep(0.05)
        raise AssertionError(f"no {event!r} in {self.said()}")

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"Authorization": "Bearer a-token-for-tests"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def end(self, number: int = signal.SIGTERM, *, within: float = 30) -> int:
        self.process.send_signal(number)
        return self.process.wait(within)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def begin(settings: str = "", *, wait: bool = True, listen: str = "127.0.0.1:0", **environment: str) -> Running:
        (tmp_path / "token").write_text("a-token-for-tests\n")
        lines = f'listen = "{listen}"\ndatabase = "history.db"\n{settings}\n[auth]\nbearer_token_files = ["token"]\n'
        (tmp_path / "serve.toml").write_text(lines)
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [*PROGRAM, "serve", "--settings", str(tmp_path / "serve.toml")],
                stderr=log, env=os.environ | environment,
            )  # fmt: skip
        started.append(Running(process, tmp_path))
        if wait:
            started[-1].port = started[-1].until("listening")["port"]
        return started[-1]

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()


def notification(number: int, status: str = "firing") -> bytes:
    alert = {
        "status": status,
        "labels": {"alertname": "RecallLatencyHigh", "instance": f"db{number}:7432", "severity": "critical"},
        "annotations": {},
        "startsAt": "2026-11-22T02:55:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }
    return json.dumps({"version": "4", "groupKey": "g", "status": status, "receiver": "r", "alerts": [alert]}).encode()


def test_an_alert_becomes_a_diagnosis_on_a_page(start: Start) -> None:
    service = start()
    status, answer = service.ask("/api/v1/alerts", notification(1))
    assert status == 202
    (incident,) = json.loads(answer)["incidents"]
    service.until("worker finished")
    assert service.ask(f"/incidents/{incident}")[0] == 200
    assert json.loads(service.ask(f"/api/v1/incidents/{incident}")[1])["job"]["state"] == "done"
    assert b'engram_diagnose_jobs{state="done"} 1.0' in service.ask("/metrics")[1]
    assert json.loads(service.ask("/-/ready")[1]) == {"ready": True, "worker": "up"}
    assert "a-token-for-tests" not in (service.folder / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_cleanly_and_takes_its_worker_along(start: Start, number: int) -> None:
    service = start()
    worker = service.until("worker ready")["pid"]
    service.ask("/api/v1/alerts", notification(1))
    assert service.end(number) == 0
    said = [line["event"] for line in service.said()]
    assert "stopping" in said
    assert said[-1] == "stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_killed_at_once_it_has_what_it_accepted_and_diagnoses_it_later(start: Start) -> None:
    service = start()
    for number in range(5):
        assert service.ask("/api/v1/alerts", notification(number))[0] == 202
    service.process.kill()
    service.process.wait()
    again = start()
    end = time.monotonic() + 60
    done = 0
    while done < 5 and time.monotonic() < end:
        time.sleep(0.2)
        with open_incidents(again.folder / "history.db") as store:
            done = store.counts().done
    with open_incidents(again.folder / "history.db") as store:
        found = store.search(Search()).items
    assert [one.job.state for one in found] == ["done"] * 5


def test_a_reload_takes_over_new_settings_and_rules_without_a_gap(start: Start) -> None:
    service = start()
    path = service.folder / "serve.toml"
    path.write_text(path.read_text() + '[incidents]\nignore = ["RecallLatencyHigh"]\n')
    service.process.send_signal(signal.SIGHUP)
    service.until("reloaded")
    assert json.loads(service.ask("/api/v1/alerts", notification(1))[1])["ignored"] == 1
    (service.folder / "token").write_text("another")
    assert service.ask("/metrics")[0] == 401


@pytest.mark.parametrize(
    ("line", "said"),
    [("listn = 3", "did you mean listen?"), ('rules = ["pack"]', "not YAML")],
    ids=["settings", "rules"],
)
def test_what_cannot_be_used_changes_nothing_and_is_told(start: Start, line: str, said: str) -> None:
    service = start()
    (service.folder / "pack").mkdir()
    (service.folder / "pack" / "x.yaml").write_text("rules: [")
    path = service.folder / "serve.toml"
    path.write_text(f"{line}\n{path.read_text()}")
    service.process.send_signal(signal.SIGHUP)
    assert said in service.until("not reloaded")["reason"]
    status, answer = service.ask("/-/reload", b"")
    assert (status, json.loads(answer)["reloaded"]) == (500, False)
    assert b"engram_diagnose_last_reload_successful 0.0" in service.ask("/metrics")[1]
    assert service.ask("/api/v1/alerts", notification(1))[0] == 202
    service.until("worker finished")


def test_what_a_reload_cannot_change_is_named(start: Start) -> None:
    service = start()
    path = service.folder / "serve.toml"
    path.write_text(path.read_text().replace("127.0.0.1:0", "127.0.0.1:1"))
    service.process.send_signal(signal.SIGHUP)
    assert service.until("restart to change these")["settings"] == ["listen"]


def test_a_reload_takes_authentication_off_no_socket_that_others_reach(start: Start) -> None:
    service = start(listen="0.0.0.0:0")
    path = service.folder / "serve.toml"
    alone = path.read_text().replace("0.0.0.0:0", "127.0.0.1:0").partition("[auth]")[0]
    path.write_text(f'{alone}[incidents]\nignore = ["RecallLatencyHigh"]\n')
    service.process.send_signal(signal.SIGHUP)
    reason = service.until("not reloaded")["reason"]
    assert "only a restart changes listen" in reason
    assert "listen = '0.0.0.0:0' can be reached from other hosts, and nobody is asked who they are" in reason
    status, answer = service.ask("/-/reload", b"")
    assert (status, json.loads(answer)["reloaded"]) == (500, False)
    assert reason in json.loads(answer)["detail"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{service.port}/metrics", timeout=20)
    assert json.loads(service.ask("/api/v1/alerts", notification(1))[1])["ignored"] == 0


def test_what_only_a_restart_changes_stays_in_force_after_each_reload(start: Start) -> None:
    service = start(listen="0.0.0.0:0")
    path = service.folder / "serve.toml"
    with_auth = path.read_text().replace("0.0.0.0:0", "127.0.0.1:0")
    path.write_text(with_auth)
    assert service.ask("/-/reload", b"")[0] == 200
    path.write_text(with_auth.partition("[auth]")[0])
    status, answer = service.ask("/-/reload", b"")
    assert status == 500
    assert b"0.0.0.0:0" in answer
    assert service.ask("/metrics")[0] == 200


def test_a_certificate_that_cannot_be_renewed_keeps_the_other_settings_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names in force are those of the start; what the file names now is not what would be presented."""
    (tmp_path / "cert.pem").write_text("half a certif")
    before = Settings(
        database=tmp_path / "history.db", tls=Tls(certificate=tmp_path / "cert.pem", key=tmp_path / "cert.pem")
    )
    after = replace(before, tls=Tls(), incidents=Incidents(ignore=("RecallLatencyHigh",)))
    service = Service(before, lambda: after, Log(io.StringIO()))

    async def reload(*_: object, **__: object) -> None:
        raise AssertionError("the rules were changed over to before the certificate was looked at")

    monkeypatch.setattr(service._supervisor, "reload", reload)
    problem = asyncio.run(service.reload())
    assert problem is not None
    assert "cert.pem" in problem
    assert service.services.settings == before


@pytest.mark.parametrize("by", ["signal", "call"])
def test_stopped_during_a_reload_it_does_not_wait_for_a_worker_that_hangs(start: Start, by: str) -> None:
    service = start("[limits]\ndeadline_seconds = 1\n")
    worker = service.until("worker ready")["pid"]
    os.kill(worker, signal.SIGSTOP)

    def call() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            service.ask("/-/reload", b"")

    if by == "signal":
        service.process.send_signal(signal.SIGHUP)
    else:
        threading.Thread(target=call).start()
    end = time.monotonic() + 30
    while sum(line["event"] == "worker ready" for line in service.said()) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert service.end(within=60) == 0
    for line in service.said():
        if line["event"] == "worker ready":
            with pytest.raises(ProcessLookupError):
                os.kill(line["pid"], 0)


def test_systemd_is_told_when_it_is_ready_reloads_and_stops(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = f"@engram-diagnose-{os.getpid()}-{time.monotonic_ns()}"
        systemd.bind("\0" + address[1:])
        systemd.settimeout(30)
        service = start(NOTIFY_SOCKET=address)
        assert systemd.recv(1000) == b"READY=1"
        service.process.send_signal(signal.SIGHUP)
        assert systemd.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert systemd.recv(1000) == b"READY=1"
        service.process.send_signal(signal.SIGTERM)
        assert systemd.recv(1000) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('rules = ["serve.toml"]', "serve.toml"),
        ("listn = 1", "did you mean listen?"),
        ('public_url = "x"', "public_url"),
    ],
)
def test_what_keeps_it_from_starting_is_said_without_a_traceback(start: Start, settings: str, said: str) -> None:
    service = start(settings, wait=False)
    assert service.process.wait(30) == 2
    text = (service.folder / "log").read_text()
    assert said in text
    assert "Traceback" not in text


def test_a_port_that_is_taken_is_said(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service = start(wait=False, ENGRAM_DIAGNOSE_LISTEN=address)
        assert service.process.wait(30) == 2
        assert f"cannot listen at {address}: Address already in use" in (service.folder / "log").read_text()


def test_check_names_what_is_wrong_and_what_is_seldom_meant(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("")
    (tmp_path / "serve.toml").write_text('[auth]\nbearer_token_files = ["token"]\n')
    check = [*PROGRAM, "serve", "--settings", str(tmp_path / "serve.toml"), "check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path / 'token'}: it is empty" in done.stderr
    assert "note: prometheus.url is not set" in done.stderr
    (tmp_path / "token").write_text("x")
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "the settings can be used, with" in done.stdout


def test_a_backup_is_taken_while_it_runs(start: Start) -> None:
    service = start()
    service.ask("/api/v1/alerts", notification(1))
    copy = service.folder / "copy.db"
    backup = [*PROGRAM, "serve", "--settings", str(service.folder / "serve.toml"), "backup", str(copy)]
    subprocess.run(backup, check=True, capture_output=True)
    with open_incidents(copy, read_only=True) as store:
        assert store.counts().alerts == 1


def test_a_server_that_repeats_our_secrets_gets_them_into_no_line_of_the_log(start: Start, tmp_path: Path) -> None:
    secrets = ("token-of-alertmanager", "/services/T0/very-secret", "a-token-for-tests")

    def echo(got: Got) -> Answer:
        return Answer(400, json.dumps(f"bad {got.headers} {got.path} {secrets}").encode())

    (tmp_path / "am").write_text("token-of-alertmanager\n")
    with place(echo) as at:
        (tmp_path / "hook").write_text(f"{at.url}/services/T0/very-secret")
        service = start(
            f'[alertmanager]\nurls = ["{at.url}"]\nbearer_token_file = "am"\n[webhook]\nurl_file = "hook"\n'
        )
        assert service.ask("/api/v1/alerts", notification(1))[0] == 202
        until(lambda: at.told("/services"), "the webhook")
        until(lambda: at.told("/api/v2"), "our alert")
        until(lambda: sum(line["event"] == "message refused" for line in service.said()) == 2, "both refusals")
        service.end()
    text = (service.folder / "log").read_text()
    assert "***" in text
    for secret in secrets:
        assert secret not in text
        assert secret[:10] not in text


def test_a_second_service_on_the_database_is_refused_with_who_has_it_and_the_first_one_stays(start: Start) -> None:
    service = start()
    again = subprocess.run(
        [*PROGRAM, "serve", "--settings", str(service.folder / "serve.toml")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert again.returncode == 2
    database = service.folder / "history.db"
    assert f"{database}: another service runs on it, process {service.process.pid}, " in again.stderr
    assert f"{database}-lock" in again.stderr
    assert "Traceback" not in again.stderr
    assert service.ask("/api/v1/alerts", notification(1))[0] == 202


def test_a_killed_service_is_followed_at_once(start: Start) -> None:
    service = start()
    service.process.kill()
    again = start()
    assert again.ask("/api/v1/alerts", notification(1))[0] == 202


def test_a_database_that_is_replaced_shows_on_pages_at_once(start: Start) -> None:
    service = start()
    (first,) = json.loads(service.ask("/api/v1/alerts", notification(1))[1])["incidents"]
    service.until("worker finished")
    assert service.ask(f"/incidents/{first}")[0] == 200
    for name in ("history.db", "history.db-wal", "history.db-shm"):
        (service.folder / name).unlink(missing_ok=True)
    assert service.ask(f"/incidents/{first}")[0] == 404
    assert json.loads(service.ask("/api/v1/incidents")[1])["incidents"] == []
    assert b'engram_diagnose_incidents{state="open"} 0.0' in service.ask("/metrics")[1]


@pytest.mark.parametrize("gone", ["token", "certificate"])
def test_a_backup_needs_nothing_of_the_settings_but_the_database(start: Start, gone: str) -> None:
    service = start()
    service.ask("/api/v1/alerts", notification(1))
    path = service.folder / "serve.toml"
    if gone == "token":
        (service.folder / "token").unlink()
    else:
        path.write_text(f'{path.read_text()}[tls]\ncertificate = "none.pem"\nkey = "none.key"\nunknown = 1\n')
    copy = service.folder / "copy.db"
    backup = [*PROGRAM, "serve", "--settings", str(path), "backup", str(copy)]
    subprocess.run(backup, check=True, capture_output=True)
    with open_incidents(copy, read_only=True) as store:
        assert store.counts().alerts == 1


@pytest.mark.parametrize(
    ("content", "said"), [("database = ", "it is not TOML"), ("database = 7", "database must be the path of a file")]
)
def test_a_backup_says_what_keeps_it_from_the_database(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(content)
    backup = [*PROGRAM, "serve", "--settings", str(path), "backup", str(tmp_path / "copy.db")]
    done = subprocess.run(backup, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{path}: " in done.stderr
    assert said in done.stderr


def test_a_named_database_is_copied_whatever_the_settings_say(tmp_path: Path) -> None:
    open_incidents(tmp_path / "history.db").close()
    (tmp_path / "serve.toml").write_text("database = ")
    options = ["--settings", str(tmp_path / "serve.toml"), "--database", str(tmp_path / "history.db")]
    subprocess.run([*PROGRAM, "serve", *options, "backup", str(tmp_path / "copy.db")], check=True, capture_output=True)


def test_many_signals_during_a_reload_are_one_more_reload(start: Start) -> None:
    service = start()
    for _ in range(20):
        service.process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    reloaded = lambda: sum(line["event"] == "reloaded" for line in service.said())  # noqa: E731
    until(lambda: reloaded() == 2, "both reloads", seconds=60)
    assert service.ask("/-/reload", b"")[0] == 200
    assert reloaded() == 3


def test_what_a_clock_ahead_of_time_put_off_is_diagnosed_at_the_start(start: Start, tmp_path: Path) -> None:
    begun = start()
    begun.end()
    ahead = time.time() + 30 * 86_400
    with open_incidents(tmp_path / "history.db") as store:
        labels = {"alertname": "RecallLatencyHigh", "instance": "db1:7432"}
        alert = Alert("ahead", "firing", labels, {}, time.time())
        (id,) = store.accept(Notification((alert,)), ahead, Grouping((), 600)).incidents
        assert store.take_job(time.time()) is None
    service = start()
    assert service.until("worker finished")["incident"] == id


def test_a_clock_that_is_set_back_lets_run_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that watches, with clocks of its own; the others are as they are in a service."""
    said = io.StringIO()
    service = Service(Settings(database=tmp_path / "history.db"), Settings, Log(said))
    back = iter([0.0, 7200.0])
    monkeypatch.setattr(service._watch, "set_back_seconds", lambda: next(back, 0.0))
    monkeypatch.setattr("engram_diagnose.service.server._CLOCK_SECONDS", 0.001)
    usual, failures = service._let_run, iter([StoreError("history.db: the disk is full")])

    def let_run() -> int:
        for failure in failures:
            raise failure
        return usual()

    monkeypatch.setattr(service, "_let_run", let_run)
    with service._open() as store:
        alert = Alert("ahead", "firing", {"alertname": "A", "instance": "db1"}, {}, time.time())
        store.accept(Notification((alert,)), time.time() + 7200, Grouping((), 600))

    async def watched() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(service._watch_clock(), 1)

    asyncio.run(watched())
    failed, *done = (json.loads(line) for line in said.getvalue().splitlines())
    assert failed["error"] == "history.db: the disk is full"
    assert done == [
        {"time": ANY, "level": "warning", "event": "the clock was set back", "seconds": 7200.0, "let_run": 1}
    ]
    with service._open() as store:
        assert store.take_job(time.time()) is not None
