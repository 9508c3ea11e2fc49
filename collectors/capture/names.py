"""Whether a name or address means this machine."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import threading

from engram_diagnose.collectors.capture.reading import line_of, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
_LOCAL = re.compile(r"\|-- ([0-9.]+)\s*\n\s*/32 host LOCAL")


def split_instance(instance: str) -> tuple[str, int | None]:
    """
    `instance := [scheme "://"] (name | address | "[" address "]") [":" port] ["/" …]`.

    The host in lower case, and the port or None.
    """
    text = instance.strip().partition("://")[2] or instance.strip()
    text = text.partition("/")[0].rpartition("@")[2]
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([0-9]{1,5}))?", text)
    if bracketed:
        return bracketed.group(1).lower(), int(bracketed.group(2)) if bracketed.group(2) else None
    plain = re.fullmatch(r"([^:]*):([0-9]{1,5})", text)
    return (plain.group(1).lower(), int(plain.group(2))) if plain else (text.lower(), None)


def is_loopback(host: str) -> bool:
    """Whether every machine means itself by this name."""
    address = _address(host)
    if address is None:
        return host.lower() in _LOOPBACK_NAMES
    return address.is_loopback or address.is_unspecified


def own_addresses(*, proc_root: str = "/proc") -> frozenset[str]:
    """The addresses of this machine's interfaces, from the kernel's tables."""
    four = _LOCAL.findall(read(os.path.join(proc_root, "net/fib_trie")).body or "")
    lines = (read(os.path.join(proc_root, "net/if_inet6")).body or "").splitlines()
    hexadecimal = [line[:32] for line in lines if re.match(r"[0-9a-f]{32} ", line)]
    six = [str(ipaddress.IPv6Address(int(digits, 16))) for digits in hexadecimal]
    return frozenset([*four, *six])


def resolve(host: str, *, timeout_seconds: float = 2.0) -> frozenset[str]:
    """The addresses a name stands for; none when the resolver fails or takes too long."""
    found: list[str] = []

    def ask() -> None:
        try:
            found.extend(str(info[4][0]) for info in socket.getaddrinfo(host, None))
        except (OSError, UnicodeError):
            return

    # The resolver knows no time limit of its own.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout_seconds)
    return frozenset(found)


def names_this_host(
    host: str,
    *,
    via: str = "",
    proc_root: str = "/proc",
    resolver: Callable[[str], frozenset[str]] = resolve,
) -> bool:
    """
    Whether `host` means this machine.

    A loopback name means the machine of whoever says it: `via` is the host of the Prometheus that
    gave the label (empty when the operator said it here), and a loopback name counts only when
    that is this machine too.
    """
    if is_loopback(host):
        return not via or names_this_host(via, proc_root=proc_root, resolver=resolver)
    own = line_of(os.path.join(proc_root, "sys/kernel/hostname")).lower()
    if host.lower() == own != "":
        return True
    here = own_addresses(proc_root=proc_root)
    address = _address(host)
    if address is not None:
        return str(address) in here
    return any(found in here or is_loopback(found) for found in resolver(host))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
