"""Running a program that measures: bounded in time and output, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

OUTPUT_BYTES = 16 << 20
_ERROR_BYTES = 64 << 10
_LOOK_SECONDS = 0.05
_GRACE_SECONDS = 2.0
"""How long a program that was asked to end may take to write down what it has."""
_LAST_READS = 64
"""Of 64 KiB at most, from pipes that hold as much: far more than can lie there."""
_FOLDERS = "/usr/sbin:/sbin"
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ToolRun:
    """
    What a program printed, and what running it cost.

    `output` and `errors` are text, bytes that are not UTF-8 as lone surrogates; `cut` says that there was more.
    `status` is the exit status, negative for a signal, None when it never started. Where it gave no whole answer,
    `reason` is the name of a `Reason` member and `detail` the particular. `cpu_seconds` is what the program and its
    children used.
    """

    output: str = ""
    errors: str = ""
    status: int | None = None
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    cut: bool = False

    @property
    def complete(self) -> bool:
        """Whether it ran to its end and printed all it had."""
        return not self.reason


def find_tool(name: str) -> str | None:
    """Where a program is, the folders of root included; None where there is none."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + os.pathsep + _FOLDERS)


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """A folder of our own for what a program must write to a file; gone afterwards, whatever happened."""
    folder = tempfile.mkdtemp(prefix="engram-diagnose-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_tool(
    arguments: Sequence[str],
    *,
    seconds: float,
    limit: int = OUTPUT_BYTES,
    stop: threading.Event | None = None,
    folder: str | None = None,
) -> ToolRun:
    """
    Run a program for at most `seconds`, and say what it printed.

    It runs in a session of its own, in the C locale, with nothing to read, and ends when this process does. At the
    deadline, when `stop` is set and when more than `limit` bytes came, it is ended; the reason is then BUDGET or
    TOO_EXPENSIVE. Never raises for a program that cannot be started: NO_TOOL, PTRACE_DENIED, SOURCE_UNREACHABLE.
    """
    path = find_tool(arguments[0])
    if path is None:
        return ToolRun(reason="NO_TOOL", detail=f"{arguments[0]} is not installed")
    if stop is not None and stop.is_set():
        return ToolRun(reason="BUDGET", detail=f"{arguments[0]}: {_why(stop)}")
    began = time.monotonic()
    try:
        process = _started([path, *arguments[1:]], folder)
    except OSError as error:
        reason = "PTRACE_DENIED" if isinstance(error, PermissionError) else "SOURCE_UNREACHABLE"
        return ToolRun(reason=reason, detail=f"{arguments[0]} does not start: {error.strerror or error}")
    except ValueError as error:  # a NUL among the arguments
        return ToolRun(reason="SOURCE_UNREACHABLE", detail=f"{arguments[0]} cannot be given that: {error}")
    with _Watched(process, limit) as watched:
        ended = watched.follow(began, seconds, stop)
    return watched.result(os.path.basename(arguments[0]), ended, time.monotonic() - began)


def _why(stop: threading.Event) -> str:
    return getattr(stop, "why", "collecting was stopped")


def _started(arguments: list[str], folder: str | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 -- the program was looked up, and no shell is between
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder or "/",
        env=_environment(),
        start_new_session=True,
        preexec_fn=_die_with_us(),  # one call into libc, looked up before the fork
    )


