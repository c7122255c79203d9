"""Routes and the records that cross HTTP. Both sides import this and nothing else of each other.

Every reply is ``{"status": {"code", "Message", "data"?, "error"?}}``; ``code`` is 200 or 1.
openapi.json and the TypeScript types of the JupyterLab extension are generated from here.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

API = "/api/v1"
QUERY = f"{API}/query"
QUOTE = f"{API}/quote"
BUDGET_SET = f"{API}/budget/set"
BUDGET_GET = f"{API}/budget/get"
BUDGET_LIST = f"{API}/budget/list"
CATALOG = f"{API}/catalog"
AUDIT = f"{API}/audit"
SUSPEND = f"{API}/suspend"
TWIN = f"{API}/twin"
TWIN_QUOTE = f"{API}/twin/quote"
TWIN_PUBLISH = f"{API}/twin/publish"
TWIN_RETIRE = f"{API}/twin/retire"
RELOAD = f"{API}/reload"
ME = f"{API}/me"
HEALTH = f"{API}/health"
SAVED = f"{API}/saved"
OPENAPI = f"{API}/openapi.json"
METRICS = "/metrics"

SUCCEEDED = 200  # status.code; 1 is any error

MAX_TOTAL_BUDGET = 9_000_000.0
Value = bool | int | float | str | None


def _number(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("must be a finite number")
    return value


Number = Annotated[float, BeforeValidator(_number)]
Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


# ---------------------------------------------------------------- asking
class QueryOption(_Record):
    """How to answer."""

    skip_cache: bool = False  # the requirement writes 1
    with_column_type: bool = True


class DbConfig(_Record):
    """Which database is asked. Credentials are refused: they belong to the gateway."""

    reader: str | None = None  # backend kind: duckdb, snowflake
    prefix: str | None = None
    psm: str | None = None  # other names of prefix
    host: str | None = None
    database: Name
    sha256sum: str | None = None
    queryOption: QueryOption = QueryOption()  # noqa: N815 - the requirement's name

    @model_validator(mode="after")
    def _one_prefix(self) -> DbConfig:
        given = {name for name in (self.prefix, self.psm, self.host) if name}
        if len(given) > 1:
            raise ValueError("psm, host and prefix name different databases")
        return self

    @property
    def prefix_given(self) -> str | None:
        """The prefix under whichever name it came."""
        return self.prefix or self.psm or self.host


class BudgetSetting(_Record):
    """Privacy budget of EACH answer."""

    epsilon: Number | None = None
    delt: Number | None = None
    answers: dict[str, dict[Literal["epsilon"], Number]] = {}  # output column -> its own epsilon


class DpConfig(_Record):
    """Mechanism and budget."""

    dp_method: Literal["Laplace", "Gauss"] | None = None
    budget_setting: BudgetSetting = BudgetSetting()
    max_rows: int | None = Field(default=None, ge=1)
    max_groups: int | None = Field(default=None, ge=1)


class QueryConfig(_Record):
    """traceid is the request id: a retry with the same id gets the same answer."""

    traceid: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:\-]+$")] | None = None
    timeout_s: Number | None = Field(default=None, gt=0)
    parameters: dict[str, Value] = {}  # values of :name placeholders
    save_as: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] | None = None  # keep the released table as saved.NAME
    synthetic: bool = False  # run on the published twin: free
    rehearse: int | None = Field(default=None, ge=1, le=1000)  # run the whole road this many times on the twin: free


class Extra(_Record):
    """Debugging."""

    debug: bool = False


class QueryRequest(_Record):
    """Body of POST /query and POST /quote: the requirement's whole key."""

    sql: str = Field(min_length=1, max_length=100_000)
    dbconfig: DbConfig
    queryconfig: QueryConfig = QueryConfig()
    dpconfig: DpConfig = DpConfig()
    extra: Extra = Extra()


class BudgetSetRequest(_Record):
    """Body of POST /budget/set. null means left out."""

    prefix: Name
    db_name: Name
    table_name: Name
    total_budget: Number | None = Field(default=None, gt=0, le=MAX_TOTAL_BUDGET)
    recover_cycle: Annotated[int, Field(ge=1, strict=True)] | None = None
    exhausted_strategy: Literal["reject", "allow"] | None = None
    analyst: Name | None = None


# ---------------------------------------------------------------- replies
class ErrorInfo(_Record):
    """status.error."""

    type: str
    hint: str = ""
    request_id: str = ""
    line: int | None = None
    column: int | None = None
    length: int | None = None


