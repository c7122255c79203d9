"""The job that brings budgets back at the end of their cycle.

The job only says "now would be a good time": which rows are due is decided by the ledger's database, by its clock, in
one conditional UPDATE. Running it twice, late, or on many servers at once changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.tornado import TornadoScheduler
from apscheduler.triggers.cron import CronTrigger

from dpjupyter.errors import DpError, PolicyError

MISFIRE_GRACE_S = 6 * 3600  # a run missed while the host slept is made up for
RETRY = timedelta(minutes=5)  # after a failed run: the next one on the schedule may be a day away


class Recovery:
    """Runs ``recover`` at the start and then on a cron schedule."""

    def __init__(self, recover: Callable[[], int], *, schedule: str, jitter_s: int, log: logging.Logger) -> None:
        """``recover`` returns how many rows came back; ``schedule`` has cron's five fields, in UTC.

        Raises: PolicyError: the schedule cannot be read.
        """
        try:
            self._trigger = CronTrigger.from_crontab(schedule, timezone=UTC)
        except ValueError as error:
            raise PolicyError(
                f"recovery schedule {schedule!r} cannot be read: {error}", hint='Five fields as in cron, e.g. "0 0 * * *".'
            ) from None
        # Replicas that start at the same second would otherwise all ask the database at once.
        self._trigger.jitter = jitter_s or None
        self._recover = recover
        self._log = log
        self._scheduler: BaseScheduler | None = None

    def start(self, scheduler: BaseScheduler | None = None) -> None:
        """Schedule the job on the running event loop; the first run is now."""
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler = scheduler or TornadoScheduler(timezone=UTC)
        self._scheduler.add_job(
            self.run,
            self._trigger,
            id="recover",
            misfire_grace_time=MISFIRE_GRACE_S,
            coalesce=True,
            max_instances=1,
            next_run_time=datetime.now(UTC),
        )
        self._scheduler.start()

    def run(self) -> int:
        """Recover what is due; a failure is logged and made up for by the next run.

        Returns: how many rows came back.
        """
        try:
            rows = self._recover()
        except DpError as error:
            self._log.warning("stage=recovery verdict=failed reason=%s", error.kind)
            if self._scheduler is not None and self._scheduler.running:
                self._scheduler.add_job(self.run, "date", run_date=datetime.now(UTC) + RETRY, id="recover-retry", replace_existing=True)
            return 0
        self._log.info("stage=recovery verdict=done rows=%d", rows)
        return rows

    def stop(self) -> None:
        """Schedule nothing more."""
        if self._scheduler is not None and self._scheduler.running:
            self._scheduler.shutdown(wait=False)
