"""
Places that the service talks to: a server that answers as told, and real Alertmanagers; and incidents to talk about.
"""

import asyncio
import io
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from watching import GROUPING, until

from engram_diagnose.history.incidents import IncidentStore, Search, open_incidents
from engram_diagnose.history.model import Alert, Finding, Incident, Notification
from engram_diagnose.service.announce import messages_for
from engram_diagnose.service.courier import Courier
from engram_diagnose.service.log import Log
from engram_diagnose.service.settings import Settings

# A server that answers as told


@dataclass(frozen=True)
class Got:
    """A request."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b"[]"
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Place:
    """Keeps what it got; `answer` says what to answer, from the number of the request on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.got: list[Got] = []
        self.answer: Callable[[Got], Answer] = lambda _: Answer()

    def told(self, path: str = "") -> list[Got]:
        """The requests with a body, below a path."""
        return [got for got in self.got if got.body and got.path.startswith(path)]


@contextmanager
def place(answer: Callable[[Got], Answer] | None = None) -> Iterator[Place]:
    found: list[Place] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            got = Got(self.path, dict(self.headers), self.rfile.read(length), time.time())
            found[0].got.append(got)
            said = found[0].answer(got)
            time.sleep(said.seconds)
            with suppress(OSError):
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

        do_POST = do_GET  # noqa: N815 -- the name is the library's

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.append(Place(f"http://127.0.0.1:{server.server_port}"))
    if answer:
        found[0].answer = answer
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found[0]
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


# A real Alertmanager


@dataclass(frozen=True)
class RealAlertmanager:
    url: str

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """What fires there, by labels."""
        filters = [("filter", f'{name}="{value}"') for name, value in labels.items()]
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts?{urllib.parse.urlencode(filters)}", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def fire(self, labels: Mapping[str, str], *, seconds_ago: float = 0.0, lasts: float = 300.0) -> None:
        """Raise an alert as Prometheus does; one that lasts less than nothing is resolved."""
        now = datetime.now(UTC)
        alert = {"labels": dict(labels), "annotations": {"summary": "it burns"},
                 "startsAt": (now - timedelta(seconds=seconds_ago)).isoformat(),
                 "endsAt": (now + timedelta(seconds=lasts)).isoformat(),
                 "generatorURL": "http://prometheus.example/graph"}  # fmt: skip
        self._post("/api/v2/alerts", [alert])

    def silence(self, name: str) -> None:
        now = datetime.now(UTC)
        self._post("/api/v2/silences", {
            "matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "a test", "comment": "a test"})  # fmt: skip

    def _post(self, path: str, body: Any) -> None:
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})  # fmt: skip
        with urllib.request.urlopen(request, timeout=5):
            pass


@contextmanager
def alertmanager(
    folder: Path, *, webhook: str = "http://127.0.0.1:1/", cluster: int = 0, peers: Sequence[int] = ()
) -> Iterator[RealAlertmanager]:
    """Alertmanager, which routes everything to a receiver `engram-diagnose` that calls `webhook`."""
    binary = shutil.which("prometheus-alertmanager")
    assert binary is not None
    folder.mkdir(parents=True, exist_ok=True)
    receiver = {"name": "engram-diagnose", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
    others = {"name": "others"}
    route = {"receiver": "engram-diagnose", "group_wait": "100ms", "group_interval": "1s", "group_by": ["..."],
             "routes": [{"receiver": "others", "matchers": ['team="others"']}]}  # fmt: skip
    config = {"route": route, "receivers": [receiver, others]}
    (folder / "alertmanager.yml").write_text(json.dumps(config))  # YAML, too
    url = f"127.0.0.1:{free_port()}"
    command = [binary, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
               f"--web.listen-address={url}", "--log.level=warn", "--cluster.peer-timeout=1s",
               f"--cluster.listen-address={f'127.0.0.1:{cluster}' if cluster else ''}",
               *(f"--cluster.peer=127.0.0.1:{peer}" for peer in peers)]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: _answers(f"http://{url}/-/ready"), "Alertmanager to be ready")
            yield RealAlertmanager(f"http://{url}")
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


async def eventually(happens: Callable[[], Any], what: str, *, seconds: float = 20) -> None:
    await asyncio.to_thread(until, happens, what, seconds=seconds)


# Incidents


class Book:
    """A database of incidents, and a log of what is sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said = io.StringIO()
        self.log = Log(self.said)
        with self.open() as store:
            store.search  # noqa: B018 -- it was made, and is closed again

    def open(self) -> IncidentStore:
        return open_incidents(self.path)

    def alert(self, name: str = "RecallLatencyHigh", instance: str = "engram-1:7432", **labels: str) -> Alert:
        found = {"alertname": name, "instance": instance, "severity": "critical", **labels}
        return Alert(json.dumps(found, sort_keys=True), "firing", found, {}, time.time() - 30)

    def fire(self, alert: Alert) -> str:
        """An incident of one alert; its id."""
        with self.open() as store:
            accepted = store.accept(Notification((alert,)), time.time(), GROUPING)
        return accepted.incidents[0]

    def resolve(self, alert: Alert) -> None:
        over = Alert(alert.identity, "resolved", alert.labels, {}, alert.starts_at, time.time())
        with self.open() as store:
            store.accept(Notification((over,)), time.time(), GROUPING)

    def diagnose(self, settings: Settings, *, made_at: float | None = None, **about: Any) -> str:
        """Diagnose the incident that waits longest, as the worker does; its id."""
        now = time.time() if made_at is None else made_at
        with self.open() as store:
            taken = store.take_job(time.time())
            assert taken is not None
            job, incident = taken
            finding = finding_of(incident.id, made_at=now, **about)
            messages = messages_for(incident, finding, settings, now)
            assert store.finish(incident.id, job.token, finding, {}, b"", messages, now)
        return incident.id

    def counts(self) -> Any:
        with self.open() as store:
            return store.counts()

    def incidents(self) -> list[Incident]:
        """Every incident with its alerts, newest first."""
        with self.open() as store:
            return [one for item in store.search(Search(limit=200)).items if (one := store.incident(item.incident.id))]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said.getvalue().splitlines()]


def finding_of(incident: str, **about: Any) -> Finding:
    found: dict[str, Any] = {
        "made_at": 1_700_000_100.0, "state": "missed", "severity": "critical",
        "sentence": "1 symptom found, 1 cause concluded", "rule": "hot-tier-too-small",
        "title": "The hot tier is too small", "confidence": 0.87, "action": "Set storage.hot_tier_size_mb to 2048",
    }  # fmt: skip
    return Finding(incident, **{**found, **about})


@asynccontextmanager
async def sending(courier: Courier) -> AsyncIterator[Courier]:
    """The courier at work."""
    task = asyncio.create_task(courier.run())
    try:
        yield courier
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
