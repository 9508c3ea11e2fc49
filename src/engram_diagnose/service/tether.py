"""
What ties a worker process to the service that started it: it hears over its standard input, speaks over its standard
output, and does not outlive it.
"""

import ctypes
import faulthandler
import json
import os
import resource
import signal
import sys
import threading
from typing import Any, BinaryIO, Final, TextIO

from engram_diagnose.service.order import BEGIN, FINISH, ORPHANED, WAKE, Order, read_order

_PR_SET_PDEATHSIG: Final = 1


class Tether:
    """
    Both pipes to the service. Once `listen` was called, the end of the incoming one ends this process at once.

    `begun` and `finishing` are set by the service; `woken` is set whenever it said anything.
    """

    def __init__(self, heard: BinaryIO, said: TextIO) -> None:
        self._heard = heard
        self._said = said
        self.woken = threading.Event()
        self.begun = threading.Event()
        self.finishing = threading.Event()

    def order(self) -> Order:
        """What to do; raises `EOFError`."""
        return read_order(self._heard)

    def listen(self) -> None:
        """Hear the service from here on, in a thread of its own."""
        threading.Thread(target=self._listen, name="tether", daemon=True).start()

    def say(self, event: str, **fields: Any) -> None:
        """Tell the service; a service that cannot be told is gone."""
        try:
            self._said.write(json.dumps({"event": event, **fields}) + "\n")
            self._said.flush()
        except OSError:
            os._exit(ORPHANED)

    def _listen(self) -> None:
        meanings = {BEGIN: self.begun, FINISH: self.finishing}
        while said := self._heard.read(1):
            if said in meanings:
                meanings[said].set()
            if said in (WAKE, BEGIN, FINISH):
                self.woken.set()
        # Whatever is in hand is in the database as it was before, and is done again.
        os._exit(ORPHANED)


def tie() -> Tether:
    """
    Tie this process to its parent; signals that a terminal or a service manager sends to both are the parent's to act
    on. What is printed goes to standard error from here on.
    """
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _die_with_parent()
    if os.getppid() != parent:
        os._exit(ORPHANED)
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.enable()
    return Tether(os.fdopen(os.dup(0), "rb", buffering=0), said)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process with its parent; elsewhere than on Linux the pipe's end has to do."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def cap_memory(limit_bytes: int) -> None:
    """Let this process have no more address space than that; a lower limit that is there already stays."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
