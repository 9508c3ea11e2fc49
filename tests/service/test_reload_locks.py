"""A reload takes no lock off a running service."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engram_diagnose.service.log import Log
from engram_diagnose.service.server import Service
from engram_diagnose.service.settings import Auth, Incidents, Settings

PROGRAM = [sys.executable, "-c", "from engram_diagnose.cli import main; main()"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda settings: replace(settings, auth=Auth()), "[auth] is gone"),
        (lambda settings: replace(settings, allow_unauthenticated=True), "allow_unauthenticated is newly set"),
        (lambda settings: replace(settings, auth=Auth(), allow_unauthenticated=True), "[auth] is gone"),
    ],
)
@pytest.mark.parametrize("listen", ["127.0.0.1:7433", "0.0.0.0:7433"])
def test_settings_that_ask_nobody_are_refused_whole_and_the_old_ones_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Settings], Settings], said: str, listen: str
) -> None:
    (tmp_path / "token").write_text("a-token")
    auth = Auth((tmp_path / "token",))
    before = Settings(listen=listen, database=tmp_path / "history.db", auth=auth)
    after = change(replace(before, incidents=Incidents(ignore=("RecallLatencyHigh",))))
    service = Service(before, lambda: after, Log(io.StringIO()))

    async def reload(*_: object, **__: object) -> None:
        raise AssertionError("the worker was changed over to what is refused")

    monkeypatch.setattr(service._supervisor, "reload", reload)
    problem = asyncio.run(service.reload())
    assert problem is not None
    assert said in problem or listen.startswith("0.")  # there, that anybody could reach it is said already
    assert "restart" in problem
    assert service.services.settings == before


def test_a_service_that_asks_who_calls_goes_on_doing_so_after_sighup(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token")
    settings, text = tmp_path / "serve.toml", 'listen = "127.0.0.1:0"\ndatabase = "history.db"\n'
    settings.write_text(text + '[auth]\nbearer_token_files = ["token"]\n')
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*PROGRAM, "serve", "--settings", str(settings)], stderr=log, env=dict(os.environ))
    try:
        port = int(until(tmp_path / "log", '"event": "listening"').partition('"port": ')[2].partition(",")[0])
        settings.write_text(text + "allow_unauthenticated = true\n")
        process.send_signal(signal.SIGHUP)
        assert "restart it if that is meant" in until(tmp_path / "log", '"event": "not reloaded"')
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20)
    finally:
        process.terminate()
        process.wait(30)


def until(log: Path, text: str) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.05)
    raise AssertionError(log.read_text())
