"""Schema versions of the ledger, oldest first, in ``versions``. A shipped version is never edited; add one."""
