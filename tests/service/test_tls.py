"""The webhook over https: a certificate that is renewed without a restart, and no patience for half a greeting."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from half_open import half_open

PROGRAM = [sys.executable, "-c", "from engram_diagnose.cli import main; main()"]
DEADLINE = 1.0
CONNECTIONS = 100
BODY = json.dumps({"version": "4", "alerts": [
    {"status": "firing", "labels": {"alertname": "EngramDown", "instance": "db1"}, "startsAt": "2026-11-22T02:55:00Z"}
]})  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH to make certificates with")


def certify(folder: Path, name: str = "localhost") -> None:
    """A new certificate and its key, in the place of those that were there."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
               "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


@dataclass
class Served:
    process: "subprocess.Popen[bytes]"
    folder: Path
    port: int = 0

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = (self.folder / "log").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def until(self, event: str) -> dict[str, Any]:
        end = time.monotonic() + 30
        while not (found := self.said(event)):
            assert time.monotonic() < end, (self.folder / "log").read_text()
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)
        return found[-1]

    def post(self) -> httpx.Response:
        trusted = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        with httpx.Client(verify=trusted, timeout=10) as client:
            url = f"https://127.0.0.1:{self.port}/api/v1/alerts"
            return client.post(url, content=BODY, headers={"content-type": "application/json"})

    def presented(self) -> bytes:
        """The certificate that a new connection meets."""
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", self.port), timeout=10))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    certify(tmp_path)
    (tmp_path / "serve.toml").write_text(
        'listen = "127.0.0.1:0"\ndatabase = "history.db"\n[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'
        f"[limits]\ndeadline_seconds = {DEADLINE}\nconnections = {CONNECTIONS}\n"
    )
    with (tmp_path / "log").open("wb") as log:
        command = [*PROGRAM, "serve", "--settings", str(tmp_path / "serve.toml")]
        found = Served(subprocess.Popen(command, stderr=log, env=dict(os.environ)), tmp_path)
    try:
        found.port = found.until("listening")["port"]
        yield found
    finally:
        found.process.terminate()
        found.process.wait(30)


def test_the_webhook_comes_over_https_and_over_nothing_else(served: Served) -> None:
    answer = served.post()
    assert answer.status_code == 202
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert served.until("listening")["tls"] is True
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"http://127.0.0.1:{served.port}/api/v1/alerts", content=BODY, timeout=10)
    old = ssl.create_default_context(cafile=str(served.folder / "cert.pem"))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("greeting", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n"],
                         ids=["silence", "half a greeting", "no TLS"])  # fmt: skip
def test_a_greeting_that_does_not_end_is_cut_off_at_the_deadline_and_others_are_served(
    served: Served, greeting: bytes
) -> None:
    waiting = [socket.create_connection(("127.0.0.1", served.port), 10) for _ in range(20)]
    begun = time.monotonic()
    for one in waiting:
        one.sendall(greeting)
    assert served.post().status_code == 202
    for one in waiting:
        with one:
            one.settimeout(10)
            try:
                while one.recv(1000):
                    pass
            except ConnectionError:
                pass
    assert time.monotonic() - begun < DEADLINE + 4


@pytest.mark.parametrize("greeting", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["silence", "half a greeting"])
def test_1500_greetings_that_do_not_end_keep_nobody_out_and_hold_no_more_than_the_cap(
    served: Served, greeting: bytes
) -> None:
    """They are connections like others: a new caller takes the place of the one that has waited longest."""
    held, served_it = 0, False
    with half_open(served.port, 1500, greeting):
        begun = time.monotonic()
        while time.monotonic() < begun + 10 and not (served_it and time.monotonic() > begun + 0.8 * DEADLINE):
            held = max(held, len(os.listdir(f"/proc/{served.process.pid}/fd")))
            try:
                served_it |= served.post().status_code == 202
            except httpx.HTTPError:
                time.sleep(0.05)
    assert served_it
    assert held < CONNECTIONS + 100, "descriptors that the database may need"


def test_a_connection_that_was_greeted_is_counted_once_and_given_back(served: Served) -> None:
    def connections() -> float:
        trusted = ssl.create_default_context(cafile=str(served.folder / "cert.pem"))
        with httpx.Client(verify=trusted, timeout=10) as client:
            text = client.get(f"https://127.0.0.1:{served.port}/metrics").text
        return float(
            next(line for line in text.splitlines() if line.startswith("engram_diagnose_connections ")).split()[1]
        )

    for _ in range(5):
        assert served.post().status_code == 202
        with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while plain.recv(1000):
                pass
    assert connections() == 1
    with socket.create_connection(("127.0.0.1", served.port), 10):
        time.sleep(0.2)
        assert connections() == 2


def test_it_ends_at_once_while_greetings_are_under_way(served: Served) -> None:
    waiting = [socket.create_connection(("127.0.0.1", served.port), 10) for _ in range(5)]
    time.sleep(0.2)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(10) == 0
    for one in waiting:
        one.close()


def test_a_renewed_certificate_is_presented_after_sighup_without_a_restart(served: Served) -> None:
    before = served.presented()
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
        trusted = ssl.create_default_context(cafile=str(served.folder / "cert.pem"))
        with trusted.wrap_socket(plain, server_hostname="localhost") as lasting:
            question = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
            lasting.sendall(question)  # or its deadline may end before the reload does
            answer = b""
            while not answer.endswith(b"healthy\n"):
                answer += lasting.recv(1000)
            certify(served.folder, "renewed")
            served.process.send_signal(signal.SIGHUP)
            served.until("reloaded")
            lasting.sendall(question)
            assert b"200 OK" in lasting.recv(1000), "a connection from before goes on"
    after = served.presented()
    assert after != before
    assert after == ssl.PEM_cert_to_DER_cert((served.folder / "cert.pem").read_text())
    assert served.post().status_code == 202


def test_a_certificate_that_cannot_be_used_leaves_the_former_one(served: Served) -> None:
    before = served.presented()
    (served.folder / "cert.pem").write_text("half a certif")
    served.process.send_signal(signal.SIGHUP)
    assert "cert.pem" in served.until("not reloaded")["reason"]
    assert served.presented() == before
