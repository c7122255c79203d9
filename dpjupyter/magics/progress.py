"""The line that shows while a query runs: stage and elapsed time, gone when the answer comes."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from dpjupyter.wire import Progress

STAGES = {"queued": "waiting for a free worker", "running": "running", "finishing": "finishing"}


class ProgressLine:
    """Shows progress lines of the gateway; they come only for questions that take longer than half a second."""

    def __init__(self, *, in_kernel: bool, enabled: bool) -> None:
        """Choose where to write; nothing is shown yet."""
        self._in_kernel = in_kernel
        self._enabled = enabled and (in_kernel or sys.stderr.isatty())
        self._handle: Any = None
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._shown:
            return
        if self._in_kernel:
            from IPython.display import clear_output  # noqa: PLC0415 - the kernel has it

            clear_output(wait=True)  # replaced by the answer or the error, without a flicker
        else:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def show(self, progress: Progress) -> None:
        """Show one progress line in place of the one before."""
        if not self._enabled:
            return
        self._shown = True
        text = f"{progress.waits or STAGES.get(progress.stage, progress.stage)} · {progress.elapsed_s:.1f} s · interrupt to cancel"
        if not self._in_kernel:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
            return
        from IPython.display import display  # noqa: PLC0415 - the kernel has it

        bundle = {"text/plain": text}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
