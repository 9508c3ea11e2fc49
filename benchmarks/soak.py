"""
A day of alerts in minutes: storms, duplicates of a highly available pair, resends and resolutions, over HTTP, against
a service whose database is kept within bounds.

What is accepted is followed one alert at a time: each must be seen in the database, and each incident must have one
diagnosis. The service prunes every ten minutes; here a day passes in minutes, so the soak prunes after each hour of it.
"""

import http.client
import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load import PATH
from outcome import Outcome
from serving import Served, ServingError, fetched, prometheus, service
from serving import until as wait_until

from engram_diagnose.history.incidents import open_incidents

ALERTS = 100_000
HOURS = 24
SERVERS = 16
STORMS = 8
"""Servers that a storm hits, each hour; the other servers have a few alerts."""
QUIET = 3
SENDERS = 8
AT_ONCE = 20
"""Alerts in one notification at most."""
BYTES = 16 << 20
DAYS = 90
PAGE = resource.getpagesize()
GROWTH = 1.25
"""What the memory of a process may come to, as a share of what it was after a quarter of the day."""
SLACK = 1.5
"""What the file may take over its bound: what arrived since it was pruned, and the log beside it."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """What was measured at the end of an hour, in bytes."""

    hour: int
    seconds: float
    server: int
    worker: int
    database: int
    sent: int
    diagnosed: int
    pruned: int

    def __str__(self) -> str:
        return (
            f"hour {self.hour:2}  {self.seconds:5.0f} s  {self.sent:7,} alerts  {self.diagnosed:5,} diagnoses  "
            f"{self.pruned:5,} pruned  server {self.server / 1e6:6.1f} MB  worker {self.worker / 1e6:6.1f} MB  "
            f"database {self.database / 1e6:6.1f} MB"
        )


@dataclass
class Seen:
    """What was found in the database before it was pruned."""

    path: Path
    alerts: set[str] = field(default_factory=set)
    diagnosed: dict[str, float] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)
    incidents: set[str] = field(default_factory=set)
    last: int = 0

    def look(self) -> None:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20)) as connection:
            for number, labels in connection.execute("SELECT id, labels FROM alerts WHERE id > ?", (self.last,)):
                self.last = max(self.last, number)
                self.alerts.add(json.loads(labels)["event"])
            self.incidents |= {id for (id,) in connection.execute("SELECT id FROM incidents")}
            for incident, made_at in connection.execute("SELECT incident, made_at FROM diagnoses"):
                if self.diagnosed.setdefault(incident, made_at) != made_at:
                    self.twice.add(incident)


def run(*, quick: bool = False) -> list[Outcome]:
    """The whole day, or a short one."""
    return soak(4_000 if quick else ALERTS, hours=6 if quick else HOURS)


def soak(alerts: int, *, hours: int, say: bool = True) -> list[Outcome]:
    """Replay so many alerts, spread over so many hours; each hour's figures go to stderr."""
    with tempfile.TemporaryDirectory(prefix="engram-soak-") as made, prometheus() as asked:
        path = Path(made, "history.db")
        settings = f'[prometheus]\nurl = "{asked}"\n[retention]\ndays = {DAYS}\nbytes = {BYTES}\n'
        with service(Path(made), settings) as served:
            seen, sent, refused, moments = Seen(path), set[str](), 0, list[Moment]()
            began, pruned, count = time.monotonic(), 0, 0
            for hour, phases in enumerate(day(alerts, hours)):
                for phase in phases:
                    refused += _sent(served, phase)
                    count += sum(map(len, phase))
                    sent |= {entry["labels"]["event"] for entries in phase for entry in entries}
                _settle(path)
                seen.look()
                pruned += _prune(path)
                moments.append(Moment(hour + 1, time.monotonic() - began, rss(served.process.pid), rss(served.child),
                                      _size(path), count, len(seen.diagnosed), pruned))  # fmt: skip
                if say:
                    print(moments[-1], file=sys.stderr, flush=True)
            _require_counted(served, count)
        with open_incidents(path, read_only=True) as store:
            problems, open_ = store.check(), store.counts().open
    lost = len(sent - seen.alerts) + refused
    return _outcomes(moments, seen, lost, abs(open_ - hours), len(problems))