class BudgetInfo(_Record):
    """The requirement's seventeen columns in table order, residual_budget after total_budget."""

    prefix: str
    db_name: str
    table_name: str
    total_budget: float
    residual_budget: float
    consumed_budget: float
    recover_cycle: int
    exhausted_strategy: str
    create_time: str
    last_update_time: str
    last_recover_time: str
    slack: float
    num_dpcall: int
    sum_eps: float
    sum_del: float
    sum_sq_eps: float
    sum_exp_eps: float
    prod_del: float


class BudgetRow(BudgetInfo):
    """A row of /budget/list: with our own columns."""

    analyst: str | None = None
    delta: float = 0.0
    next_recover_time: str = ""
    lifetime_epsilon: float = 0.0  # all cycles together
    unmetered_answers: int = 0
    suspended: bool = False


class BudgetListReply(_Record):
    """status.data of GET /budget/list: the rows the caller may see; analysts see shared rows and their own."""

    budgets: list[BudgetRow]


class CellInterval(_Record):
    """lower..upper at one confidence."""

    lower: float
    upper: float


class ColumnUtility(_Record):
    """How exact a column is."""

    name: str
    mechanism: str = ""
    scale: float | None = None  # in the column's unit
    epsilon: float | None = None
    half_width: dict[str, float] = {}  # expected, by confidence: "0.95" -> plus or minus
    derived: bool = False


class TablePrice(_Record):
    """What a query costs one budget row."""

    table: str
    analyst: str | None = None
    epsilon: float
    delta: float
    before: float | None = None  # residual before
    after: float | None = None
    affordable: bool = True
    unmetered: bool = False


class AnswerPrice(_Record):
    """What one answer costs."""

    label: str
    columns: list[str] = []
    epsilon: float
    delta: float
    mechanism: str


class Privacy(_Record):
    """dp_info.privacy."""

    epsilon: float  # of the whole query, basic composition
    rho: float
    delta: float
    answers: list[AnswerPrice] = []
    tables: list[TablePrice] = []


class QuoteReply(_Record):
    """status.data of POST /quote."""

    privacy: Privacy
    utility: list[ColumnUtility]
    affordable: bool
    notes: list[str] = []
    columns: list[dict[str, str]] = []  # [{Name, Type}]
    checksum: str
    cached: bool = False  # the same question has been answered in this cycle: free


class ColumnRehearsal(_Record):
    """How far a column's private numbers strayed from what the question asks of the twin, over all rows and runs."""

    name: str
    median_error: float | None = None
    p95_error: float | None = None
    bias: float | None = None  # mean of the signed errors: what clamping and limits of contribution take away
    row_p95: list[float | None] = []  # per row


class Rehearsal(_Record):
    """dp_info.rehearsal: the private question run several times on the synthetic twin."""

    runs: int
    epsilon: float  # what asking for real costs
    columns: list[ColumnRehearsal]
    shown: list[float]  # per row: share of the runs in which it was shown at all


class DpInfo(_Record):
    """Data.dp_info of POST /query."""

    privacy: Privacy
    utility: list[ColumnUtility]
    intervals: dict[str, dict[str, list[list[float] | None]]] = {}  # confidence -> column -> row -> [lower, upper]
    balance: dict[str, float] = {}  # residual per table row, the asking analyst's view
    receipt: dict[str, Any] = {}  # request_id, time, debited, unmetered
    notes: list[str] = []
    cached: bool = False
    unmetered: bool = False
    kind: Literal["private", "public", "synthetic"] = "private"
    rehearsal: Rehearsal | None = None


class QueryReply(_Record):
    """status.data of POST /query."""

    Meta: list[dict[str, str]] | None = None  # [{Name, Type}]
    Data: dict[str, list[Value]]  # column -> values; column names made unique as name, name_1, ...
    dp_info: DpInfo
    debug: dict[str, Any] | None = None


class CatalogColumn(_Record):
    """A declared column."""

    name: str
    type: str
    nullable: bool
    bounds: tuple[Value, Value] | None = None
    domain: list[Value] | None = None
    description: str = ""


class CatalogTable(_Record):
    """A declared table."""

    name: str
    private: bool
    unit: str | None = None
    columns: list[CatalogColumn]
    keys: list[list[str]] = []
    max_rows: int = 1
    max_groups: int = 1
    min_units: int = 1
    open_keys: bool = False  # key_delta is set: GROUP BY of undeclared values is possible
    description: str = ""
    synthetic: bool = False  # a twin is published


