"""Where blocking work happens: a bounded pool that refuses rather than queues without end.

The event loop never runs SQL, draws noise or waits for the ledger.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dpjupyter.errors import Busy

T = TypeVar("T")
PRICES = 2  # threads that plan and price: planning holds Python's lock, more would not be faster
PRICES_WAITING = 64


class Workers:
    """Threads for questions, for prices and for reads, and bounds on how many may wait for one.

    Questions may take minutes in the warehouse, prices seconds of planning: budgets and tokens must be read meanwhile.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        """``threads`` questions run at once, ``waiting`` more are kept; the next one is refused."""
        self._questions = _Bounded(threads, waiting, "question")
        self._prices = _Bounded(PRICES, PRICES_WAITING, "price")
        self._reads = ThreadPoolExecutor(8, thread_name_prefix="dpjupyter-read")

    @property
    def taken(self) -> int:
        """Questions that run or wait now."""
        return self._questions.taken

    def ask(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run a question in a worker.

        Raises: Busy: every worker and every place in the queue is taken.
        """
        return self._questions.submit(work)

    def price(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Compute a price.

        Raises: Busy: likewise.
        """
        return self._prices.submit(work)

    async def read(self, work: Callable[[], T]) -> T:
        """Run a short piece of blocking work: a read of the ledger, a price."""
        return await asyncio.get_running_loop().run_in_executor(self._reads, work)

    def close(self) -> None:
        """Take no more work; what runs is finished by its own time limits."""
        self._questions.close()
        self._prices.close()
        self._reads.shutdown(wait=False, cancel_futures=True)


class _Bounded:
    """A pool that refuses rather than queues without end."""

    def __init__(self, threads: int, waiting: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"dpjupyter-{name}")
        self._most = threads + waiting
        self._lock = threading.Lock()
        self.taken = 0

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        with self._lock:
            if self.taken >= self._most:
                raise Busy("all workers of this gateway are taken", hint="Ask again in a moment.")
            self.taken += 1
        try:
            future = self._pool.submit(work)
        except RuntimeError:  # shutting down
            self._give_back()
            raise Busy("this gateway is shutting down", hint="Ask again in a moment.") from None
        # The place is free when the thread is, not when the caller stops waiting.
        future.add_done_callback(lambda _: self._give_back())
        return asyncio.wrap_future(future)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _give_back(self) -> None:
        with self._lock:
            self.taken -= 1
