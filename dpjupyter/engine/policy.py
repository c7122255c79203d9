"""The owner's policy: which tables exist, whom their rows belong to, what is public about them.

A policy is a TOML file. :func:`load` reads it, :class:`Policy` is what the engine works with.
Everything an analyst learns without paying (names, types, bounds, domains, prices) comes from here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from dpjupyter.engine.declared import ORDERED, Declared, Scalar, belongs, comparable
from dpjupyter.engine.model import Kind, SqlType
from dpjupyter.errors import PolicyError

Strategy = Literal["reject", "allow"]

RELEASED_NAME = re.compile(r"(?:[mp]|saved)[0-9]+")  # tables of the finishing query: never a table of a policy
SAVED_SCHEMA = "saved"  # saved.NAME is a released table that the analyst kept
MAX_BINS = 256  # of one column of a synthetic twin
MAX_TOTAL_BUDGET = 9_000_000.0  # the integer gate of the ledger is in 1e-12 of this in 64 bits


def _no_bool(value: Any) -> Any:
    # TOML booleans would pass as numbers; a budget of `true` is a typing mistake.
    if isinstance(value, bool):
        raise ValueError("must be a number, not a boolean")
    return value


Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Budget(_Strict):
    """What one budget row may spend in one cycle."""

    total_budget: Number = Field(default=10000.0, gt=0, le=MAX_TOTAL_BUDGET)
    delta: Number = Field(default=1e-6, gt=0, lt=1)
    slack: Number | None = Field(default=None, gt=0, lt=1, description="default: delta / 2")
    recover_cycle: int = Field(default=30, ge=1, le=36500, description="days between two recoveries")
    exhausted_strategy: Strategy = "reject"

    @model_validator(mode="after")
    def _slack_below_delta(self) -> Self:
        if self.slack is not None and self.slack > self.delta:
            raise ValueError("slack must not exceed delta")
        return self

    @property
    def slack_or_default(self) -> float:
        """Failure probability reserved for the rho branch of the filter."""
        return self.delta / 2 if self.slack is None else self.slack


class Column(_Strict):
    """What is public about one column."""

    type: str
    bounds: tuple[Declared, Declared] | None = Field(default=None, description="closed interval of the values")
    domain: tuple[Declared, ...] | None = Field(default=None, description="every value that may occur, NULL aside")
    nullable: bool = True
    bins: int | tuple[Declared, ...] | None = Field(
        default=None, description="synthetic twin: number of equal ranges the bounds are cut into, or the cuts between them"
    )
    description: str = ""

    @field_validator("domain")
    @classmethod
    def _digits(cls, domain: tuple[Scalar, ...] | None, info: ValidationInfo) -> tuple[Scalar, ...] | None:
        # Codes such as 1..7 are often kept as text; the warehouse then holds '1', not 1.
        if domain is None or not str(info.data.get("type", "")).upper().startswith(("VARCHAR", "TEXT", "STRING", "CHAR")):
            return domain
        return tuple(str(value) if isinstance(value, int) and not isinstance(value, bool) else value for value in domain)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        kind = self.sql_type.kind  # raises on an unknown type
        if self.bounds is not None:
            if kind not in ORDERED:
                raise ValueError(f"bounds on a column of type {self.type}: only numbers, dates and timestamps have them")
            low, high = (comparable(bound, kind, self.type) for bound in self.bounds)
            if low > high:  # type: ignore[operator]
                raise ValueError(f"lower bound {self.bounds[0]} is above upper bound {self.bounds[1]}")
        if self.domain is not None:
            if not self.domain:
                raise ValueError("domain is empty")
            if len(set(self.domain)) != len(self.domain):
                raise ValueError("domain holds a value twice")
            for value in self.domain:
                belongs(value, kind, self.type)
                if self.bounds is not None and not low <= comparable(value, kind, self.type) <= high:  # type: ignore[operator]
                    raise ValueError(f"domain value {value!r} is outside the bounds")
        self._check_bins(kind)
        return self

    def _check_bins(self, kind: Kind) -> None:
        if self.bins is None:
            return
        if self.bounds is None:
            raise ValueError("bins need bounds: they cut them into ranges")
        if isinstance(self.bins, int):
            if not 1 <= self.bins <= MAX_BINS:
                raise ValueError(f"bins must be 1 to {MAX_BINS}")
            return
        cuts = [comparable(cut, kind, self.type) for cut in (self.bounds[0], *self.bins, self.bounds[1])]
        if len(cuts) > MAX_BINS or any(a >= b for a, b in zip(cuts, cuts[1:])):  # type: ignore[operator]  # noqa: B905, RUF007
            raise ValueError(f"the cuts of bins must ascend between the bounds, and be fewer than {MAX_BINS}")

    @property
    def sql_type(self) -> SqlType:
        """The column's type, parsed."""
        return SqlType.parse(self.type)


