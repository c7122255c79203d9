"""Stop a running statement when it is cancelled or its time is up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

STEP_S = 0.02  # how often the cancelled event is looked at; an Event cannot be waited on together with another one


class Watch:
    """While the block runs, calls ``stop`` once ``cancelled`` or ``closed`` is set or the time is up.

    ``stop`` is called again and again until the block ends (a driver may ignore an interrupt that arrives before
    the statement has started), and never after the block has ended: the connection may then serve someone else.
    """

    def __init__(self, stop: Callable[[], None], cancelled: threading.Event, closed: threading.Event, timeout_s: float) -> None:
        self._stop = stop
        self._closed = closed
        self._cancelled = cancelled
        self._deadline = time.monotonic() + timeout_s
        self._lock = threading.Lock()
        self._ended = False
        self.reason: str | None = None  # why it was stopped: "cancelled", "connection" or "timeout"

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, name="dpjupyter-watch", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._ended = True

    def _run(self) -> None:
        while True:
            left = self._deadline - time.monotonic()
            cancelled = self._cancelled.wait(max(0.0, min(STEP_S, left)))
            with self._lock:
                if self._ended:
                    return
                if cancelled:
                    self.reason = "cancelled"
                elif self._closed.is_set():
                    self.reason = "connection"
                elif left <= 0:
                    self.reason = "timeout"
                else:
                    continue
                self._stop()
            time.sleep(STEP_S)
