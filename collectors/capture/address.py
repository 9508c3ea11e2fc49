"""Addresses of servers: read, checked, and compared with what an instance is called."""

from __future__ import annotations

from urllib.parse import urlsplit

from engram_diagnose.collectors.capture.names import is_loopback, names_this_host, resolve, split_instance


class AddressError(ValueError):
    """An address that cannot be asked; the message never repeats it, for it may hold a password."""


def check_address(option: str, url: str) -> None:
    """Raises `AddressError` for what is given after `option`, unless it is empty or can be asked."""
    if not url:
        return
    form = "write it like http://db1:7432"
    try:
        parts = urlsplit(url)
        asked = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise AddressError(f"the address after {option} cannot be read; {form}") from None
    if "@" in parts.netloc:
        raise AddressError(f"the address after {option} holds a user name; leave it out and give a token")
    if not asked:
        raise AddressError(f"the address after {option} lacks http:// or https://, or its host; {form}")


def address_of(url: str) -> str:
    """`host:port` of a URL."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] if parts.netloc else ""


def split_url(url: str) -> tuple[str, str, str]:
    """
    A metrics address as its server, its path with the query, and its path alone, which is what it is called: a query
    may hold a secret. The path is `/metrics` where there is none.
    """
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    path = parts.path if parts.path.strip("/") else "/metrics"
    return f"{parts.scheme}://{parts.netloc}", path + query, path


def same_server(instance: str, url: str, *, via: str = "") -> bool:
    """
    Whether an instance label and a URL name the same host and port; a label without a port fits every port.

    `via` is the host of the Prometheus that said the label: its loopback is not ours.
    """
    parts = urlsplit(url)
    host, (label_host, label_port) = parts.hostname or "", split_instance(instance)
    if label_port not in (None, parts.port or (443 if parts.scheme.lower() == "https" else 80)):
        return False
    if is_loopback(label_host) and via:
        label_host = via.lower()
    if host == label_host:
        return True
    here = names_this_host(label_host)
    if here or names_this_host(host):
        return here and names_this_host(host)
    return bool(({host} | resolve(host)) & ({label_host} | resolve(label_host)))
