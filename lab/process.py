"""
A lab in a process of its own, for whoever needs one for a while: tests, the demo, labelled cases.

    with LabProcess(config, folder, preload=5000) as lab:
        ask(lab.url)
        lab.restart(other_config)

Only the standard library is needed here; what the lab itself imports stays in its process.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_POLL_SECONDS: Final = 0.02
_LAST_LINES: Final = 12


class LabError(RuntimeError):
    """The lab did not start, or did not end; holds the last lines that it wrote."""


class LabProcess:
    """
    One lab over one folder: `folder/engram.toml` is its configuration, `folder/data` its data, `folder/lab.log` what it
    says.

    With port 0 it takes a free one, which it keeps over restarts. `env` is laid over this process's own environment.
    `prepare` runs in the child before it becomes the lab, which is where it can be put into a control group; it must
    not need a lock that another thread may hold. `on_line` gets each line the lab writes while it starts.
    """

    def __init__(
        self,
        config: str,
        folder: Path,
        *,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        preload: int = 0,
        prepare: Callable[[], None] | None = None,
        on_line: Callable[[str], None] | None = None,
        start_seconds: float = 300,
    ) -> None:
        self.folder = folder
        self.config_path = folder / "engram.toml"
        self.data_dir = folder / "data"
        self.log_path = folder / "lab.log"
        self.port = port
        self.env = dict(env or {})
        self.preload = preload
        self.prepare = prepare
        self.on_line = on_line
        self.start_seconds = start_seconds
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = folder / "ready.json"
        self._seen = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    @property
    def url(self) -> str:
        """Its address, such as `http://127.0.0.1:45123`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id; raises `LabError` where it does not run."""
        if self._process is None:
            raise LabError("the lab does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it listens; raises `LabError` where it does not."""
        if self.is_running:
            raise LabError(f"the lab runs already, as process {self.pid}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(self._config)
        self._ready.unlink(missing_ok=True)
        with self.log_path.open("ab") as log:
            self._seen = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
                self._command(),
                stdin=subprocess.PIPE,  # it stops when this process is gone, however that went
                stdout=log,
                stderr=log,
                env={**os.environ, **self.env},
                preexec_fn=self.prepare,
                start_new_session=True,  # Ctrl-C is for whoever started the lab; it stops the lab itself
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def restart(self, config: str | None = None) -> None:
        """Stop it cleanly and start it again at the same port, with another configuration if one is given."""
        self.stop()
        if config is not None:
            self._config = config
        self.start()

    def stop(self, *, seconds: float = 30) -> int:
        """
        Ask it to end, and give its exit code (0 when it answered and wrote all); 0 where it did not run.

        Raises `LabError` where it had to be killed.
        """
        process = self._process
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabError(f"the lab did not end within {seconds:g} s and was killed\n{self._last_lines()}") from None
        return self._gone(process)

    def kill(self) -> None:
        """End it as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._gone(self._process)

    def _gone(self, process: subprocess.Popen[bytes]) -> int:
        code = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._process = None
        return code

    def _command(self) -> list[str]:
        named = {"config": self.config_path, "data-dir": self.data_dir, "port": self.port, "ready-file": self._ready,
                 "preload": self.preload}  # fmt: skip
        options = [f"--{name}={value}" for name, value in named.items()]
        return [sys.executable, "-m", "engram_diagnose.lab", "--stop-with-stdin", *options]

    def _wait_until_ready(self) -> None:
        process, until = self._process, time.monotonic() + self.start_seconds
        while process is not None:
            self._tell()
            if self._ready.exists():
                self.port = int(json.loads(self._ready.read_text())["port"])
                return
            if process.poll() is not None:
                raise LabError(f"the lab ended with {process.returncode} as it started\n{self._last_lines()}")
            if time.monotonic() > until:
                raise LabError(f"the lab was not ready within {self.start_seconds:g} s\n{self._last_lines()}")
            time.sleep(_POLL_SECONDS)

    def _tell(self) -> None:
        """Pass on the lines that were written since."""
        if self.on_line is None:
            return
        with self.log_path.open("rb") as log:
            log.seek(self._seen)
            written = log.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._seen += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            self.on_line(line)

    def _last_lines(self) -> str:
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-_LAST_LINES:])
