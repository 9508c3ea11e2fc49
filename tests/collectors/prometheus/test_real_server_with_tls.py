"""A real Prometheus behind TLS, client certificates and a password, as its own web configuration sets them up."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.collectors.prometheus.client import Found, Prometheus, PrometheusOptions, Refusal
from engram_diagnose.engine.facts.fact import Reason

pytestmark = pytest.mark.server

PASSWORD = "test"
HASH = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"
"""The password by bcrypt: the example of Prometheus' documentation."""
WEB = """
tls_server_config:
  cert_file: {folder}/server.pem
  key_file: {folder}/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: {folder}/client.pem
basic_auth_users:
  ann: {hash}
"""


@dataclass(frozen=True)
class Guarded:
    url: str
    folder: Path

    def options(self, **more: Any) -> PrometheusOptions:
        """All that is asked for, but for what `more` leaves out or gets wrong."""
        right = {"user": "ann", "password": PASSWORD, "ca_file": f"{self.folder}/server.pem",
                 "client_cert": f"{self.folder}/client.pem", "client_key": f"{self.folder}/client.key"}  # fmt: skip
        return PrometheusOptions(self.url, **{**right, **more})  # type: ignore[arg-type]

    def found(self, **more: Any) -> Found | Refusal:
        with Prometheus(self.options(**more)) as prometheus:
            return prometheus.instances(["x"], at=time.time())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on the PATH (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("guarded")
    for name, purpose in (("server", "serverAuth"), ("client", "clientAuth")):
        certify(folder, name, purpose)
    (folder / "prometheus.yml").write_text("{}\n")
    (folder / "web.yml").write_text(WEB.format(folder=folder, hash=HASH))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = int(listening.getsockname()[1])
    command = [binary, f"--config.file={folder}/prometheus.yml", f"--web.config.file={folder}/web.yml",
               f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            guarded = Guarded(f"https://127.0.0.1:{port}", folder)
            deadline = time.monotonic() + 60
            while isinstance(guarded.found(), Refusal):
                assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
                time.sleep(0.1)
            yield guarded
        finally:
            process.terminate()
            process.wait(20)


def certify(folder: Path, name: str, purpose: str) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
               "-addext", "subjectAltName=IP:127.0.0.1", "-addext", f"extendedKeyUsage={purpose}",
               "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl cannot make a certificate: {error}")


def refused(answer: Found | Refusal) -> Refusal:
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.SOURCE_UNREACHABLE
    assert PASSWORD not in answer.next_step
    return answer


def test_who_has_all_that_is_asked_for_is_let_in(guarded: Guarded) -> None:
    found = guarded.found()
    assert isinstance(found, Found)
    assert found.version.count(".") == 2


def test_a_wrong_password_is_told_with_what_to_give(guarded: Guarded) -> None:
    answer = refused(guarded.found(password="wrong"))
    assert "refuses access (401)" in answer.detail
    assert "user and password" in answer.next_step


def test_an_authority_that_is_not_trusted_is_told(guarded: Guarded) -> None:
    answer = refused(guarded.found(ca_file=""))
    assert "is not trusted" in answer.detail
    assert "CA" in answer.next_step


def test_a_client_certificate_that_is_missing_is_told(guarded: Guarded) -> None:
    answer = refused(guarded.found(client_cert="", client_key=""))
    assert "client certificate" in answer.next_step


def test_plain_http_to_it_is_told(guarded: Guarded) -> None:
    plain = Guarded(guarded.url.replace("https:", "http:"), guarded.folder)
    answer = plain.found()
    assert isinstance(answer, Refusal)
    assert "HTTPS" in answer.detail or "https" in answer.next_step
