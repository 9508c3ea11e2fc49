"""A Prometheus that answers badly in every way: each time a clear message, an exit code, and no traceback."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from stage import Said, engram_diagnose

DETECT = "engram_store_operations_total"


def ago(seconds: float) -> str:
    """A time as a body holds it; it becomes one when the body is sent, however long after it was written."""
    return f"{seconds} s ago"


def vector() -> str:
    """The answer to which instances there are: one that publishes a metric of the guide's."""
    metric = {"__name__": DETECT, "instance": "db1:7432", "job": "engram"}
    return success("vector", [{"metric": metric, "value": [ago(0), "1"]}])


def success(kind: str, result: object) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def failure(kind: str, error: str) -> str:
    return json.dumps({"status": "error", "errorType": kind, "error": error})


def matrix(*figures: str) -> str:
    metric = {"__name__": DETECT, "instance": "db1:7432", "job": "engram"}
    values = [[ago(15 * (len(figures) - index)), figure] for index, figure in enumerate(figures)]
    return success("matrix", [{"metric": metric, "values": values}])


Reply = tuple[int, str, str]
"""Status, content type, body."""


def always(status: int, body: str, kind: str = "application/json") -> Callable[[str], Reply]:
    return lambda _: (status, kind, body)


def then(body: str, status: int = 200) -> Callable[[str], Reply]:
    """Good until the samples are asked for."""
    return lambda query: (
        (200, "application/json", vector()) if "last_over_time" in query else (status, "application/json", body)
    )


class Handler(BaseHTTPRequestHandler):
    reply: Callable[[str], Reply]
    drops = False
    delay = 0.0

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        query = form.get("query", [""])[0]
        kind = type(self)
        time.sleep(kind.delay)
        if kind.drops and "last_over_time" not in query:
            self.connection.close()
            return
        self._send(*kind.reply(query))

    def do_GET(self) -> None:
        self._send(404, "text/plain", "404 page not found")

    def _send(self, status: int, kind: str, body: str) -> None:
        body = re.sub(r'"([0-9]+) s ago"', lambda found: str(time.time() - int(found[1])), body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def ask() -> Iterator[Callable[..., Said]]:
    """Diagnose against a server that replies like this."""
    servers = []

    def asked(reply: Callable[[str], Reply], *options: str, **behaviour: object) -> Said:
        handler = type("Behaving", (Handler,), {"reply": staticmethod(reply), **behaviour})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}"
        return engram_diagnose("--prometheus", url, "--no-local", "--format", "json", *options)

    yield asked
    for server in servers:
        server.shutdown()
        server.server_close()


HTML = "<!DOCTYPE html><html><title>Grafana</title><script>alert(1)</script></html>"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        pytest.param(always(200, HTML, "text/html"), "HTML", id="a web page"),
        pytest.param(always(200, '{"status": "success"}'), "not as Prometheus' API does", id="another API"),
        pytest.param(always(200, "{"), "breaks off after 1 byte", id="half an answer"),
        pytest.param(always(200, ""), "", id="an empty answer"),
        pytest.param(always(401, "Unauthorized", "text/plain"), "401", id="401"),
        pytest.param(always(403, "no", "text/plain"), "403", id="403"),
        pytest.param(always(404, "404 page not found", "text/plain"), "404", id="404"),
        pytest.param(always(502, "<html>Bad Gateway</html>", "text/html"), "502", id="502"),
        pytest.param(always(422, failure("execution", "too many samples here")), "too many samples", id="422"),
        pytest.param(always(400, failure("bad_data", "parse error")), "400", id="400"),
        pytest.param(always(200, success("vector", [])), "no instance in Prometheus", id="no instance"),
        pytest.param(then(success("matrix", [])), "no samples of instance 'db1:7432'", id="no samples"),
        pytest.param(then("{}", 503), "503", id="503 for the samples"),
        pytest.param(then(success("vector", [])), "", id="a vector for a matrix"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_explained(
    ask: Callable[..., Said], reply: Callable[[str], Reply], message: str
) -> None:
    said = ask(reply)
    assert said.code in (3, 4), said.err
    assert "Prometheus: " in said.err
    assert message in said.err
    assert not said.has_traceback
    assert "<script>" not in said.err + said.out
    assert said.document["verdict"]["state"] == "untested"
    assert said.document["not_testable"]


def test_a_slow_server_is_given_up_on_in_time(ask: Callable[..., Said]) -> None:
    start = time.monotonic()
    said = ask(then(matrix("1", "2")), "--timeout", "1", delay=5.0)
    assert time.monotonic() - start < 8
    assert said.code == 3
    assert "did not answer within 1 s" in said.err
    assert not said.has_traceback


def test_a_connection_that_breaks_between_two_questions_is_said_so(ask: Callable[..., Said]) -> None:
    said = ask(then(""), drops=True)
    assert said.code in (3, 4)
    assert "broke the connection" in said.err
    assert said.document["subject"]["instance"] == "db1:7432"
    assert not said.has_traceback


def test_nan_is_unknown_and_not_zero(ask: Callable[..., Said]) -> None:
    said = ask(then(matrix(*["NaN"] * 20)))
    assert said.code in (3, 4)
    (fact,) = [fact for fact in said.document["facts"] if fact["name"] == "store.rate"]
    assert (fact["value"], fact["unknown"]["reason"]) == (None, "NAN")
    assert not said.has_traceback


def test_one_sample_is_too_few_for_a_rate(ask: Callable[..., Said]) -> None:
    said = ask(then(matrix("5")))
    (fact,) = [fact for fact in said.document["facts"] if fact["name"] == "store.rate"]
    assert fact["unknown"]["reason"] == "TOO_FEW_SAMPLES"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prometheus", "prometheus:9090"), "is not a URL"),
        (("--prometheus", "ftp://x"), "is not a URL"),
        (("--prometheus", "http://[::1"), "is not a URL"),
        (("--server", "localhost:7432", "--no-local"), "http://"),
        (("--prometheus", "http://127.0.0.1:9", "--header", "X"), "NAME:VALUE"),
        (("--prometheus", "http://127.0.0.1:9", "--dialect", "guise"), "guide"),
        (("--prometheus", "http://127.0.0.1:9", "--at", "yesterday"), "no time"),
        (("--prometheus", "http://127.0.0.1:9", "--config", "/no/such/file"), "/no/such/file"),
        (("--prometheus", "http://127.0.0.1:9", "--pid", "4194304999"), "there is no process"),
    ],
)
def test_options_that_cannot_be_right_are_explained(options: tuple[str, ...], message: str) -> None:
    said = engram_diagnose(*options, "--format", "json")
    assert said.code in (2, 3, 4)
    assert message in said.err
    assert not said.has_traceback


def test_a_secret_stands_in_no_message(ask: Callable[..., Said], tmp_path: object) -> None:
    said = ask(always(401, "bad token hunter2-hunter2"), "--header", "X-Scope-OrgID:hunter2-hunter2")
    assert "hunter2" not in said.out + said.err
