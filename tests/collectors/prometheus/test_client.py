"""The HTTP client against servers of every temper."""

import gzip
import json
import random
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_server import listening

from engram_diagnose.collectors.prometheus.client import (
    Found,
    Instance,
    Prometheus,
    PrometheusOptions,
    Refusal,
)
from engram_diagnose.collectors.prometheus.functions import PROMETHEUS_3, semantics_of
from engram_diagnose.collectors.prometheus.options import address_of
from engram_diagnose.collectors.prometheus.series import store_of_matrix
from engram_diagnose.engine.facts.fact import Reason

SECRET = "s3cr3t-t0ken"
MATRIX = {"resultType": "matrix", "result": [{"metric": {"__name__": "x"}, "values": [[1, "2"]]}]}
GOOD = json.dumps({"status": "success", "data": MATRIX})

Answerer = Callable[[BaseHTTPRequestHandler, str], None]


def reply(body: str | bytes = GOOD, status: int = 200, **headers: str) -> Answerer:
    raw = body.encode() if isinstance(body, str) else body

    def answer(handler: BaseHTTPRequestHandler, _: str) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


@contextmanager
def serving(answer: Answerer, asked: list[dict[str, Any]] | None = None) -> Iterator[str]:
    """A server that answers as told and notes what it was asked; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            if asked is not None:
                asked.append({"path": self.path, "form": parse_qs(body), "headers": self.headers})
            answer(self, body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as url:
        yield url


def ask(url: str, **more: Any) -> str | Refusal:
    options = PrometheusOptions(url, **{"timeout": 5.0, **more})
    with Prometheus(options) as prometheus:
        return prometheus.window(["x", "up"], instance='db"1', seconds=299.5, at=1234.5678)


def refused(url: str, **more: Any) -> Refusal:
    answer = ask(url, **more)
    assert isinstance(answer, Refusal)
    assert answer.detail.isprintable()
    assert answer.next_step
    assert SECRET not in str(answer)
    return answer


def test_one_query_by_post_fetches_the_raw_window() -> None:
    asked: list[dict[str, Any]] = []
    with serving(reply(), asked) as url:
        answer = ask(url + "/", bearer_token=SECRET, headers={"X-Scope-OrgID": "team-a"})
    assert answer == GOOD
    (question,) = asked
    assert question["path"] == "/api/v1/query"
    assert question["form"]["query"] == [r'{__name__=~"up|x",instance="db\"1"}[300s]']
    assert question["form"]["time"] == ["1234.568"]
    assert question["headers"]["Accept-Encoding"] == "identity"
    assert question["headers"]["Authorization"] == f"Bearer {SECRET}"
    assert question["headers"]["X-Scope-OrgID"] == "team-a"


def test_user_and_password_may_stand_in_the_url_or_in_the_options() -> None:
    asked: list[dict[str, Any]] = []
    with serving(reply(), asked) as url:
        ask(url.replace("://", "://ann:p%40ss@"))
        ask(url, user="ann", password="p@ss")
    headers = {question["headers"]["Authorization"] for question in asked}
    assert headers == {"Basic YW5uOnBAc3M="}


def test_a_prefix_is_kept_and_the_api_path_is_not_doubled() -> None:
    for url in ("http://h/prom/", "http://h/prom/api/v1", "http://u:p@h/prom/api/v1/query?x=1"):
        assert address_of(PrometheusOptions(url)) == "http://h/prom"


@pytest.mark.parametrize(
    ("body", "status", "reason", "said"),
    [
        ("", 401, Reason.SOURCE_UNREACHABLE, "refuses access (401)"),
        ("", 403, Reason.SOURCE_UNREACHABLE, "refuses access (403)"),
        ("404 page not found", 404, Reason.SOURCE_UNREACHABLE, "no /api/v1/query"),
        ('{"status":"error","error":"parse error"}', 400, Reason.UNPARSED, "parse error"),
        ('{"status":"error","error":"bad syntax"}', 422, Reason.UNPARSED, "bad syntax"),
        ('{"status":"error","error":"query processing would load too many samples"}', 422,
         Reason.TOO_EXPENSIVE, "too expensive"),
        ('{"status":"error","error":"query timed out"}', 503,
         Reason.SOURCE_UNREACHABLE, "overloaded or not ready (503: query timed out)"),
        ("<html>Bad Gateway</html>", 502, Reason.SOURCE_UNREACHABLE, "an HTML page"),
        ("oops\x1b[31m", 500, Reason.SOURCE_UNREACHABLE, "answers 500 (oops [31m)"),
        ("<!DOCTYPE html><title>Login</title>", 200, Reason.UNPARSED, "HTML page instead of JSON"),
        ("x 1\n", 200, Reason.UNPARSED, "does not answer in JSON"),
        (b'{"\xff"}', 200, Reason.UNPARSED, "other than UTF-8"),
        ('{"snapshot":{}}', 200, Reason.UNPARSED, "not as Prometheus"),
        ('{"status":"success","data":{"resultType":"matrix","result":[]}}', 200,
         Reason.SOURCE_ABSENT, "no samples of instance 'db\"1' in the 299.5 s"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_reason_and_says_what_was_said(
    body: str | bytes, status: int, reason: Reason, said: str
) -> None:
    with serving(reply(body, status)) as url:
        answer = refused(url, bearer_token=SECRET)
    assert answer.reason is reason
    assert said in answer.detail


@pytest.mark.parametrize(
    ("status", "later", "said"),
    [(429, "17", "try again in 17 s, as it asks"), (503, "Wed, 21 Oct 2026 07:28:00 GMT", "after Wed, 21 Oct 2026"),
     (503, "\x1b[31m", "try again, or ask"), (429, "", "try again, or ask")],
)  # fmt: skip
def test_when_to_ask_again_is_passed_on(status: int, later: str, said: str) -> None:
    with serving(reply("busy", status, **{"Retry-After": later})) as url:
        answer = refused(url)
    assert answer.reason is Reason.SOURCE_UNREACHABLE
    assert said in answer.next_step


def half(body: bytes, **headers: str) -> Answerer:
    """An answer without its length, whose connection is closed when half of it is out."""

    def answer(handler: BaseHTTPRequestHandler, _: str) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True

    return answer


LONG = json.dumps({"status": "success", "data": {**MATRIX, "padding": "x" * 10_000}})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (half(LONG.encode()), "breaks off after"),
        (half(gzip.compress(random.Random(1).randbytes(20_000) + LONG.encode()), **{"Content-Encoding": "gzip"}), ""),
        (half(gzip.compress(LONG.encode()), **{"Content-Encoding": "gzip"}), "breaks off after"),
        (reply("no gzip", 200, **{"Content-Encoding": "gzip"}), "cannot be unpacked"),
        (half(LONG.encode(), **{"Content-Length": str(len(LONG))}), "broke the connection"),
        (half(LONG.encode(), **{"Transfer-Encoding": "chunked"}), "broke the connection"),
    ],
)
def test_half_an_answer_is_none(answer: Answerer, said: str) -> None:
    with serving(answer) as url:
        assert said in refused(url).detail


def test_an_answer_that_is_compressed_unasked_is_read() -> None:
    packed = gzip.compress(GOOD.encode())
    with serving(reply(packed, 200, **{"Content-Encoding": "gzip"})) as url:
        assert ask(url) == GOOD


def test_a_small_answer_that_unpacks_to_a_large_one_is_cut_off() -> None:
    packed = gzip.compress(b"{" * 50_000_000)
    with serving(reply(packed, 200, **{"Content-Encoding": "gzip"})) as url:
        assert refused(url, max_bytes=2**20).reason is Reason.TOO_EXPENSIVE


def test_victoriametrics_is_not_taken_for_the_prometheus_it_says_it_is() -> None:
    build = '{"status":"success","data":{"version":"2.24.0"}}'

    def answer(handler: BaseHTTPRequestHandler, asked: str) -> None:
        reply(vector() if "query" in handler.path else build, 200, **{"X-Server-Hostname": "vm-1"})(handler, asked)

    with serving(answer) as url, Prometheus(PrometheusOptions(url)) as prometheus:
        found = prometheus.instances(["x"], at=1.0)
    assert found == Found((), "VictoriaMetrics (says 2.24.0)")
    assert semantics_of(found.version) == PROMETHEUS_3


def test_a_redirect_is_told_and_not_followed() -> None:
    asked: list[dict[str, Any]] = []
    with serving(reply("", 302, Location=f"http://u:{SECRET}@other/login?t={SECRET}"), asked) as url:
        answer = refused(url, bearer_token=SECRET)
    assert "redirects to http://other/login" in answer.detail
    assert len(asked) == 1


def test_an_error_that_quotes_our_secrets_is_passed_on_without_them() -> None:
    with serving(lambda handler, _: reply(str(handler.headers), 400)(handler, "")) as url:
        refused(url, bearer_token=SECRET)
        refused(url, user="ann", password=SECRET)
        refused(url, headers={"X-Key": SECRET})


def test_an_oversized_answer_is_cut_off_while_it_comes() -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler, _: str) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(5_000):
                handler.wfile.write(b"{" * 65536)
                sent += 65536
        except OSError:
            pass

    with serving(flood) as url:
        answer = refused(url, max_bytes=2**20)
    assert answer.reason is Reason.TOO_EXPENSIVE
    assert sent < 100 * 2**20


def test_a_dead_server_and_a_silent_one_are_told_apart() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert "cannot be connected to" in refused(url).detail
        listening.listen()
        assert "did not answer within 0.2 s" in refused(url, timeout=0.2).detail


def test_an_answer_that_drips_is_given_up_at_the_timeout() -> None:
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, _: str) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    with serving(drip) as url:
        try:
            assert "no whole answer within 0.4 s" in refused(url, timeout=0.4).detail
        finally:
            stop.set()


def test_a_reset_connection_is_tried_once_more_and_not_again() -> None:
    asked: list[dict[str, Any]] = []

    def reset(handler: BaseHTTPRequestHandler, body: str) -> None:
        if len(asked) > resets:
            reply()(handler, body)
        else:
            handler.close_connection = True

    resets = 1
    with serving(reset, asked) as url:
        assert ask(url) == GOOD
    resets, asked = 99, []
    with serving(reset, asked) as url:
        assert "broke the connection" in refused(url).detail
    assert len(asked) == 2


@pytest.mark.parametrize("url", ["", "localhost:9090", "ftp://h", "http://", "http://[", "http://h:0",
                                 "http://h:99999", "http://h\n", "http://h ost/"])  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    assert refused(url).reason is Reason.SOURCE_UNREACHABLE


@pytest.mark.parametrize(
    "more",
    [
        {"bearer_token": SECRET + "\n"},
        {"bearer_token": SECRET + "é"},
        {"headers": {"X-Key": SECRET + "\r\nX-Evil: 1"}},
        {"headers": {"X Key": SECRET}},
        {"headers": {"": SECRET}},
    ],
)
def test_credentials_that_no_header_can_hold_are_refused_unseen(more: dict[str, Any]) -> None:
    with serving(reply()) as url:
        answer = refused(url, **more)
    assert "correct the options" in answer.next_step


def test_missing_tls_files_are_refused() -> None:
    for more in ({"ca_file": "/no/such"}, {"client_cert": "/no/such"}):
        answer = refused("https://127.0.0.1:1", **more)
        assert "cannot be read" in answer.detail


def test_plain_http_behind_https_is_told() -> None:
    with serving(reply()) as url:
        answer = refused(url.replace("http:", "https:"))
    assert "no TLS connection" in answer.detail


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and key for 127.0.0.1 in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
               "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{path}.key",
               "-out", str(path)]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl cannot make a certificate: {error}")
    path.write_text(path.read_text() + Path(f"{path}.key").read_text())
    return path


@contextmanager
def serving_tls(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Server(ThreadingHTTPServer):
        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = super().get_request()
            try:
                return context.wrap_socket(connection, server_side=True), address
            except OSError:
                connection.close()
                raise

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply()(self, "")

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler, by=Server) as url:
        yield url.replace("http:", "https:")


def test_tls_is_verified_unless_told_otherwise(certificate: Path) -> None:
    with serving_tls(certificate) as url:
        answer = refused(url)
        assert "is not trusted" in answer.detail
        assert "CA" in answer.next_step
        assert ask(url, ca_file=str(certificate)) == GOOD
        assert ask(url, verify=False, client_cert=str(certificate)) == GOOD


# Instances


def vector(*items: tuple[dict[str, str], str]) -> str:
    result = [{"metric": metric, "value": [1, value]} for metric, value in items]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def found_in(body: str, build: str, status: int = 200) -> Found | Refusal:
    def answer(handler: BaseHTTPRequestHandler, asked: str) -> None:
        reply(body if "query" in handler.path else build, status)(handler, asked)

    with serving(answer) as url, Prometheus(PrometheusOptions(url)) as prometheus:
        return prometheus.instances(["engram_wal", "lab.x"], at=1.0)


def test_instances_are_those_that_publish_a_detect_metric() -> None:
    body = vector(
        ({"__name__": "up", "instance": "a:1", "job": "e"}, "1"),
        ({"__name__": "up", "instance": "b:1", "job": "e"}, "0"),
        ({"__name__": "up", "instance": "node:1", "job": "node"}, "1"),
        ({"__name__": "engram_wal", "instance": "b:1", "job": "e"}, "5"),
        ({"__name__": "engram_wal", "instance": "a:1", "job": "e"}, "5"),
        ({"__name__": "engram_wal", "instance": "c:1"}, "5"),
    )
    build = '{"status":"success","data":{"version":"3.5.0","goVersion":"go1.24"}}'
    metrics = frozenset({"engram_wal"})
    assert found_in(body, build) == Found(
        (
            Instance("a:1", "e", True, metrics),
            Instance("b:1", "e", False, metrics),
            Instance("c:1", "", None, metrics),
        ),
        "3.5.0",
    )


@pytest.mark.parametrize("build", ["", "[]", "<html>", '{"data":{"version":5}}', "[" * 5000])
def test_a_server_without_build_information_has_no_version(build: str) -> None:
    assert found_in(vector(), build) == Found((), "")


def test_what_refuses_the_question_for_instances_is_a_refusal() -> None:
    assert isinstance(found_in("<html>", ""), Refusal)
    assert isinstance(found_in('{"hello":1}', ""), Refusal)
    assert isinstance(found_in("", "", 401), Refusal)


ODD = st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x)
                   | st.dictionaries(st.sampled_from(["metric", "value", "__name__"]), x))  # fmt: skip


@given(st.lists(ODD))
def test_no_results_make_instances_raise(results: list[Any]) -> None:
    from engram_diagnose.collectors.prometheus.client import _instances

    assert isinstance(_instances(results), tuple)


def test_the_answer_of_a_window_is_what_the_store_reads() -> None:
    with serving(reply()) as url:
        answer = ask(url)
    assert isinstance(answer, str)
    assert store_of_matrix(answer).named("x")[0].values == [2.0]