class SavedTable(_Record):
    """A released table the caller kept: ``saved.NAME``, until its budget cycle ends."""

    name: str  # without "saved."
    columns: list[CatalogColumn]
    rows: int
    time: str  # when it was kept
    kind: Literal["private", "public", "synthetic"] = "private"
    unmetered: bool = False


class CatalogDatabase(_Record):
    """A database this gateway serves; from the policy, never from the warehouse."""

    prefix: str
    name: str
    reader: str
    sha256sum: str
    unit_entity: str
    data_version: str
    default_epsilon: float
    default_mechanism: str
    min_epsilon: float
    max_epsilon: float
    functions: list[str] = []
    tables: list[CatalogTable]
    saved: list[SavedTable] = []  # the caller's own, by name


class SavedReply(_Record):
    """status.data of GET /saved, and of DELETE /saved/NAME afterwards; ?prefix&db_name."""

    saved: list[SavedTable]


class CatalogReply(_Record):
    """status.data of GET /catalog."""

    databases: list[CatalogDatabase]


class MeReply(_Record):
    """status.data of GET /me."""

    name: str
    role: Literal["analyst", "owner", "viewer"]
    expires: str | None = None
    gateway_version: str = ""


class SuspendRequest(_Record):
    """Body of POST /suspend: an analyst or a table, until lifted."""

    analyst: Name | None = None
    prefix: Name | None = None
    db_name: Name | None = None
    table_name: Name | None = None
    lift: bool = False
    reason: str = Field(default="", max_length=500)


class SuspendReply(_Record):
    """status.data of POST /suspend: what is suspended now."""

    suspended: list[SuspendRequest] = []


class TwinRequest(_Record):
    """Body of POST /twin/quote and /twin/publish."""

    prefix: Name | None = None
    db_name: Name
    table_name: Name
    epsilon: Number = Field(gt=0)
    delta: Number = Field(gt=0, lt=1)
    traceid: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:\-]+$")] | None = None


class TwinRetireRequest(_Record):
    """Body of POST /twin/retire. Without a version: the current one."""

    prefix: Name | None = None
    db_name: Name
    table_name: Name
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None


class TwinQuoteReply(_Record):
    """status.data of POST /twin/quote: what publishing would cost and how it would be made. Touches no data."""

    table: str
    epsilon: float
    delta: float
    rho: float
    tables: list[TablePrice]
    affordable: bool
    columns: list[str]
    left_out: dict[str, str] = {}  # column -> why it is NULL in the twin
    parent: str | None = None  # the table whose published twin its rows will hang on
    one_way_sigma: float  # standard deviation of the noise on one bin's count, in rows
    two_way_sigma: float | None = None
    notes: list[str] = []


class TwinCard(_Record):
    """A published twin. ``card`` is its whole card: cost, method, bins, quality against the noisy counts."""

    prefix: str
    db_name: str
    table_name: str
    version: str
    time: str
    retired: bool = False
    current: bool = False  # questions are answered from it
    card: dict[str, Any] = {}


class TwinListReply(_Record):
    """status.data of GET /twin?prefix&db_name&table_name&retired, newest first; and of POST /twin/publish and /twin/retire."""

    twins: list[TwinCard]


class PolicyInForce(_Record):
    """A database served, and whether its policy changed by a reload."""

    prefix: str
    name: str
    sha256sum: str
    changed: bool = False


class ReloadReply(_Record):
    """status.data of POST /reload: the policies in force afterwards."""

    policies: list[PolicyInForce]


class AuditRow(_Record):
    """One request in the audit log."""

    time: str
    request_id: str
    analyst: str
    prefix: str
    db_name: str
    verdict: str  # answered, cached, refused, failed, unmetered, debited
    reason: str = ""
    sql: str = ""
    tables: list[str] = []
    epsilon: float = 0.0  # charged to each table
    delta: float = 0.0
    mechanism: str = ""
    fingerprint: str = ""  # equal for the same question asked again
    checksum: str = ""


class AuditReply(_Record):
    """status.data of GET /audit?analyst&table&verdict&since&until&limit&offset; newest first. Analysts see their own rows."""

    rows: list[AuditRow]
    total: int = 0  # rows that match, without limit and offset


class HealthReply(_Record):
    """status.data of GET /health; no token needed, so it says little."""

    ok: bool
    version: str = ""


class Progress(_Record):
    """A line of the streamed reply (Accept: application/x-ndjson); the last line is the envelope itself."""

    stage: Literal["queued", "running", "finishing"]  # debited and later are not told apart to analysts
    elapsed_s: float
    request_id: str
    waits: str = ""  # while the warehouse has not begun: the one fixed text that says so