def _outcomes(moments: list[Moment], seen: Seen, lost: int, unsettled: int, problems: int) -> list[Outcome]:
    early, late = moments[len(moments) // 4], moments[-1]
    without = len(seen.incidents - seen.diagnosed.keys())
    memory = [
        Outcome("soak", f"memory of the {name}, at the end", after, "after a quarter of the day", before, "B", GROWTH)
        for name, before, after in (("service", early.server, late.server), ("worker", early.worker, late.worker))
    ]
    largest = max(moment.database for moment in moments)
    numbers = {
        f"alerts lost, of {late.sent:,}": lost,
        f"incidents with two diagnoses, of {len(seen.incidents):,}": len(seen.twice),
        "incidents without a diagnosis": without,
        "incidents open that are over, or the reverse": unsettled,
        "problems in the database": problems,
    }
    return [
        Outcome("soak", f"{late.sent:,} alerts, {late.diagnosed:,} diagnoses", late.seconds),
        *memory,
        Outcome("soak", "the database at its largest", largest, "its bound", BYTES, "B", SLACK),
        *(Outcome("soak", what, number, unit="n", limit=0) for what, number in numbers.items()),
    ]


# The alerts


def day(alerts: int, hours: int) -> Iterator[list[list[list[Entry]]]]:
    """
    Each hour's phases, and in each the notifications that may be sent in any order: what fires, told by both of a pair
    and half of it again, and then its resolution, told by both. One incident of each hour is never resolved.
    """
    chance = random.Random(100_000)
    a_day_ago = time.time() - 86_400
    told = 4.5
    storm = max(1, round((alerts / hours / told - (SERVERS - STORMS) * QUIET) / STORMS))
    for hour in range(hours):
        start = a_day_ago + hour * 86_400 / hours
        events = [
            _event(server, f"{hour}.{server}.{number}", start + chance.uniform(0, 300))
            for server in range(SERVERS)
            for number in range(storm if (server + hour) % 2 else QUIET)
        ]
        again = [event for event in events if chance.random() < 0.5]
        over = [event for event in events if not event["labels"]["event"].startswith(f"{hour}.{hour % SERVERS}.")]
        yield [
            _notifications([*_told(events, "a", 0), *_told(events, "b", 2)], chance),
            _notifications(_told(again, "a", 0), chance),
            _notifications([*_told(over, "a", 0, ended=600), *_told(over, "b", 2, ended=603)], chance),
        ]


def _event(server: int, name: str, start: float) -> Entry:
    labels = {"alertname": "EngramStoreLatencyHigh", "instance": f"db{server}:7432", "severity": "critical",
              "job": "engram", "event": name}  # fmt: skip
    return {"labels": labels, "start": start}


def _told(events: list[Entry], replica: str, late: float, *, ended: float = 0.0) -> list[Entry]:
    """As one of the pair tells it, which noticed a little later."""
    return [
        {"status": "resolved" if ended else "firing", "labels": {**event["labels"], "replica": replica},
         "annotations": {"summary": "Stores take 300 ms at p99"}, "startsAt": _instant(event["start"] + late),
         "endsAt": _instant(event["start"] + ended) if ended else "0001-01-01T00:00:00Z",
         "generatorURL": "http://prometheus.example/graph", "fingerprint": f"{event['labels']['event']}{replica}"}
        for event in events
    ]  # fmt: skip


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _notifications(entries: list[Entry], chance: random.Random) -> list[list[Entry]]:
    """By server and member of the pair, as Alertmanager groups them, in any order."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry["labels"]["instance"], entry["labels"]["replica"]), []).append(entry)
    parts = [group[at : at + AT_ONCE] for group in groups.values() for at in range(0, len(group), AT_ONCE)]
    chance.shuffle(parts)
    return parts


# Sending, and looking


def _sent(served: Served, notifications: list[list[Entry]]) -> int:
    """Send notifications over a few connections; how many alerts were not accepted."""
    shares = [notifications[number::SENDERS] for number in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as senders:
        return sum(senders.map(lambda share: _sent_in_turn(served.port, share), shares))


def _sent_in_turn(port: int, notifications: list[list[Entry]]) -> int:
    refused = 0
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for entries in notifications:
            body = json.dumps({"version": "4", "receiver": "soak", "alerts": entries})
            connection.request("POST", PATH, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            refused += len(entries) if answer.status != 202 else 0
    return refused


def _settle(path: Path) -> None:
    """Wait until every incident is diagnosed."""
    with open_incidents(path, read_only=True) as store:

        def done() -> bool:
            counts = store.counts()
            return not (counts.queued or counts.running)

        wait_until(done, "the diagnoses of this hour", seconds=600, pause=0.5)


def _prune(path: Path) -> int:
    with open_incidents(path) as store:
        return store.prune(time.time(), older_than=DAYS * 86_400, larger_than_bytes=BYTES)


def _require_counted(served: Served, sent: int) -> None:
    """Raise unless the service's own metrics count what was sent."""
    lines = fetched(f"{served.url}/metrics").decode().splitlines()
    counted = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("engram_diagnose_alerts_total{"))
    if counted != sent:
        raise ServingError(f"{sent} alerts were sent, and the metrics count {counted:g}")


def rss(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def _size(path: Path) -> int:
    """Bytes of the file and of the log beside it."""
    return sum(part.stat().st_size for part in (path, path.with_name(f"{path.name}-wal")) if part.exists())
