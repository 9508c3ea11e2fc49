"""No line of the log holds a secret, whoever says it, in whatever form it travels."""

import base64
import io
from pathlib import Path

import pytest

from engram_diagnose.service.hidden import Secrets
from engram_diagnose.service.log import Log
from engram_diagnose.service.settings import Alertmanager, Auth, Login, Prometheus, Settings, Webhook

TOKEN, OTHER, PASSWORD, PATH = "token-1-of-caller", "token-2-of-caller", "pass:wörd/7", "/services/T0/very-secret"
LINES = {"a": TOKEN, "b": f"{OTHER}\n", "logins": f"ann:{PASSWORD}\n", "prom": "token-of-prometheus",
         "am": "eve:secret-of-eve", "hook": f"https://hooks.example{PATH}?key=abcdef"}  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name, text in LINES.items():
        (tmp_path / name).write_text(text)
    return Settings(
        auth=Auth((tmp_path / "a", tmp_path / "b"), tmp_path / "logins"),
        prometheus=Prometheus("http://prom:in-the-url@prometheus:9090", Login(bearer_token_file=tmp_path / "prom")),
        alertmanager=Alertmanager(login=Login(tmp_path / "gone", tmp_path / "am", {"X-Key": "key-in-a-header"})),
        webhook=Webhook(url_file=tmp_path / "hook"),
    )


def said(secrets: Secrets, *texts: str) -> str:
    stream = io.StringIO()
    log = Log(stream)
    log.hide_all_of(secrets)
    for text in texts:
        log.error("failed", error=f"it says {text}.", more=[text], deeper={text: {"x": text}})
    return stream.getvalue()


@pytest.mark.parametrize("secret", [
    TOKEN, OTHER, PASSWORD, "token-of-prometheus", "secret-of-eve", "in-the-url", "key-in-a-header", PATH, "key=abcdef",
    base64.b64encode(f"ann:{PASSWORD}".encode()).decode(), base64.b64encode(b"eve:secret-of-eve").decode(),
    base64.b64encode(b"prom:in-the-url").decode(), "pass%3Aw%C3%B6rd%2F7",
])  # fmt: skip
def test_no_secret_of_the_settings_is_written(settings: Settings, secret: str) -> None:
    text = said(Secrets(lambda: settings), secret)
    assert secret not in text
    assert secret.encode("unicode_escape").decode() not in text
    assert text.count("***") == 4


def test_a_secret_that_was_changed_is_hidden_at_once_and_the_former_one_still(settings: Settings) -> None:
    secrets = Secrets(lambda: settings)
    said(secrets, "x")
    settings.auth.bearer_token_files[0].write_text("another-token-for-callers")
    text = said(secrets, "another-token-for-callers", TOKEN)
    assert "another-token" not in text
    assert TOKEN not in text


def test_what_a_reload_brings_is_hidden_too(settings: Settings) -> None:
    now = [settings]
    secrets = Secrets(lambda: now[0])
    said(secrets, "x")
    now[0] = Settings(webhook=Webhook(url="http://hooks.example/another/secret"))
    text = said(secrets, "http://hooks.example/another/secret", TOKEN)
    assert "another/secret" not in text
    assert "http://hooks.example***" in text
    assert TOKEN not in text


def test_a_word_too_short_to_tell_anything_does_not_make_the_log_unreadable(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("e")
    text = said(Secrets(lambda: Settings(auth=Auth((tmp_path / "token",)))), "hello")
    assert "hello" in text


def test_the_beginning_of_a_secret_before_a_cut_is_hidden_too(settings: Settings) -> None:
    text = said(Secrets(lambda: settings), f"answers {TOKEN[:9]}…")
    assert TOKEN[:9] not in text
    assert "answers ***" in text
