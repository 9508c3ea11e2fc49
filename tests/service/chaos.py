"""
Kills the service and its worker with SIGKILL at random instants, again and again, and looks what became of the alerts.

`python tests/service/chaos.py --rounds 1000` does so to the writer, the supervisor and the worker behind a plain
socket; with `--whole` to `engram-diagnose serve` itself, over HTTP, where every diagnosis is a real one. Every alert
that was acknowledged must be in the database, every incident must have one diagnosis, the one it had first, or be put
aside with a reason, and the database must be sound.
"""

import argparse
import asyncio
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

CLIENTS = 4
TOGETHER = 3
"""Alerts of one incident."""
REAL = 25
"""One incident in so many is diagnosed in earnest."""
WATCH_SECONDS = (0.0, 0.1, 0.5, 1.0)
"""Up to how long a round lets them run: from the first moments of a start to well into the work."""
PATIENCE_SECONDS = 5.0
"""How long a round waits for a worker, or for a diagnosis, that it wants to kill."""


# The service under test: the real writer, supervisor and worker, behind the plainest of sockets


async def serve(database: Path, port: int, prometheus: str) -> None:
    import planted_diagnoses
    from watching import GROUPING, notification

    from engram_diagnose.history.incidents import open_incidents
    from engram_diagnose.service.commit import GroupCommit
    from engram_diagnose.service.log import Log
    from engram_diagnose.service.settings import Prometheus, Settings, Worker
    from engram_diagnose.service.supervisor import Supervisor

    settings = Settings(
        worker=Worker(attempts=10, backoff_seconds=0.02, deadline_seconds=30), prometheus=Prometheus(prometheus)
    )
    commit = GroupCommit(lambda: open_incidents(database), GROUPING)
    commit.start()
    supervisor = Supervisor(settings, database, Log(), diagnose=planted_diagnoses.NAME)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                instance, name = json.loads(line)
                received = notification(instance, name)
                await asyncio.wrap_future(commit.submit(received, time.time()))
                supervisor.wake()
                writer.write(b"kept\n")
                await writer.drain()
        writer.close()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await asyncio.start_server(accept, "127.0.0.1", port):
        await supervisor.start()
        await stop.wait()
        await supervisor.stop()
    commit.stop()


# Who sends, kills and compares


@dataclass
class Outcome:
    """What a run came to. `lost` and `wrong` are empty when all is well."""

    rounds: int = 0
    servers_killed: int = 0
    workers_killed: int = 0
    amid_a_diagnosis: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    incidents: int = 0
    diagnosed: int = 0
    parked: int = 0
    tried_again: int = 0
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds in {self.seconds:.0f} s: {self.servers_killed} times the service killed, "
            f"{self.workers_killed} times the worker, {self.amid_a_diagnosis} times amid a diagnosis; "
            f"{self.acknowledged} alerts acknowledged, {self.unanswered} not, {len(self.lost)} lost; "
            f"{self.incidents} incidents, {self.diagnosed} diagnosed ({self.tried_again} after more than one attempt), "
            f"{self.parked} put aside, {len(self.wrong)} wrong"
        )


class PlainLine:
    """A connection to the plain socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def kept(self, instance: str, name: str) -> bool:
        """Send an alert; whether it was acknowledged. Raises `OSError`."""
        self._socket.sendall(json.dumps([instance, name]).encode() + b"\n")
        return self._socket.recv(16) == b"kept\n"

    def close(self) -> None:
        self._socket.close()


class Webhook:
    """A connection to the service's webhook."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.connect()

    def kept(self, instance: str, name: str) -> bool:
        """Send an alert; whether it was acknowledged. Raises `OSError`."""
        labels = {"alertname": name, "instance": instance, "severity": "warning"}
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        alert = {"status": "firing", "labels": labels, "annotations": {}, "startsAt": now,
                 "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": ""}  # fmt: skip
        body = {"version": "4", "groupKey": "chaos", "status": "firing", "receiver": "chaos", "groupLabels": {},
                "commonLabels": labels, "commonAnnotations": {}, "externalURL": "", "alerts": [alert]}  # fmt: skip
        headers = {"Content-Type": "application/json"}
        try:
            self._connection.request("POST", "/api/v1/alerts", json.dumps(body), headers)
            answer = self._connection.getresponse()
            answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from None
        return answer.status == 202

    def close(self) -> None:
        self._connection.close()


