"""What an analyst is told of a statement's progress: that its warehouse has not begun, and nothing else.

Whether a warehouse is suspended does not depend on data. How long a statement runs does, and so does when one ends and the
next begins: these are not told.
"""

from __future__ import annotations

from collections.abc import Callable

WAITING = "waiting for the warehouse"  # queued, or the warehouse is resuming
RUNNING = "running"


class Waits:
    """Passes on WAITING and, after it, RUNNING once; whatever a backend says later is kept back."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        """``progress`` is told at most two texts, in the thread that calls."""
        self._progress = progress
        self._waiting = False
        self._begun = False

    def tell(self, text: str) -> None:
        """A backend's progress text."""
        if self._begun:
            return
        if text == WAITING and not self._waiting:
            self._waiting = True
            self._progress(WAITING)
        elif text != WAITING and self._waiting:
            self.begun()

    def begun(self) -> None:
        """The first statement runs, or has ended: from here on nothing more is told."""
        if self._waiting and not self._begun:
            self._progress(RUNNING)
        self._begun = True
