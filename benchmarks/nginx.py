"""
nginx as a target for load generators: one process that answers at once, can be stopped for a while, and can be told to
fail.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PATH = "/api/v1/memories/recall?query=quiet%20harbour%20lantern%20copper&max_results=10"
FAILING = "/failing"
"""Answers 503 while the target is told to fail; each of those is logged with its time."""
ANSWER = '{"memories":[]}'
_CONFIGURATION = """\
daemon off; master_process off; worker_rlimit_nofile 8192;
pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 4096; }}
http {{
  keepalive_requests 1000000000; keepalive_timeout 600s; access_log off; default_type application/json;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  map $status $failed {{ 503 1; default 0; }}
  log_format times '$msec';
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '{answer}'; }}
    location {failing} {{
      access_log {folder}/failed times if=$failed;
      if (-f {folder}/fail) {{ return 503 '{{"error":"overloaded"}}'; }}
      return 200 '{answer}';
    }}
  }}
}}
"""


class NoTargetError(RuntimeError):
    """There is no nginx here, or it does not start."""


@dataclass(slots=True)
class Nginx:
    """A context: nginx on a free port of this machine, ended with it. Raises `NoTargetError`."""

    port: int = 0
    _folder: Path = Path()
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def __enter__(self) -> Self:
        program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if program is None:
            raise NoTargetError("nginx is not installed (Debian: nginx-light)")
        self._folder = Path(tempfile.mkdtemp(prefix="engram-diagnose-nginx-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        written = self._folder / "nginx.conf"
        written.write_text(
            _CONFIGURATION.format(folder=self._folder, port=self.port, answer=ANSWER, failing=FAILING), encoding="utf-8"
        )
        self._process = subprocess.Popen([program, "-c", written, "-e", self._folder / "error"])
        self._wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.__exit__(None, None, None)
        raise NoTargetError("nginx does not start")

    def pin(self, cores: set[int]) -> None:
        """Let it run on these cores alone."""
        assert self._process is not None
        os.sched_setaffinity(self._process.pid, cores)

    def stall(self, seconds: float) -> tuple[float, float]:
        """Stop it for so long; gives when it stopped and went on, in seconds of the monotonic clock."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)
        return stopped, time.monotonic()

    def fail(self) -> None:
        """From now on answer 503 below `FAILING`."""
        (self._folder / "fail").touch()

    def failed(self) -> list[float]:
        """When it answered 503: seconds since the epoch, ascending."""
        log = self._folder / "failed"
        return sorted(float(line) for line in log.read_text().split()) if log.exists() else []
