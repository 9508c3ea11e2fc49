"""
A service whose parts do nothing, for tests of what stands in front of them: `bare_service.py SETTINGS` prints its port.

Its writer answers at once, or after the seconds in BARE_SERVICE_DELAY.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from engram_diagnose.history.records import Accepted, Counts
from engram_diagnose.service.app import create_app
from engram_diagnose.service.listening import bound_socket, bounds_of, log_through, server_of
from engram_diagnose.service.log import Log
from engram_diagnose.service.metrics import Metrics, Running
from engram_diagnose.service.reading import read_settings
from engram_diagnose.service.services import Services

DELAY = float(os.environ.get("BARE_SERVICE_DELAY", "0"))


class Nothing:
    """Every part of the service: it takes what it is given."""

    state = None

    def keep(self, notification: Any, received: float) -> asyncio.Future[Accepted]:
        """Say that it was written."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Accepted] = loop.create_future()
        accepted = Accepted(("incident",), len(notification.alerts), 0, 1)
        if DELAY:
            loop.call_later(DELAY, future.set_result, accepted)
        else:
            future.set_result(accepted)
        return future

    def wake(self) -> None:
        """Sleep on."""

    def counts(self) -> Counts:
        """Nothing is there."""
        return Counts()

    def open_findings(self) -> tuple[()]:
        """Nothing was found."""
        return ()

    def is_current(self) -> bool:
        """Nothing never changes."""
        return True

    def close(self) -> None:
        """Nothing is open."""


async def main() -> None:
    """Serve until SIGTERM."""
    settings, log, part = read_settings(Path(sys.argv[1])), Log(), Nothing()
    log_through(log)
    listener, bounds = bound_socket(settings), bounds_of(settings)
    services = Services(
        settings, part, Nothing, part, part, part, time.time, log, Metrics(), running=lambda: Running(bounds.open)  # type: ignore[arg-type]
    )  # fmt: skip
    bounds.cut = lambda reason: services.metrics.cut.labels(reason).inc()
    server = server_of(
        create_app(services, [Route("/large", lambda _: Response(bytes(1 << 26)))]), settings, listener, bounds
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
    serving = asyncio.create_task(server.serve())
    await server.up.wait()
    print(listener.getsockname()[1], flush=True)
    await serving


if __name__ == "__main__":
    if os.environ.get("BARE_SERVICE_LOOP") == "asyncio":
        asyncio.run(main())
    else:
        import uvloop

        uvloop.run(main())
