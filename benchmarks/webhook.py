"""
The service from Alertmanager's point of view: how fast it takes notifications, and how soon its answer is back.

Beside it stands Flask on waitress doing the same durable work, in the same run, under the same load; once with both
alone and once with diagnoses running on the same machine. What was acknowledged is counted in both databases.
"""

import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from load import PATH, Load, load, quantile, requests_of
from measure import Timing, timing
from outcome import Outcome, compared
from serving import HERE, Served, ServingError, alertmanager, answers, fetched, free_port, prometheus, running, service
from serving import until as wait_until

from engram_diagnose.history.incidents import open_incidents

AGAINST = "Flask on waitress, the same work"
BAR, BAR_BESIDE = 1 / 2.5, 1 / 1.5
"""Time for one request as a share of the yardstick's, so that the rate is 2.5 and 1.5 times as high."""
P99_SECONDS = 0.05
VISIBLE_SECONDS = 1.0
REQUESTS = 3000
ROUNDS = 7
ALERTS = 50

DIAGNOSING = """
from built_in import builtin_expert
from engram_diagnose.incidents import example_incident
from engram_diagnose.session import diagnose_bundle

expert, bundle = builtin_expert(), example_incident()
print(flush=True)
while True:
    diagnose_bundle(bundle, expert)
"""


@dataclass
class Side:
    """One of the two: where it listens, where it keeps what it took, and how many notifications it was sent."""

    served: Served
    database: Path
    sent: int = 0
    loads: list[Load] = field(default_factory=list)

    def turn(self, requests: int) -> None:
        """One round of requests, each with an alert that was not there before."""
        self.loads.append(load(self.served.port, requests, first=self.sent))
        self.sent += requests

    @property
    def each(self) -> Timing:
        """Seconds for one request, by round."""
        return timing([one.each for one in self.loads])

    def quantile(self, share: float) -> Timing:
        """The quantile of how long a request took, by round."""
        return timing([one.quantile(share) for one in self.loads])


def run(*, quick: bool = False) -> list[Outcome]:
    """Load both sides in turns, alone and beside diagnoses, and then follow single alerts."""
    requests, rounds = (200, 2) if quick else (REQUESTS, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="engram-webhook-") as made:
        folder = Path(made)
        with service(folder / "ours") as ours, plain(folder / "theirs") as theirs:
            sides = (Side(ours, folder / "ours" / "history.db"), Side(theirs, folder / "theirs" / "history.db"))
            for side in sides:
                side.turn(requests)  # to warm up
            outcomes = _compared(sides, requests, rounds, "", BAR)
            with diagnosing():
                outcomes += _compared(sides, requests, rounds, ", beside diagnoses", BAR_BESIDE)
            for side in sides:
                _require_all(side)
        return outcomes + _visible(folder / "visible", 3 if quick else ALERTS)


# How fast


def _compared(sides: tuple[Side, Side], requests: int, rounds: int, when: str, bar: float) -> list[Outcome]:
    for side in sides:
        side.loads.clear()
    for _ in range(rounds):
        for side in sides:
            side.turn(requests)
    ours, theirs = sides
    limit = P99_SECONDS if not when else None
    rates = f"{1 / ours.each.median:,.0f} a second, of {1 / theirs.each.median:,.0f}"
    return [
        compared("webhook", f"one notification{when} ({rates})", ours.each, AGAINST, theirs.each, bar=bar),
        compared("webhook", f"answered{when}, p50", ours.quantile(0.5), AGAINST, theirs.quantile(0.5)),
        compared("webhook", f"answered{when}, p99", ours.quantile(0.99), AGAINST, theirs.quantile(0.99), limit=limit),
    ]


@contextmanager
def plain(folder: Path) -> Iterator[Served]:
    """The yardstick, once it answers."""
    folder.mkdir()
    port = free_port()
    command = (sys.executable, str(HERE / "plain_webhook.py"), str(port), str(folder / "history.db"))
    with running(command, port, folder / "log") as served:
        wait_until(lambda: answers(served.url), "Flask on waitress")
        yield served


@contextmanager
def diagnosing() -> Iterator[None]:
    """A process that diagnoses the example incident again and again."""
    process = subprocess.Popen([sys.executable, "-c", DIAGNOSING], cwd=HERE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise ServingError("the process that diagnoses ended")
        yield
    finally:
        process.kill()
        process.communicate()


def _require_all(side: Side) -> None:
    """Raise unless the database holds every alert that was acknowledged."""
    with open_incidents(side.database, read_only=True) as store:
        kept = store.counts().alerts
    if kept != side.sent:
        raise ServingError(f"{side.sent} alerts were acknowledged, and {kept} are in {side.database}")


# How soon


def _visible(folder: Path, alerts: int) -> list[Outcome]:
    """From the webhook's request to the diagnosis among Alertmanager's alerts, one alert after another."""
    with alertmanager(folder / "alertmanager") as told:
        if told is None:
            print("webhook: no Alertmanager on PATH, so that nothing was followed to it", file=sys.stderr)
            return []
        with prometheus() as asked:
            settings = f'[prometheus]\nurl = "{asked}"\n[alertmanager]\nurls = ["{told.url}"]\n'
            with service(folder / "service", settings) as served:
                taken = sorted(_followed(served, told, number) for number in range(alerts))
    what = f"webhook to the finding in Alertmanager, p99 of {alerts}"
    middle = quantile(taken, 0.5)
    return [
        Outcome("webhook", what, quantile(taken, 0.99), "its median", middle, limit=VISIBLE_SECONDS, repetitions=alerts)
    ]


def _followed(served: Served, told: Served, number: int) -> float:
    instance = f"followed-{number}:7432"
    body = requests_of(served.port, 1, number)[0].partition(b"\r\n\r\n")[2]
    body = body.replace(f"db{number % 32}:7432".encode(), instance.encode())
    names = [("filter", 'alertname="EngramDiagnosis"'), ("filter", f'instance="{instance}"')]
    place = f"{told.url}/api/v2/alerts?{urllib.parse.urlencode(names)}"
    request = urllib.request.Request(f"{served.url}{PATH}", body, {"Content-Type": "application/json"})
    start = time.perf_counter()
    with urllib.request.urlopen(request, timeout=10) as answer:
        if answer.status != 202:
            raise ServingError(f"the service answered {answer.status}")
    wait_until(lambda: fetched(place).strip() != b"[]", f"the diagnosis of {instance}", pause=0.005)
    return time.perf_counter() - start
