"""The policy under test, and a gateway as a child process."""

from __future__ import annotations

PEOPLE_POLICY = """\
[database]
prefix = "{prefix}"
name = "{name}"
backend = "duckdb:///{warehouse}"
unit_entity = "person"

[limits]
time_grid_ms = 0
max_epsilon = 5.0

[total]
total_budget = 100.0

[analysts]
total_budget = 50.0

[tables.people]
unit = "person_id"
keys = [["person_id"]]
total_budget = 60.0
key_delta = 1e-8

[tables.people.columns]
person_id = {{ type = "INTEGER", nullable = false }}
age = {{ type = "INTEGER", nullable = false, bounds = [0, 120] }}
city = {{ type = "VARCHAR", nullable = false, domain = ["Basel", "Bern", "Genf"] }}
income = {{ type = "DOUBLE", bounds = [0, 100000] }}

[tables.visits]
unit = "person_id"
keys = [["visit_id"]]
max_rows = 5
max_groups = 5
total_budget = 2.0

[tables.visits.columns]
visit_id = {{ type = "INTEGER", nullable = false }}
person_id = {{ type = "INTEGER", nullable = false }}
day = {{ type = "DATE", nullable = false, bounds = ["2024-01-01", "2024-12-31"] }}
cost = {{ type = "DECIMAL(8,2)", bounds = [0, 500] }}
"""
