"""
Being stopped by hand: the first Ctrl-C ends the load and keeps what there is, the second ends cleaning up as well.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """
    While this context is open, Ctrl-C and a polite kill set `event`; a further one raises `KeyboardInterrupt`.

    `on_first` is called at the first, in the signal's handler. Beside the main thread nothing changes.
    Under nohup the end of the terminal stays ignored.
    """

    def __init__(self, on_first: Callable[[], None] = lambda: None) -> None:
        self.event = threading.Event()
        self._on_first = on_first
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            hung_up = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            heard = [one for one in _SIGNALS if one is not signal.SIGHUP or not hung_up]
            self._before = {number: signal.signal(number, self._stop) for number in heard}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.event.is_set():
            raise KeyboardInterrupt
        self.event.set()
        self._on_first()
