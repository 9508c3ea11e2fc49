"""
The pages and the API over a database with incidents in every state, in this process.
"""

import asyncio
import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from engram_diagnose.diagnosing import diagnosis_document
from engram_diagnose.history.incidents import Accepted, Grouping, IncidentStore, open_incidents
from engram_diagnose.history.model import Alert, Finding, Notification
from engram_diagnose.incidents import example_incident
from engram_diagnose.service.api import api_routes
from engram_diagnose.service.app import create_app
from engram_diagnose.service.intake import identity_of
from engram_diagnose.service.log import Log
from engram_diagnose.service.metrics import Metrics
from engram_diagnose.service.pages import page_routes
from engram_diagnose.service.services import Services
from engram_diagnose.service.settings import Settings

NOW = 1_790_000_000.0
HOSTILE = (
    "\x1b[31m</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'>{{7*7}}${7*7}"
    "\u202eevil\u2066\x00\r\njavascript:alert(3)😀"
)
LONG = "x" * 10_000
BUNDLE = b"\x1f\x8b evidence, byte for byte"
GROUPING = Grouping((), 600.0)

Json = dict[str, Any]


@lru_cache(maxsize=1)
def diagnosed() -> Json:
    """The diagnosis of the incident that comes with the tool."""
    return diagnosis_document(example_incident(), ())


def soiled(document: Json, texts: Sequence[str]) -> Json:
    """A document with every text in it that comes from outside replaced by these in turn."""
    return dict(_soiled(deepcopy(document), itertools.cycle(texts), ""))


_WORDS = frozenset(
    {
        "kind",
        "restart",
        "rule_severity",
        "schema",
        "standing",
        "severity",
        "state",
        "status",
        "strength",
        "truth",
        "when",
        "word",
    }
)


_CODE = re.compile(r"[A-Z]+(?:_[A-Z]+)*|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""Codes and instants, which are the format's own as well."""


def _soiled(value: Any, texts: Any, key: str) -> Any:
    if isinstance(value, str):
        return value if key in _WORDS or not value or _CODE.fullmatch(value) else next(texts)
    if isinstance(value, dict):
        return {name: _soiled(item, texts, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_soiled(item, texts, key) for item in value]
    return value


def alert(
    instance: str, at: float, *, name: str = "EngramStoreSlow", ends: float | None = None, **labels: str
) -> Alert:
    every = {"alertname": name, "instance": instance, "severity": "critical", **labels}
    return Alert(
        identity_of(every),
        "firing" if ends is None else "resolved",
        every,
        {"summary": f"{name} on {instance}", "runbook_url": "javascript:alert(1)"},
        at,
        ends,
        "f00d",
    )


class _Idle:
    """A part of the service that has nothing to do here."""

    state = None

    def keep(self, notification: Any, received: float) -> asyncio.Future[Accepted]:
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        future.set_result(Accepted((), 0, 0, 0))
        return future

    def wake(self) -> None:
        """Sleep on."""


class Browser:
    """Calls the application in this process, and keeps its cookies."""

    def __init__(self, app: Starlette) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7433")
        self.cookies = self._client.cookies

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@dataclass
class Site:
    """The application, and its database, to which incidents can be added."""

    path: Path
    app: Starlette
    services: Services
    store: IncidentStore
    log: StringIO

    def browser(self) -> Browser:
        return Browser(self.app)

    def open(self, instance: str, at: float = NOW, **labels: str) -> str:
        """An incident with one alert, which waits for its diagnosis; its id."""
        notification = Notification((alert(instance, at, **labels),))
        return self.store.accept(notification, at + 5, GROUPING).incidents[0]

    def close(self, instance: str, at: float) -> None:
        """Resolve its alert a minute after it fired."""
        self.store.accept(Notification((alert(instance, at, ends=at + 60),)), at + 65, GROUPING)

    def diagnose(self, incident: str, document: Mapping[str, Any], **finding: Any) -> None:
        """Give an incident that waits its diagnosis."""
        token = self._taken(incident)
        verdict = document["verdict"]
        about: Json = {
            "state": verdict["state"],
            "severity": verdict["severity"] or "",
            "sentence": verdict["sentence"],
        }
        if document["causes"]:
            first = document["causes"][0]
            about |= {"rule": first["rule"], "title": first["title"], "action": "wal.sync_mode: immediate -> batch"}
            about["confidence"] = first["confidence"]["probability"]
        found = Finding(incident, NOW + 10, **(about | finding))
        assert self.store.finish(incident, token, found, document, BUNDLE, (), NOW + 10)

    def park(self, incident: str, error: str) -> None:
        """Let the diagnosis of an incident have failed for good."""
        assert self.store.fail(incident, self._taken(incident), error, not_before=NOW, park=True)

    def _taken(self, incident: str) -> int:
        """The token of the incident's job; others that wait are given back."""
        others = []
        while (taken := self.store.take_job(NOW + 1e6)) is not None:
            job, found = taken
            if found.id == incident:
                for one in others:
                    self.store.fail(one.incident, one.token, "", not_before=0, park=False)
                return job.token
            others.append(job)
        raise LookupError(incident)

    def example(self, instance: str = "db1:7432", at: float = NOW) -> str:
        """An incident with the diagnosis of the recorded one."""
        incident = self.open(instance, at)
        self.diagnose(incident, diagnosed())
        return incident


def site(path: Path, *, clock: Callable[[], float] = lambda: NOW + 4 * 3600, **settings: Any) -> Site:
    """A site over a new database."""
    written, idle = StringIO(), _Idle()
    services = Services(
        settings=Settings(**settings),
        commit=idle,
        store=lambda: open_incidents(path),
        supervisor=idle,  # type: ignore[arg-type]  # it is not started
        courier=idle,  # type: ignore[arg-type]  # likewise
        reconciler=idle,  # type: ignore[arg-type]  # likewise
        clock=clock,
        log=Log(written, clock=clock),
        metrics=Metrics(),
    )
    app = create_app(services, [*api_routes(services), *page_routes(services)])
    return Site(path, app, services, open_incidents(path), written)


def fill(found: Site, seed: int, number: int = 40) -> list[str]:
    """Incidents of every kind, in an order that the seed decides; their ids."""
    chance, made = random.Random(seed), []
    names = ("db1:7432", "db2:7432", HOSTILE, LONG, "", "日本語-شبكة", "a b&c=d?e#f/../g")
    for position in range(number):
        instance, at = chance.choice(names), NOW - 7 * 86400 + position * 3600.0
        made.append(incident := found.open(instance, at, name=chance.choice(("EngramStoreSlow", "Down", HOSTILE))))
        kind = chance.randrange(6)
        if kind == 0:
            found.park(incident, f"the worker was killed: {HOSTILE}")
        elif kind == 1:
            found.diagnose(incident, soiled(diagnosed(), [HOSTILE, LONG, "word"]), title=HOSTILE, action=LONG)
        elif kind < 5:
            found.diagnose(incident, diagnosed())
        if chance.random() < 0.4:
            found.close(instance, at)
        if chance.random() < 0.4:
            found.store.add_note(incident, chance.choice(("Ada", "", HOSTILE)), f"{HOSTILE}\nsecond line", at + 100)
    return made