def _environment() -> dict[str, str]:
    """Ours without what changes the form of output, or has a program load or download something."""
    changing = ("LC_", "PERF_", "LD_", "DEBUGINFOD_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(changing)}
    ours = {"LC_ALL": "C", "LANG": "C", "LANGUAGE": "C", "PERF_PAGER": "cat", "PAGER": "cat", "TERM": "dumb"}
    return {**kept, **ours, "PERF_CONFIG": os.devnull}


def _die_with_us() -> Callable[[], None] | None:
    """For the child: to be killed when the thread that started it is gone."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None)
        prctl = libc.prctl
    except (OSError, AttributeError):
        return None
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Watched:
    """A running program: its output is taken as it comes, and its end is certain."""

    def __init__(self, process: subprocess.Popen[bytes], limit: int) -> None:
        self._process = process
        self._limit = limit
        self._kept = {"output": bytearray(), "errors": bytearray()}
        self._streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
        self._selector = selectors.DefaultSelector()
        self._status: int | None = None
        self._cpu = 0.0
        self._cut = False

    def __enter__(self) -> _Watched:
        for stream, name in zip(self._streams, ("output", "errors")):  # noqa: B905 -- Python 3.8
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, name)
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._take_the_rest()
        self._selector.close()
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.close()

    def follow(self, began: float, seconds: float, stop: threading.Event | None) -> tuple[str, str]:
        """Until it ended or has to end; the reason and the detail, both empty for an end of its own."""
        while not self._ended():
            self._drain(_LOOK_SECONDS)
            if stop is not None and stop.is_set():
                return self._asked_to_end(_why(stop))
            if self._cut:  # there may be no end of it
                return "TOO_EXPENSIVE", f"it printed more than {self._limit} bytes"
            if time.monotonic() > began + seconds:
                return self._asked_to_end(f"it took longer than {seconds:g} s")
        self._take_the_rest()
        return ("TOO_EXPENSIVE", f"it printed more than {self._limit} bytes") if self._cut else ("", "")

    def result(self, name: str, ended: tuple[str, str], seconds: float) -> ToolRun:
        """What came of it, once it is over."""
        reason, detail = ended
        return ToolRun(
            output=self._kept["output"].decode("utf-8", "surrogateescape"),
            errors=self._kept["errors"].decode("utf-8", "surrogateescape"),
            status=self._status,
            reason=reason,
            detail=f"{name}: {detail}" if detail else "",
            seconds=seconds,
            cpu_seconds=self._cpu,
            cut=self._cut,
        )

    def _drain(self, wait: float) -> bool:
        """Take what is there; whether anything was."""
        if not self._selector.get_map():
            time.sleep(wait)
            return False
        came = False
        for key, _ in self._selector.select(wait):
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(key.fd, 1 << 16)
                came = came or bool(chunk)
                if chunk:
                    self._take(key.data, chunk)
                else:
                    self._selector.unregister(key.fileobj)
        return came

    def _take_the_rest(self) -> None:
        """What lies in the pipes once it ended; somebody who left its group may write there still, and for ever."""
        for _ in range(_LAST_READS):
            if not self._drain(0):
                return

    def _take(self, name: str, chunk: bytes) -> None:
        kept = self._kept[name]
        room = (self._limit if name == "output" else _ERROR_BYTES) - len(kept)
        kept += chunk[: max(0, room)]
        self._cut = self._cut or (name == "output" and len(chunk) > room)

    def _ended(self) -> bool:
        """
        Whether it is over.

        What it started itself is killed before its number can be another's: until it is waited for, the group keeps it.
        """
        if self._status is not None:
            return True
        try:
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            self._signal(signal.SIGKILL)
            _, status, usage = os.wait4(self._process.pid, 0)
        except ChildProcessError:  # somebody else waited for it
            self._status = self._process.returncode = -1
            return True
        self._status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        self._process.returncode = self._status
        self._cpu = usage.ru_utime + usage.ru_stime
        return True

    def _asked_to_end(self, why: str) -> tuple[str, str]:
        """Give it a moment to write down what it has."""
        self._signal(signal.SIGTERM)
        until = time.monotonic() + _GRACE_SECONDS
        while not self._ended() and time.monotonic() < until:
            self._drain(_LOOK_SECONDS)
        return "BUDGET", why

    def _kill(self) -> None:
        if not self._ended():
            self._signal(signal.SIGKILL)
            until = time.monotonic() + _GRACE_SECONDS
            while not self._ended() and time.monotonic() < until:
                time.sleep(_LOOK_SECONDS / 10)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, number)
