"""Where to ask: what is named, what is found, and what is left alone."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from engram_diagnose.bounds import bounds_of
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.gather import PRESENT, NothingToCollectError, Request, gather
from engram_diagnose.collectors.prometheus.options import PrometheusOptions
from engram_diagnose.collectors.reading import AS_OF_TODAY, facts_of_bundle
from engram_diagnose.rulebase import load_rules

NOW = 1_795_000_000.0
LOADED = load_rules()
CATALOGUE = LOADED.catalogue
BOUNDS = bounds_of(LOADED)
WANTED = ("store.rate", "op.latency.p99", "op.latency.p99@before")
METRIC = "engram_store_operations_total"


class Handler(BaseHTTPRequestHandler):
    """A server of the guide's dialect and a Prometheus in one; keeps what it was asked."""

    asked: list[str]
    instances: list[dict[str, str]]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = {"/health": '{"version": "9"}', "/metrics": f"{METRIC} 5\n",
                 "/api/v1/status/buildinfo": '{"status": "success", "data": {"version": "3.5.0"}}'}  # fmt: skip
        self._send(found.get(self.path))

    def do_POST(self) -> None:
        query = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["query"][0]
        self.asked.append(query)
        if "last_over_time" in query:
            result = [{"metric": {"__name__": METRIC, **one}, "value": [NOW, "1"]} for one in self.instances]
            self._send(_success("vector", result))
        else:
            values = [[NOW - 10, "1"], [NOW - 5, "2"]]
            self._send(
                _success(
                    "matrix", [{"metric": {"__name__": METRIC, **one}, "values": values} for one in self.instances]
                )
            )

    def _send(self, body: str | None) -> None:
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or "")))
        self.end_headers()
        self.wfile.write((body or "").encode())

    def log_message(self, format: str, *args: object) -> None:
        return


def _success(kind: str, result: object) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    handler = type("Recording", (Handler,), {"asked": [], "instances": [{"instance": "db1:7432", "job": "engram"}]})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def asked(server: ThreadingHTTPServer) -> list[str]:
    found: list[str] = server.RequestHandlerClass.asked  # type: ignore[attr-defined]
    return found


def collected(**request: Any) -> Bundle:
    return gather(
        Request(**{"seconds": 0.2, "local": False, **request}),
        CATALOGUE,
        WANTED,
        now=NOW,
        tool="t",
        rules={},
        bounds=BOUNDS,
    )


def prometheus(server: ThreadingHTTPServer) -> PrometheusOptions:
    return PrometheusOptions(f"http://127.0.0.1:{server.server_port}")


def test_one_query_for_the_samples_of_now_and_one_for_those_before(server: ThreadingHTTPServer) -> None:
    bundle = collected(prometheus=prometheus(server))
    assert [answer.name.partition(" ")[0] for answer in bundle.of("prometheus")] == ["window", "before"]
    assert (bundle.instance, bundle.dialect, bundle.options["prometheus_version"]) == ("db1:7432", "guide", "3.5.0")
    assert {answer.host for answer in bundle.of("prometheus")} == {"db1:7432"}
    assert len(asked(server)) == 4


def test_all_that_the_server_publishes_is_fetched_and_not_only_what_these_rules_read(
    server: ThreadingHTTPServer,
) -> None:
    collected(prometheus=prometheus(server))
    window = next(query for query in asked(server) if "last_over_time" not in query and query.startswith("{"))
    assert "engram_recall_result_size" in window


def test_two_jobs_of_one_instance_are_kept_apart(server: ThreadingHTTPServer) -> None:
    server.RequestHandlerClass.instances = [{"instance": "db1:7432", "job": job} for job in ("a", "b")]  # type: ignore[attr-defined]
    assert collected(prometheus=prometheus(server)).options["job"] == "a"


def test_an_endpoint_is_scraped_twice_and_the_server_asked_for_its_health(server: ThreadingHTTPServer) -> None:
    bundle = collected(server_url=f"http://127.0.0.1:{server.server_port}")
    assert [answer.name for answer in bundle.of("exposition")] == ["/metrics", "/metrics"]
    assert [answer.name for answer in bundle.of("http")] == ["/health"]
    assert bundle.instance == f"127.0.0.1:{server.server_port}"


