"""Open warehouses, by URL: opened when first needed, closed when no policy names them any more."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dpjupyter.engine.backends import Backend
from dpjupyter.errors import DpError, WarehouseUnavailable


class Warehouses:
    """Connection pools. Thread-safe."""

    def __init__(self, open_backend: Callable[[str], Backend]) -> None:
        """``open_backend`` connects; it raises PolicyError when it cannot."""
        self._open = open_backend
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self._backends: dict[str, Backend] = {}

    def get(self, url: str) -> Backend:
        """The pool of one warehouse.

        Raises: WarehouseUnavailable: it cannot be opened; nothing has been charged. Its text names no host and no file.
        """
        with self._lock:
            found = self._backends.get(url)
            turn = self._opening.setdefault(url, threading.Lock())
        if found is not None:
            return found
        with turn:  # one thread opens, the others wait for it; other warehouses are not held up
            with self._lock:
                found = self._backends.get(url)
            if found is not None:
                return found
            try:
                backend = self._open(url)
            except DpError:
                raise WarehouseUnavailable("the warehouse of this database cannot be reached; nothing was charged") from None
            with self._lock:
                self._backends[url] = backend
            return backend

    def keep(self, urls: set[str]) -> None:
        """Close every pool that is not among ``urls``; a statement that still runs there fails like a lost connection."""
        with self._lock:
            gone = {url: self._backends.pop(url) for url in set(self._backends) - urls}
        for backend in gone.values():
            backend.close()

    def close(self) -> None:
        """Close all pools."""
        self.keep(set())