class Step(_Strict):
    """One hop of a foreign-key path: ``column`` of this table is ``ref_column`` of ``ref_table``."""

    column: str
    ref_table: str
    ref_column: str


class Unit(_Strict):
    """How a row names its privacy unit: itself, a column, or a path of foreign keys ending in a column."""

    kind: Literal["row", "column", "path"]
    column: str = ""
    path: tuple[Step, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Read ``row``, ``customer_id`` or ``order_id -> orders.order_id -> customer_id``.

        Raises: ValueError: the text has another form.
        """
        parts = [part.strip() for part in text.split("->")]
        if not all(parts):
            raise ValueError(f"unit {text!r} has an empty part")
        if parts == ["row"]:
            return cls(kind="row")
        if len(parts) == 1:
            return cls(kind="column", column=parts[0])
        if len(parts) % 2 == 0:
            # `a -> t.b` ends in the referenced key itself: that column is the unit.
            parts.append(parts[-1].rpartition(".")[2])
        steps: list[Step] = []
        for here, there in zip(parts[:-1:2], parts[1::2], strict=True):
            table, dot, column = there.rpartition(".")
            if not dot:
                raise ValueError(f"{there!r} in unit {text!r} must be table.column")
            steps.append(Step(column=here, ref_table=table, ref_column=column))
        if parts[-1] == steps[-1].ref_column:
            # The last key is the unit: its value is already in the referencing column.
            last = steps.pop()
            if not steps:
                return cls(kind="column", column=last.column)
            return cls(kind="path", path=tuple(steps), column=last.column)
        return cls(kind="path", path=tuple(steps), column=parts[-1])

    def __str__(self) -> str:
        if self.kind == "path":
            return " -> ".join([*(f"{s.column} -> {s.ref_table}.{s.ref_column}" for s in self.path), self.column])
        return self.column or "row"


def _or_false(schema: dict[str, Any]) -> None:
    """TOML has no null: `total = false` says that there is no such row."""
    schema["anyOf"] = [*schema["anyOf"], {"const": False}]


def _unit(value: Any) -> Any:
    return Unit.parse(value) if isinstance(value, str) else value


class Table(Budget):
    """One table: private (with a unit and a budget) or public."""

    private: bool = True
    unit: Annotated[Unit, BeforeValidator(_unit), WithJsonSchema({"type": "string"})] | None = Field(
        default=None, description="row | column | key -> table.key -> column"
    )
    source: str = Field(default="", description="name in the warehouse, if not the table's name here")
    columns: dict[str, Column] = Field(min_length=1)
    keys: tuple[tuple[str, ...], ...] = Field(default=(), description="column sets that are unique")
    enforced_keys: bool = Field(default=False, description="the warehouse itself enforces `keys`")
    rows: int | None = Field(default=None, ge=0, description="public tables: most rows it may have")
    max_rows: int = Field(default=1, ge=1, le=2**31, description="rows of one unit counted in one group")
    max_groups: int = Field(default=1, ge=1, le=2**31, description="groups one unit is counted in")
    min_units: int = Field(default=1, ge=1, description="open keys: groups of fewer units stay hidden")
    key_delta: Number | None = Field(default=None, gt=0, lt=1, description="delta of one release of open keys")
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.private and self.unit is None:
            raise ValueError("a private table needs `unit`: row, a column, or a path of foreign keys")
        if not self.private and self.unit is not None:
            raise ValueError("a public table has no `unit`")
        if self.key_delta is not None and self.key_delta >= self.delta:
            raise ValueError(f"key_delta {self.key_delta:g} must be below delta {self.delta:g}: it is paid at every release of open keys")
        for key in self.keys:
            for name in key:
                if name not in self.columns:
                    raise ValueError(f"key column {name!r} is not among the columns")
        if self.unit is not None and self.unit.kind != "row":
            first = self.unit.path[0].column if self.unit.path else self.unit.column
            if first not in self.columns:
                raise ValueError(f"unit column {first!r} is not among the columns")
        if len({name.casefold() for name in self.columns}) != len(self.columns):
            raise ValueError("two column names differ only in case")
        return self


class Database(_Strict):
    """Where the tables live."""

    prefix: str = Field(min_length=1, description="host of the database, first part of every budget row's name")
    name: str = Field(min_length=1)
    backend: str = Field(description="URL of the warehouse: duckdb:///file, snowflake://connection")
    data_version: str = Field(default="1", description="change it when the data changes: filed answers expire")
    unit_entity: str = Field(default="person", description="what one privacy unit is, in words")


class Limits(_Strict):
    """What an analyst may ask for."""

    default_epsilon: Number = Field(default=0.9, gt=0)
    default_delta: Number = Field(default=1e-8, gt=0, lt=1)
    default_mechanism: Literal["laplace", "gauss"] = "laplace"
    min_epsilon: Number = Field(default=1e-3, ge=1e-6)
    max_epsilon: Number = Field(default=10.0, le=100.0)
    max_failures: int = Field(default=20, ge=1, description="charged failures per analyst and cycle")
    time_grid_ms: int = Field(default=250, ge=0, le=60_000, description="replies leave on multiples of this; 0 = off")
    domain_cap: int = Field(default=10_000, ge=1, le=1_000_000, description="largest product of key domains")
    public_row_cap: int = Field(default=10_000, ge=1, description="public tables up to this size may be cross joined or fetched")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_epsilon <= self.default_epsilon <= self.max_epsilon:
            raise ValueError("default_epsilon must lie within [min_epsilon, max_epsilon]")
        return self


class Policy(_Strict):
    """One database's policy. Frozen; its checksum names exactly what analysts were told."""

    database: Database
    limits: Limits = Limits()
    total: Budget | None = Field(
        default=Budget(),
        description="the database-wide row '*'; false for none",
        json_schema_extra=_or_false,
    )
    analysts: Budget = Field(default=Budget(), description="default quota of an analyst, per budget row")
    tables: dict[str, Table] = Field(min_length=1)
    _checksum: str = PrivateAttr(default="")

    @model_validator(mode="before")
    @classmethod
    def _total_off(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("total") is False:
            return {**data, "total": None}
        return data

    @model_validator(mode="after")
    def _tables_fit(self) -> Self:
        if "*" in self.tables:
            raise ValueError("tables: '*' is the name of the database-wide budget row")
        if len({name.casefold() for name in self.tables}) != len(self.tables):
            raise ValueError("tables: two names differ only in case")
        reserved = [name for name in self.tables if RELEASED_NAME.fullmatch(name.casefold())]
        if reserved:
            raise ValueError(f"tables: {reserved[0]!r} is a name released tables have while a query is finished")
        kept = [name for name in self.tables if name.casefold().split(".")[-2:-1] == [SAVED_SCHEMA]]
        if kept:
            raise ValueError(
                f"tables: {kept[0]!r}: the schema {SAVED_SCHEMA!r} holds analysts' saved tables; give it another name and `source`"
            )
        for name, table in self.tables.items():
            if table.unit is None or table.unit.kind == "row":
                continue
            here, unit = table, table.unit
            for step in unit.path:
                if step.column not in here.columns:
                    raise ValueError(f"tables.{name}.unit: no column {step.column!r}")
                there = self.tables.get(step.ref_table)
                if there is None:
                    raise ValueError(f"tables.{name}.unit: no table {step.ref_table!r}")
                if step.ref_column not in there.columns:
                    raise ValueError(f"tables.{name}.unit: no column {step.ref_column!r} in {step.ref_table}")
                ends = here.columns[step.column].sql_type, there.columns[step.ref_column].sql_type
                if (ends[0].kind, ends[0].scale) != (ends[1].kind, ends[1].scale):
                    there_name = f"{step.ref_table}.{step.ref_column}"
                    raise ValueError(f"tables.{name}.unit: {step.column} is {ends[0].text}, {there_name} is {ends[1].text}")
                if not there.private:
                    raise ValueError(f"tables.{name}.unit: path runs through the public table {step.ref_table}")
                here = there
            if unit.column not in here.columns:
                raise ValueError(f"tables.{name}.unit: no column {unit.column!r} at the end of the path")
        return self

    def keys_hold(self, table: str) -> bool:
        """Whether a table's declared keys are facts: the owner says that the warehouse enforces them, and it is one that does.

        Snowflake takes primary keys down and does not enforce them.
        """
        return self.tables[table].enforced_keys and self.dialect != "snowflake"

    @property
    def dialect(self) -> str:
        """The sqlglot dialect of the backend, which analysts write in."""
        return self.database.backend.partition(":")[0]

    @property
    def checksum(self) -> str:
        """sha256 of the canonical form, as hex; the backend's URL is not part of it."""
        if not self._checksum:
            data = self.model_dump(mode="json")
            data["database"]["backend"] = self.dialect
            for table in data["tables"].values():
                for column in table["columns"].values():
                    if column["bins"] is None:
                        del column["bins"]  # a field younger than the first policies leaves their checksums as they were
            text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
            self._checksum = hashlib.sha256(text.encode()).hexdigest()
        return self._checksum


def parse(text: str, where: str = "policy") -> Policy:
    """Read a policy from TOML text.

    Raises: PolicyError: with file, line and key of everything that is wrong.
    """
    try:
        return Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{where}: not valid TOML: {error}") from None
    except ValidationError as error:
        told = [_told(text, where, mistake["loc"], mistake["type"], mistake["msg"]) for mistake in error.errors()]
        raise PolicyError("\n".join(told)) from None


def load(path: Path) -> Policy:
    """Read a policy file; see :func:`parse`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path.name}: cannot be read ({type(error).__name__})") from None
    return parse(text, path.name)


def schema() -> dict[str, Any]:
    """JSON Schema of policy files, for editors."""
    return Policy.model_json_schema()


_PATH = re.compile(r"(tables(?:\.\w+)*): ")  # a mistake found between tables says itself where it is
_PARTS: dict[str, type[BaseModel]] = {"database": Database, "limits": Limits, "total": Budget, "analysts": Budget}


def _told(text: str, where: str, loc: tuple[int | str, ...], kind: str, message: str) -> str:
    """One mistake as ``file:line: key: what is wrong``."""
    reason = message.removeprefix("Value error, ")
    found = _PATH.match(reason)
    if not loc and found is not None:
        loc, reason = tuple(found[1].split(".")), reason[found.end() :]
    if kind == "extra_forbidden":
        reason = "unknown key"
        near = difflib.get_close_matches(str(loc[-1]), _known(loc[:-1]), n=1)
        reason += f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(_known(loc[:-1]))}"
    elif kind == "missing":
        reason = "is missing"
    return f"{where}:{_line(text, loc)}: {'.'.join(map(str, loc)) or 'policy'}: {reason}"


def _known(loc: tuple[int | str, ...]) -> list[str]:
    """Keys that may stand at a place of the file."""
    match loc:
        case ():
            part: type[BaseModel] = Policy
        case ("tables", _):
            part = Table
        case ("tables", _, "columns", _):
            part = Column
        case (str(name),) if name in _PARTS:
            part = _PARTS[name]
        case _:
            return []
    return list(part.model_fields)


def _line(text: str, loc: tuple[int | str, ...]) -> int:
    """Best guess of the line a key stands on: the deepest part of its path that is found in order."""
    lines = text.splitlines()
    found = 1
    for part in loc:
        if not isinstance(part, str):
            continue
        pattern = re.compile(rf"(^\s*|[\[.\"'{{,]\s*){re.escape(part)}[\"']?\s*(\]|=|\.)")
        hit = next((n for n in range(found - 1, len(lines)) if pattern.search(lines[n])), None)
        if hit is not None:
            found = hit + 1
    return found