def test_a_past_instant_is_asked_of_prometheus_alone(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text("[wal]\n")
    url = f"http://127.0.0.1:{server.server_port}"
    bundle = collected(
        prometheus=prometheus(server), server_url=url, at=NOW - PRESENT - 1, config_file=str(tmp_path / "e.toml")
    )
    assert {answer.collector for answer in bundle.answers} == {"prometheus", "target", "config"}
    with pytest.raises(NothingToCollectError, match="only Prometheus knows the past"):
        collected(server_url=url, at=NOW - 3600)


def test_a_moment_ago_is_now(server: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    assert collected(server_url=url, at=NOW - PRESENT + 1).of("http")


def test_this_host_is_left_out_when_told_so() -> None:
    (target,) = collected(server_url="http://127.0.0.1:9").of("target")
    assert (target.reason, target.detail) == ("NOT_COLLECTED", "this host was left out (--no-local)")


def test_a_process_that_listens_here_is_asked_on_its_port(server: ThreadingHTTPServer) -> None:
    bundle = collected(local=True, instance=f"127.0.0.1:{server.server_port}")
    assert [answer.name for answer in bundle.of("http")] == ["/health"]
    assert bundle.of("target")[0].answered


@pytest.fixture
def mute() -> Iterator[int]:
    """A port on which somebody listens, and never answers anything but a closed connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        threading.Thread(target=_hang_up, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]


def _hang_up(listening: socket.socket) -> None:
    while True:
        try:
            listening.accept()[0].close()
        except OSError:
            return


def test_that_an_address_which_nobody_named_is_silent_says_nothing(mute: int) -> None:
    assert collected(local=True, instance=f"127.0.0.1:{mute}").of("http") == ()
    named = collected(local=True, server_url=f"http://127.0.0.1:{mute}")
    assert [answer.reason for answer in named.of("http")] == ["SOURCE_UNREACHABLE"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [({"dialect": "guise"}, "name one of engram-0.1, guide"), ({"at": 5.0}, "give --prometheus URL")],
)
def test_what_cannot_be_is_refused_with_what_to_give(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(NothingToCollectError, match=message):
        collected(**request_)


def test_a_prometheus_that_refuses_is_an_answer_with_its_reason(unused_port: Callable[[], int]) -> None:
    (answer,) = collected(prometheus=PrometheusOptions(f"http://127.0.0.1:{unused_port()}")).of("prometheus")
    assert (answer.body, answer.reason) == (None, "SOURCE_UNREACHABLE")
    assert "cannot be connected to" in answer.detail


@pytest.fixture
def unused_port() -> Callable[[], int]:
    def port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return port


def test_a_query_is_asked_with_and_never_kept(server: ThreadingHTTPServer) -> None:
    said: list[str] = []
    request = Request(metrics_url=f"http://127.0.0.1:{server.server_port}/metrics?token=hunter2", local=False,
                      seconds=0.1)  # fmt: skip
    bundle = gather(request, CATALOGUE, WANTED, now=NOW, tool="t", rules={}, bounds=BOUNDS, progress=said.append)
    assert "/metrics?token=hunter2" in asked(server)
    assert "hunter2" not in repr((bundle, said, request))
    assert bundle.of("exposition")[0].name == "/metrics"


@pytest.mark.parametrize("option", ["metrics_url", "server_url"])
@pytest.mark.parametrize("url", ["http://u:hunter2@db1", "http://[", "nonsense", "http://", "http://db1:hunter2"])
def test_an_address_that_cannot_be_asked_is_refused_without_repeating_it(option: str, url: str) -> None:
    with pytest.raises(NothingToCollectError, match="the address after --") as refused:
        collected(**{option: url})
    assert "hunter2" not in str(refused.value)


def test_the_future_is_refused(server: ThreadingHTTPServer) -> None:
    with pytest.raises(NothingToCollectError, match="in the future"):
        collected(prometheus=prometheus(server), at=NOW + 61)
    assert collected(prometheus=prometheus(server), at=NOW + 59).answers


def test_todays_configuration_is_no_evidence_of_the_past(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    server.RequestHandlerClass.instances = [{"instance": url[7:], "job": "a"}]  # type: ignore[attr-defined]
    past: dict[str, Any] = {"prometheus": prometheus(server), "at": NOW - 3600, "local": True}
    (found,) = collected(**past).of("config")
    assert (found.body, found.reason) == (None, "WINDOW_NOT_COLLECTED")
    assert "give --config FILE" in found.detail
    (tmp_path / "e.toml").write_text("[wal]\nbuffer_size_mb = 64\n")
    given = collected(**past, config_file=str(tmp_path / "e.toml"))
    assert given.of("config")[0].answered
    known = [fact for fact in facts_of_bundle(given, CATALOGUE, ()) if fact.name.startswith("config.") and fact.known]
    assert known
    assert all(AS_OF_TODAY in fact.quality for fact in known)


def test_answers_of_another_server_than_the_chosen_instance_are_unknown(server: ThreadingHTTPServer) -> None:
    address = f"127.0.0.1:{server.server_port}"
    bundle = collected(prometheus=prometheus(server), server_url=f"http://{address}")
    (answer,) = bundle.of("http")
    assert (answer.host, answer.reason, answer.answered) == (address, "OTHER_HOST", False)
    assert address in answer.detail
    assert "db1:7432" in answer.detail
    server.RequestHandlerClass.instances = [{"instance": f"localhost:{server.server_port}", "job": "a"}]  # type: ignore[attr-defined]
    assert collected(prometheus=prometheus(server), server_url=f"http://{address}").of("http")[0].answered


def test_answers_say_which_server_or_machine_they_are_of(server: ThreadingHTTPServer) -> None:
    address = f"127.0.0.1:{server.server_port}"
    assert {one.host for one in collected(server_url=f"http://{address}").of("http")} == {address}
    here = collected(server_url=f"http://{address}", local=True)
    assert {one.host for one in here.of("http")} == {here.host}


def test_how_the_dialect_was_told_stands_in_its_fact(server: ThreadingHTTPServer) -> None:
    def told(**request: Any) -> str:
        facts = facts_of_bundle(collected(**request), CATALOGUE, ())
        return next(fact.quality for fact in facts if fact.name == "telemetry.dialect")

    assert told(prometheus=prometheus(server)) == (
        "told by 1 of 8 names of guide (engram_store_operations_total); nothing speaks against it"
    )
    assert told(prometheus=prometheus(server), dialect="engram-0.1").startswith("named by --dialect; told by none of")
    assert "the form of its /metrics" in told(server_url=f"http://127.0.0.1:{server.server_port}")


def test_secrets_that_a_server_publishes_are_not_kept(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = 'x{dsn="postgres://u:s3cr3t@db1/x?password=s3cr3t",token="kept"} 1\n'
    monkeypatch.setattr(
        server.RequestHandlerClass, "_send", lambda self, found: BASE_SEND(self, found and body.strip() + "\n")
    )
    bundle = collected(server_url=f"http://127.0.0.1:{server.server_port}")
    said = "".join(answer.body or "" for answer in bundle.answers)
    assert "s3cr3t" not in said
    assert 'token="kept"' in said


BASE_SEND = Handler._send
