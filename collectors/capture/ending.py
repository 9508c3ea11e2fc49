"""Being ended from outside: what ends a lost session cleans up like Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal


def end_like_interrupted() -> None:
    """
    From now on SIGTERM and SIGHUP raise `KeyboardInterrupt`, which ends programs and removes files on its way.

    Who handles or ignores them already goes on doing so; beside the main thread nothing changes.
    """
    with contextlib.suppress(ValueError):  # not the main thread
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _interrupted)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
