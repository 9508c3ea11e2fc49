"""
What can be collected without Prometheus: this host, the server's own endpoints, and its configuration.

`gather` runs it beside Prometheus, `collect.pyz` alone; so both collect the same.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from engram_diagnose.collectors.capture.address import address_of, same_server, split_url
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.attained import attained
from engram_diagnose.collectors.capture.deep import capture_target
from engram_diagnose.collectors.capture.files import configuration, configuration_paths, server_environment
from engram_diagnose.collectors.capture.http import http_answer
from engram_diagnose.collectors.capture.interface import (
    EXPOSITION,
    USUAL_DIALECT,
    WINDOWED_JSON,
    Interface,
    dialect_by_form,
)
from engram_diagnose.collectors.capture.local import capture_host
from engram_diagnose.collectors.capture.names import names_this_host
from engram_diagnose.collectors.capture.recalls import COLLECTOR, PATH, timed_recalls
from engram_diagnose.collectors.capture.storage import data_directory
from engram_diagnose.collectors.capture.target import LocalTarget, NoTarget, local_target, target_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engram_diagnose.collectors.capture.machine import Machine

_NOT_RUNNING = ("SOURCE_ABSENT", "PTRACE_DENIED")
"""Why no process was found on this host; other reasons say that the server is elsewhere, or was left out."""
NAMED = "named by --dialect"
UNTOLD = "nothing told it: taken for the usual one"
_NO_ADDRESS = "recalls were to be timed, and no server was found to ask; give --server URL"
_OF_TODAY = "today's configuration is no evidence of the past; give --config FILE if it was the same then"
_LEFT_OUT = "this host was left out (--no-local)"
_PAST = "this host's counters are of now, and the diagnosis is of the past"


@dataclass(frozen=True)
class Order:
    """
    What to collect on this host and from the server itself. What is not named is looked for here.

    `seconds` is how long local counters are watched (0: as long as the limits say), `time_recalls` how many recalls are
    sent to the server and timed. With `sizing` a host on which no server runs yet is taken for the one it will run on.
    With `profile` all that needs perf is looked at as well.
    """

    instance: str = ""
    metrics_url: str = field(default="", repr=False)
    server_url: str = ""
    server_token: str = field(default="", repr=False)
    config_file: str = ""
    data_dir: str = ""
    pid: int | None = None
    port: int | None = None
    seconds: float = 0.0
    local: bool = True
    time_recalls: int = 0
    sizing: bool = False
    profile: bool = False

    @property
    def named_url(self) -> str:
        """The server's address, as far as somebody named one."""
        return self.server_url or self.metrics_url


@dataclass(frozen=True)
class Scraped:
    """What Prometheus, where it was asked, calls the server; `via` is the host of that Prometheus."""

    instance: str = ""
    via: str = ""


