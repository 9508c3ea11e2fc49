"""
Guard rails: whom a load may be sent to, how much of it, and into which memory spaces.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from engram_diagnose.collectors.capture.names import is_loopback
from engram_diagnose.engine.facts.unit import UNITS, format_value

SPACE_PREFIX: Final = "bench-"
"""What every memory space of a load begins with; no other is ever written to or removed."""
_FORM: Final = "write it like http://127.0.0.1:7432"


class GuardError(ValueError):
    """A load that is not sent; says which guard rail stands there, and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the load goes: a server that speaks plain HTTP/1.1."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host:port` as HTTP writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address with its scheme, without a slash at its end."""
        return f"http://{self.authority}"

    @property
    def is_this_machine(self) -> bool:
        """Whether the name or number can mean nothing but the machine the load comes from."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Size:
    """What a plan comes to at most, everything together: seeding, warm-up, measuring."""

    requests: int
    bytes: int
    seconds: float


def checked_address(url: str) -> Address:
    """
    `url := "http://" host [ ":" port ] [ "/" ]`.

    Raises `GuardError` for everything else; the message never repeats the address, for it may hold a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise GuardError(f"the address of the server cannot be read; {_FORM}") from None
    if "@" in parts.netloc:
        raise GuardError("the address of the server holds a user name; leave it out and give --server-token-file FILE")
    if parts.scheme.lower() == "https":
        raise GuardError("the load generator speaks plain HTTP: name the server's own port behind whatever does TLS")
    if parts.scheme.lower() != "http" or not host or port == 0:
        raise GuardError(f"that is no address of a server; {_FORM}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise GuardError(f"the address of the server goes on behind its port, where no path belongs; {_FORM}")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in host):
        raise GuardError(f"the host's name holds blanks or control characters; {_FORM}")
    return Address(host, port or 80)


def require_confirmation(addresses: Collection[Address], confirmed: Collection[str]) -> None:
    """Raises `GuardError` for a server elsewhere whose very name was not given after `--confirm`, and for any other."""
    hosts = list(dict.fromkeys(address.host for address in addresses))
    for name in confirmed:
        if name.lower() not in hosts:
            raise GuardError(f"--confirm names {name!r}, and the load would go to {' and '.join(hosts)}; "
                             "name the host that is loaded")  # fmt: skip
    names = {name.lower() for name in confirmed}
    elsewhere = [one for one in hosts if any(it.host == one and not it.is_this_machine for it in addresses)]
    missing = [one for one in elsewhere if one not in names]
    if missing:
        raise GuardError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not this machine: a load slows whoever "
            "else uses that server, and stores memories in it. Look at the plan above; if it is meant, say so with "
            + " ".join(f"--confirm {one}" for one in elsewhere)
        )


def require_bounds(size: Size, limits: Mapping[str, float]) -> None:
    """Raises `GuardError` for a plan beyond the caps of `rules/catalogue/bench.yaml`, each of them named."""
    beyond = [
        f"{what}, and {most} at most"
        for what, most, over in (
            (f"{size.requests:,} requests", f"{limits['most_requests']:,.0f}", size.requests > limits["most_requests"]),
            (format_value(float(size.bytes), UNITS["B"]), format_value(limits["most_bytes"], UNITS["B"]),
             size.bytes > limits["most_bytes"]),
            (f"{size.seconds:,.0f} s", f"{limits['most_seconds']:,.0f} s", size.seconds > limits["most_seconds"]),
        )
        if over
    ]  # fmt: skip
    if beyond:
        raise GuardError(
            f"the plan is larger than it may be: {'; '.join(beyond)}. Give a lower --rate or fewer --seconds; "
            "the caps stand in rules/catalogue/bench.yaml, and a pack may state its own"
        )


def require_within(name: str, value: float, most: float) -> None:
    """Raises `GuardError` for an option beyond its cap."""
    if value > most:
        raise GuardError(f"{name} {value:,g} is more than {most:,g}, which is the cap; the reason stands in "
                         "rules/catalogue/bench.yaml")  # fmt: skip


def space_name(tag: str, name: str) -> str:
    """The memory space `name` of the run `tag`; raises `GuardError` for one that no server takes."""
    full = f"{SPACE_PREFIX}{tag}-{name}"
    if len(full) > 63 or not all(letter.isascii() and (letter.isalnum() or letter == "-") for letter in full):
        raise GuardError(f"{full!r} is no name for a memory space: letters, digits and dashes, 63 at most")
    return full


def is_ours(space: str) -> bool:
    """Whether a space is one that a load may write to and remove."""
    return space.startswith(SPACE_PREFIX) and len(space) > len(SPACE_PREFIX)
