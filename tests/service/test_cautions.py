"""Notes on settings that can be used and are seldom meant."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.service.cautions import cautions
from engram_diagnose.service.certificates import CertificateError, valid_until
from engram_diagnose.service.reading import read_settings
from engram_diagnose.service.settings import (
    Alertmanager,
    Incidents,
    Login,
    Prometheus,
    Retention,
    Settings,
    Tls,
    Webhook,
)

QUIET = Settings(
    public_url="https://diagnose.example",
    prometheus=Prometheus(url="http://p:9090"),
    alertmanager=Alertmanager(urls=("http://a:9093",)),
)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH to make certificates")


def said(settings: Settings, path: Path | None = None, now: datetime | None = None) -> str:
    return "\n".join(cautions(settings, path, now=now))


def certify(folder: Path, days: int, *more: str) -> Path:
    path = folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", str(days), "-subj", "/CN=localhost", "-keyout", str(folder / "key.pem"), "-out", str(path),
               *more]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_nothing_is_said_where_nothing_is_odd() -> None:
    assert said(QUIET) == ""


def test_that_nothing_tells_incidents_apart_is_said() -> None:
    nothing = replace(QUIET, incidents=Incidents(instance_labels=(), labels=()))
    assert "nothing tells incidents apart, and all alerts within 600 seconds become one" in said(nothing)
    for one in (Incidents(instance_labels=()), Incidents(labels=("cluster",), instance_labels=())):
        assert ("incidents.labels" in said(replace(QUIET, incidents=one))) == (not one.labels)


@pytest.mark.parametrize("told", [{}, {"webhook": Webhook(url="http://w")}])
def test_that_links_lead_nowhere_is_said_where_messages_go_out(told: dict[str, Webhook]) -> None:
    settings = replace(QUIET, public_url="", **told)  # type: ignore[arg-type]
    assert "links in messages begin with http://127.0.0.1:7433, which only this host reaches" in said(settings)
    assert "public_url" not in said(replace(settings, alertmanager=Alertmanager(), webhook=Webhook()))


def test_that_next_to_nothing_is_kept_is_said() -> None:
    assert "gone 12 hours later" in said(replace(QUIET, retention=Retention(days=0.5)))
    week = replace(QUIET, retention=Retention(days=2), incidents=Incidents(window_seconds=7 * 86400))
    assert "retention.days = 2: an incident that is closed is gone 48 hours later" in said(week)
    assert "retention.bytes = 16777216: that is room for a few dozen" in said(
        replace(QUIET, retention=Retention(bytes=1 << 24))
    )
    assert "retention" not in said(replace(QUIET, retention=Retention(days=1, bytes=1 << 26)))


@needs_openssl
@pytest.mark.parametrize(("days", "text"), [(29, "expires on"), (45, ""), (20000, "")])
def test_a_certificate_that_ends_soon_is_named_with_its_day(tmp_path: Path, days: int, text: str) -> None:
    certificate = certify(tmp_path, days)
    settings = replace(QUIET, tls=Tls(certificate, tmp_path / "key.pem"))
    end = datetime.now(UTC) + timedelta(days=days)
    assert abs(valid_until(certificate.read_bytes()) - end) < timedelta(minutes=5)
    assert ("expires on" in said(settings)) == bool(text)
    assert "expired on" in said(settings, now=end + timedelta(hours=1))
    client = replace(QUIET, alertmanager=Alertmanager(urls=("http://a",), login=Login(client_cert=certificate)))
    assert ("expires on" in said(client)) == bool(text)


@needs_openssl
def test_of_a_chain_the_first_to_end_counts(tmp_path: Path) -> None:
    long = certify(tmp_path, 400).read_text()
    short = certify(tmp_path, 3).read_text()
    for text in (long + short, short + "between them\n" + long):
        assert valid_until(text.encode()) - datetime.now(UTC) < timedelta(days=4)


@needs_openssl
def test_a_certificate_cut_off_anywhere_is_said_to_be_damaged(tmp_path: Path) -> None:
    text = certify(tmp_path, 3).read_text()
    lines = text.splitlines()
    for end in range(len(lines) - 1):
        cut = "\n".join([*lines[:end], *lines[-1:]])
        with pytest.raises(CertificateError):
            valid_until(cut.encode())
    (tmp_path / "cert.pem").write_text("no certificate")
    settings = replace(QUIET, tls=Tls(tmp_path / "cert.pem", tmp_path / "key.pem"))
    assert "cert.pem is valid cannot be told: it holds no certificate in PEM" in said(settings)


@given(st.binary(max_size=200))
def test_no_bytes_make_more_of_a_certificate_than_an_error(data: bytes) -> None:
    import ssl

    for pem in (data, ssl.DER_cert_to_PEM_cert(data).encode()):
        with pytest.raises(CertificateError):
            valid_until(pem)


def test_a_file_with_a_secret_that_others_read_is_named(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text("certificate and key")
    both.chmod(0o644)
    settings = replace(QUIET, prometheus=Prometheus(url="http://p", login=Login(client_cert=both)))
    assert f"chmod 600 {both}" in said(settings)
    key = tmp_path / "key.pem"
    key.write_text("key")
    key.chmod(0o600)
    apart = replace(QUIET, prometheus=Prometheus(url="http://p", login=Login(client_cert=both, client_key=key)))
    assert "chmod" not in said(apart)
    key.unlink()
    assert "chmod" not in said(apart)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('[prometheus]\nheaders = {Authorization = "Bearer geheim-geheim"}', True),
        ('[prometheus]\nurl = "http://user:geheim@p:9090"', True),
        ('[alertmanager]\nurls = ["http://a:9093", "http://user:geheim@b:9093"]', True),
        ('[webhook]\nurl = "https://hooks.example/x?token=geheim"', True),
        ('[webhook]\nurl = "https://hooks.example/services/T0/geheim"', True),
        ('[webhook]\nurl = "http://127.0.0.1:9000/"', False),
        ('[prometheus]\nurl = "http://p:9090"\nheaders = {X-Scope-OrgID = "7"}', False),
        ("", False),
    ],
)
def test_settings_that_hold_a_secret_themselves_are_not_for_everybody(tmp_path: Path, text: str, secret: bool) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    path.chmod(0o644)
    found = said(read_settings(path), path)
    assert (f"{path} may hold a secret and can be read by other users" in found) == secret
    assert "geheim" not in found
    path.chmod(0o640)
    assert "may hold a secret" not in said(read_settings(path), path)
