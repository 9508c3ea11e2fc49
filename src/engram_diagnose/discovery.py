"""
What to ask when no source of metrics was named: the server's process on this host, and a Prometheus at its usual port.
"""

import socket
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.collectors.capture.target import LocalTarget, local_target
from engram_diagnose.collectors.gather import NothingToCollectError, Request
from engram_diagnose.collectors.prometheus.options import PrometheusOptions

PROMETHEUS_PORT: Final = 9090
_CONNECT_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Discovered:
    """A request with what was found filled in, and what to tell the operator of it."""

    request: Request
    notes: tuple[str, ...] = ()


def discover(request: Request) -> Discovered:
    """
    Fill in what the operator left out.

    Raises `NothingToCollectError` when nothing was named and nothing is here, but for sizing, which needs no server.
    """
    if request.prometheus or request.metrics_url or request.server_url:
        return Discovered(request)
    notes = []
    if _listens(PROMETHEUS_PORT):
        request = replace(request, prometheus=PrometheusOptions(f"http://127.0.0.1:{PROMETHEUS_PORT}"))
        notes.append(f"found a Prometheus on port {PROMETHEUS_PORT}")
    if request.pid is None and request.local:
        target = local_target(request.instance)
        if isinstance(target, LocalTarget):
            notes.append(f"found {target.name} (process {target.pid}, {target.how})")
    if not (notes or request.pid or request.config_file or request.sizing):
        raise NothingToCollectError(
            f"no Engram server was found on this host, and no Prometheus on port {PROMETHEUS_PORT}.\n"
            "  Name a source:       engram-diagnose --prometheus http://prometheus:9090 [--instance HOST:PORT]\n"
            "  Or the server:       engram-diagnose --server http://127.0.0.1:7432\n"
            "  Or see how it works: engram-diagnose demo"
        )
    return Discovered(request, tuple(notes))


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False
