"""Write the TPC-H tables of scale factor 1 as parquet; needs duckdb 1.5.5 with the package duckdb-extension-tpch (see tpch.py)."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import duckdb

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
extension = next(Path(str(files("duckdb_extension_tpch"))).rglob("tpch.duckdb_extension"))
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
connection.execute(f"LOAD '{extension}'")
connection.execute("CALL dbgen(sf=1)")
for table in ("customer", "orders", "lineitem"):
    connection.execute(f"COPY {table} TO '{folder / table}.parquet'")
