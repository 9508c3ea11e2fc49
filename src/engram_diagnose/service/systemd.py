"""
Tells systemd how the service is doing, where it was started by systemd (`Type=notify`).
"""

import os
import socket
import time
from contextlib import suppress


def notify(state: str) -> None:
    """Send lines such as `READY=1`; nothing happens without a NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect(address)
        sender.sendall(state.encode())


def reloading() -> str:
    """The state of a reload that begins now, as `Type=notify-reload` wants it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear of us; None where it does not."""
    pid, wanted = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not wanted.isdigit() or int(wanted) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(wanted) / 2e6