class Sender(threading.Thread):
    """Sends alerts of its own, one at a time, and notes those whose keeping was acknowledged."""

    def __init__(self, number: int, connect: Callable[[], PlainLine | Webhook], pause: float) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[tuple[str, str]] = []
        self.unanswered = 0
        self.stopping = threading.Event()
        self._number, self._connect, self._pause = number, connect, pause

    def run(self) -> None:
        sent = 0
        connection: PlainLine | Webhook | None = None
        while not self.stopping.wait(self._pause):
            incident, name = divmod(sent, TOGETHER)
            kind = "real" if incident % REAL == 0 else "brief"
            alert = (f"{kind}-{self._number}-{incident}", f"Alert{name}")
            try:
                connection = connection or self._connect()
                sent += 1
                if connection.kept(*alert):
                    self.acknowledged.append(alert)
                    continue
                self.unanswered += 1
            except ConnectionRefusedError:
                continue
            except OSError:
                self.unanswered += 1
            if connection is not None:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


class Referee:
    """Runs the rounds over one database."""

    def __init__(self, database: Path, prometheus: str, seed: int, *, whole: bool) -> None:
        self._database = database
        self._prometheus = prometheus
        self._whole = whole
        self._chance = random.Random(seed)
        self._port = _free_port()
        self._outcome = Outcome()
        self._first_diagnoses: dict[str, float] = {}

    def run(self, rounds: int, *, pause: float = 0.1, log: Path | None = None) -> Outcome:
        started = time.monotonic()
        line = Webhook if self._whole else PlainLine
        senders = [Sender(number, lambda: line(self._port), pause) for number in range(CLIENTS)]
        with open(log or os.devnull, "ab") as written:
            self._log = written
            self._rounds(rounds, senders)
            for sender in senders:
                sender.stopping.set()
            self._settle()
        for sender in senders:
            sender.join()
        self._compare([alert for sender in senders for alert in sender.acknowledged])
        self._outcome.unanswered = sum(sender.unanswered for sender in senders)
        self._outcome.seconds = time.monotonic() - started
        return self._outcome

    def _rounds(self, rounds: int, senders: list[Sender]) -> None:
        server = self._start()
        for sender in senders:
            sender.start()
        try:
            for _ in range(rounds):
                if self._chance.random() < 0.6:
                    server = self._kill_server(server)
                else:
                    self._kill_worker(server.pid)
                self._outcome.rounds += 1
                if self._outcome.rounds % 100 == 0:
                    print(f"{self._outcome.rounds} rounds", file=sys.stderr, flush=True)
        finally:
            server.kill()
            server.wait()

    def _settings(self) -> Path:
        path = self._database.with_name("settings.toml")
        path.write_text("[worker]\nattempts = 10\nbackoff_seconds = 0.02\ndeadline_seconds = 30\n")
        return path

    def _kill_server(self, server: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """At any instant, in one of three amid a diagnosis; and start another."""
        if self._chance.random() < 1 / 3:
            self._until(self._diagnosing)
        time.sleep(self._chance.uniform(0, self._chance.choice(WATCH_SECONDS)))
        self._outcome.amid_a_diagnosis += self._diagnosing()
        server.kill()
        server.wait()
        self._outcome.servers_killed += 1
        self._note_diagnoses()
        return self._start()

    def _kill_worker(self, server: int) -> None:
        """At any instant of its life, in one of two amid a diagnosis."""
        self._until(lambda: bool(_child_of(server)))
        if self._chance.random() < 1 / 2:
            self._until(self._diagnosing)
            time.sleep(self._chance.uniform(0, 0.02))
        else:
            time.sleep(self._chance.uniform(0, self._chance.choice(WATCH_SECONDS)))
        worker = _child_of(server)
        if worker:
            self._outcome.amid_a_diagnosis += self._diagnosing()
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
            self._outcome.workers_killed += 1

    def _until(self, happens: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not happens() and time.monotonic() < deadline:
            time.sleep(0.002)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, __file__, "--serve", str(self._database), "--port", str(self._port),
                   "--prometheus", self._prometheus]  # fmt: skip
        if self._whole:
            program = "from engram_diagnose.cli import main; main()"
            options = {"settings": self._settings(), "listen": f"127.0.0.1:{self._port}", "database": self._database,
                       "prometheus": self._prometheus}  # fmt: skip
            command = [sys.executable, "-c", program, "serve", *(f"--{key}={value}" for key, value in options.items())]
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=self._log)

    def _settle(self) -> None:
        """Let one service work in peace until nothing waits, and stop it as an operator would."""
        server = self._start()
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and (self._waiting() or not _child_of(server.pid)):
            time.sleep(0.2)
            if server.poll() is not None:
                self._outcome.wrong.append(f"the service ended by itself with {server.returncode}")
                return
        server.terminate()
        if server.wait(60) != 0:
            self._outcome.wrong.append(f"the service ended with {server.returncode} when it was asked to stop")

    # What the database says

    def _ask(self, query: str) -> list[tuple[str, ...]]:
        try:
            with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=20)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []  # not made yet

    def _waiting(self) -> bool:
        return bool(self._ask("SELECT 1 FROM jobs WHERE state IN ('queued', 'running') LIMIT 1"))

    def _diagnosing(self) -> bool:
        return bool(self._ask("SELECT 1 FROM jobs WHERE state = 'running' LIMIT 1"))

    def _note_diagnoses(self) -> None:
        for incident, made_at in self._ask("SELECT incident, made_at FROM diagnoses"):
            if self._first_diagnoses.setdefault(incident, made_at) != made_at:
                self._outcome.wrong.append(f"{incident} was diagnosed a second time")

    def _compare(self, acknowledged: list[tuple[str, str]]) -> None:
        outcome = self._outcome
        self._note_diagnoses()
        kept = set(self._ask("SELECT instance, name FROM alerts JOIN incidents ON incidents.id = alerts.incident"))
        outcome.acknowledged = len(acknowledged)
        outcome.lost = [f"{name} of {instance}" for instance, name in acknowledged if (instance, name) not in kept]
        diagnosed = {incident for (incident,) in self._ask("SELECT incident FROM diagnoses")}
        for incident, state, attempts, error in self._ask(
            "SELECT incidents.id, jobs.state, attempts, error FROM incidents LEFT JOIN jobs ON incident = incidents.id"
        ):
            outcome.incidents += 1
            outcome.diagnosed += incident in diagnosed
            outcome.parked += state == "parked"
            outcome.tried_again += incident in diagnosed and int(attempts) > 1
            if state not in ("done", "parked") or (state == "done") != (incident in diagnosed):
                outcome.wrong.append(f"{incident} is {state}, and {'' if incident in diagnosed else 'not '}diagnosed")
            if state == "parked" and not error:
                outcome.wrong.append(f"{incident} is put aside, and nothing says why")
        outcome.wrong += [f"gone: {incident}" for incident in self._first_diagnoses if incident not in diagnosed]
        outcome.wrong += [text for (text,) in self._ask("PRAGMA integrity_check") if text != "ok"]


def _child_of(pid: int) -> int:
    """The worker of a service; 0 where there is none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def prometheus() -> Iterator[str]:
    """A Prometheus in a process of its own."""
    process = subprocess.Popen([sys.executable, str(HERE / "replayed.py")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def run(rounds: int, *, seed: int, folder: Path | None = None, whole: bool = False) -> Outcome:
    """So many rounds over a new database."""
    pause = 0.3 if whole else 0.1
    with tempfile.TemporaryDirectory(prefix="engram-chaos-", dir=folder) as made, prometheus() as address:
        return Referee(Path(made, "history.db"), address, seed, whole=whole).run(
            rounds, pause=pause, log=Path(made, "log")
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--whole", action="store_true", help="against `engram-diagnose serve`, over HTTP")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--prometheus", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve, given.port, given.prometheus))
        return 0
    print(f"seed {given.seed}", file=sys.stderr, flush=True)
    outcome = run(given.rounds, seed=given.seed, whole=given.whole)
    print(outcome)
    for line in [*outcome.lost, *outcome.wrong][:50]:
        print(f"  {line}")
    return 1 if outcome.lost or outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