@dataclass(frozen=True)
class Bounds:
    """
    How far collecting goes: `limits` as `rules/catalogue/collection.yaml` has them, which looking at a process needs,
    and the tables of hardware `events` by file name.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    events: Mapping[str, object] = field(default_factory=dict)


class Site:
    """
    Host and server as they answer now; of a `past` instant only why they do not.

    `at` is that instant, and `scraped` None where no Prometheus was asked.
    """

    def __init__(
        self,
        order: Order,
        machine: Machine,
        *,
        scraped: Scraped | None = None,
        past: bool = False,
        at: float = 0.0,
        bounds: Bounds = Bounds(),
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._order = order
        self.machine = machine
        self._asked = scraped is not None
        self._label = scraped.instance if scraped else order.instance
        self._via = scraped.via if scraped and scraped.instance else ""
        self._past = past
        self._at = at
        self._bounds = bounds
        self._progress = progress
        self._located: LocalTarget | NoTarget | None = None

    @property
    def target(self) -> LocalTarget | NoTarget:
        """The server's process, looked for once."""
        if self._located is None:
            self._located = self._locate()
        return self._located

    @property
    def instance(self) -> str:
        """What the server is called: its label, else the address at which it was asked."""
        return self._label or address_of(self._order.named_url or self._server_url())

    @property
    def alone(self) -> bool:
        """Whether this host is to be sized for a server that nobody named and that does not run here yet."""
        elsewhere = self._asked or self._order.named_url or self._order.pid or self._past
        target = self.target
        return self._order.sizing and not elsewhere and isinstance(target, NoTarget) and target.reason in _NOT_RUNNING

    def dialect(self, interfaces: Mapping[str, Interface]) -> tuple[str, str]:
        """The dialect by the form of the server's own metrics, the usual one when nothing tells; and what told it."""
        named, found = self._order.metrics_url, self._server_url()
        if self._past or not (named or found):
            return USUAL_DIALECT, UNTOLD
        base, path, name = split_url(named) if named else (found, "/metrics", "/metrics")
        answer = self._ask(base, path)
        said = dialect_by_form(interfaces, answer.body or "") if answer.answered else ""
        return (said, f"told by the form of its {name}") if said else (USUAL_DIALECT, UNTOLD)

    def answers(self, interface: Interface) -> list[Answer]:
        """Everything: this host, the server, its configuration. Host and server are asked at the same time."""
        self._locate_once()
        asking = _Asking(lambda: [] if self._past else self._direct(interface))
        local = self._local()
        return [*local, *asking.answers(), *self._configuration(interface)]

    def _locate_once(self) -> None:
        """Before two threads ask for it."""
        assert self.target is not None  # noqa: S101 -- looking for it is the point

    @property
    def _seconds(self) -> float:
        """How long counters are watched."""
        return self._order.seconds or self._bounds.limits["profile_watch" if self._order.profile else "watch"]

    # This machine

    def _locate(self) -> LocalTarget | NoTarget:
        order = self._order
        if not order.local:
            return NoTarget("NOT_COLLECTED", _LEFT_OUT)
        return local_target(
            self._label or address_of(order.named_url),
            port=order.port,
            pid=order.pid,
            via=self._via,
            proc_root=self.machine.proc_root,
        )

    def _local(self) -> list[Answer]:
        target, order, machine = self.target, self._order, self.machine
        if isinstance(target, NoTarget):
            # Of a host without the server only what does not move matters, so its counters are not watched.
            host = capture_host(machine, data_dir=order.data_dir, seconds=0) if self.alone else []
            return [
                target_answer(machine, target),
                *host,
                *(attained(machine, data_dir=order.data_dir) if host else []),
            ]
        if self._past:
            return [target_answer(machine, NoTarget("WINDOW_NOT_COLLECTED", _PAST))]
        self._progress(f"watching process {target.pid} for {self._seconds:g} s")
        data_dir = order.data_dir or data_directory(target.pid, proc_root=machine.proc_root)
        found = capture_target(
            machine,
            target,
            limits=self._bounds.limits,
            events=self._bounds.events,
            seconds=self._seconds,
            data_dir=data_dir,
            profile=order.profile,
            progress=self._progress,
        )
        return found + attained(machine, data_dir=data_dir)

    # The server itself

    def _server_url(self) -> str:
        """Where to ask the server: what was named, else the port on which its process was found listening here."""
        target = self.target
        if self._order.server_url or not isinstance(target, LocalTarget) or not target.port:
            return self._order.server_url
        return f"http://127.0.0.1:{target.port}"

    def _direct(self, interface: Interface) -> list[Answer]:
        order, url = self._order, self._server_url()
        answers: list[Answer] = []
        if order.metrics_url:
            answers += self._said_by(order.metrics_url, self._metrics_endpoint(interface))
        if url:
            self._progress("asking the server")
            told: list[Answer] = []
            if not self._asked and not order.metrics_url:
                told += self._exposition(url, interface)
            told += [self._ask(url, path) for path in interface.asked]
            answers += self._said_by(url, told) if order.server_url else self._said_here(told)
        answers += self._recalls(url)
        # Nobody named an address that was found: that it does not answer on this interface says nothing.
        return [
            one
            for one in answers
            if one.answered or order.named_url or one.collector == COLLECTOR or one.detail.startswith("HTTP ")
        ]

    def _recalls(self, url: str) -> list[Answer]:
        """Recalls of our own, where they were asked for."""
        count = self._order.time_recalls
        if not count:
            return []
        if not url:
            return [Answer(COLLECTOR, PATH, self._at, self.machine.host, None, "SOURCE_ABSENT", _NO_ADDRESS)]
        self._progress(f"timing {count} recalls")
        answer = timed_recalls(self.machine, url, count=count, token=self._order.server_token)
        return self._said_by(url, [answer]) if self._order.server_url else self._said_here([answer])

    def _said_here(self, answers: list[Answer]) -> list[Answer]:
        """Answers from the port on which the server's own process was found listening."""
        return [replace(answer, host=self.machine.host) for answer in answers]

    def _said_by(self, url: str, answers: list[Answer]) -> list[Answer]:
        """
        Answers with the server they speak of: who was asked. Two servers must not be taken for one, so that those of
        another than the chosen instance count as unknown. Who names both says that they are one: labels are rewritten.
        """
        address, name = address_of(url), self._label
        if name and not self._order.instance and not same_server(name, url, via=self._via):
            detail = f"{address} was asked, and {name} is diagnosed; if they are one, say so with --instance {name}"
            return [replace(one, host=address, reason="OTHER_HOST", detail=detail) for one in answers]
        if isinstance(self.target, LocalTarget) and names_this_host(
            urlsplit(url).hostname or "", proc_root=self.machine.proc_root
        ):
            return self._said_here(answers)
        return [replace(answer, host=name or address) for answer in answers]

    def _ask(self, url: str, path: str, name: str = "") -> Answer:
        return http_answer(self.machine, url, path, name=name, token=self._order.server_token)

    def _metrics_endpoint(self, interface: Interface) -> list[Answer]:
        """What was named as the metrics: a text exposition, or the server's JSON."""
        base, path, name = split_url(self._order.metrics_url)
        if interface.metrics_format == WINDOWED_JSON and name == interface.metrics_path:
            return [self._ask(base, path, name)]
        return self._scrapes(self._order.metrics_url, 2)

    def _exposition(self, url: str, interface: Interface) -> list[Answer]:
        """The text exposition: twice where it holds counters, once where its figures are sums over a window already."""
        if interface.metrics_format == EXPOSITION:
            return self._scrapes(url.rstrip("/") + interface.metrics_path, 2)
        return self._scrapes(url.rstrip("/") + interface.exposition_path, 1) if interface.exposition_path else []

    def _scrapes(self, url: str, count: int) -> list[Answer]:
        base, path, name = split_url(url)
        found: list[Answer] = []
        for turn in range(count):
            if turn:
                self._progress(f"scraping {name} again in {self._seconds:g} s")
                time.sleep(self._seconds)
            found.append(replace(self._ask(base, path, name), collector="exposition"))
            if not found[-1].answered:
                break
        return found

    def _configuration(self, interface: Interface) -> list[Answer]:
        target = self.target
        if self._order.config_file:
            return [configuration(self.machine, self._order.config_file)]
        if not isinstance(target, LocalTarget):
            return []
        if self._past:
            place, host = next(iter(interface.config_files), "configuration"), self.machine.host
            return [Answer("config", place, self._at, host, None, "WINDOW_NOT_COLLECTED", _OF_TODAY)]
        environment = server_environment(target.pid, proc_root=self.machine.proc_root)
        for path in configuration_paths(interface.config_files, environment):
            answer = configuration(self.machine, path)
            if answer.reason != "SOURCE_ABSENT":
                return [answer]
        return []


class _Asking:
    """
    Asking the server while this thread watches the host.

    Whoever is interrupted meanwhile does not wait for it: its thread ends with the process.
    """

    def __init__(self, ask: Callable[[], list[Answer]]) -> None:
        self._ask = ask
        self._answers: list[Answer] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="asking the server", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers = self._ask()
        except BaseException as error:
            self._error = error

    def answers(self) -> list[Answer]:
        """What it said, once it has said all; raises what asking raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._answers
