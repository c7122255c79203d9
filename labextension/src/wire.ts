// Made by scripts/wire_types.py from dpjupyter/wire.py; change it there.
// What is read has every field (the gateway fills defaults in); what is written may leave defaults out.

/** What one answer costs. */
export interface IAnswerPrice {
  label: string;
  columns: string[];
  epsilon: number;
  delta: number;
  mechanism: string;
}

/** status.data of GET /audit?analyst&table&verdict&since&until&limit&offset; newest first. Analysts see their own rows. */
export interface IAuditReply {
  rows: IAuditRow[];
  total: number;
}

/** One request in the audit log. */
export interface IAuditRow {
  time: string;
  request_id: string;
  analyst: string;
  prefix: string;
  db_name: string;
  verdict: string;
  reason: string;
  sql: string;
  tables: string[];
  epsilon: number;
  delta: number;
  mechanism: string;
  fingerprint: string;
  checksum: string;
}

/** status.data of GET /budget/list: the rows the caller may see; analysts see shared rows and their own. */
export interface IBudgetListReply {
  budgets: IBudgetRow[];
}

/** A row of /budget/list: with our own columns. */
export interface IBudgetRow {
  prefix: string;
  db_name: string;
  table_name: string;
  total_budget: number;
  residual_budget: number;
  consumed_budget: number;
  recover_cycle: number;
  exhausted_strategy: string;
  create_time: string;
  last_update_time: string;
  last_recover_time: string;
  slack: number;
  num_dpcall: number;
  sum_eps: number;
  sum_del: number;
  sum_sq_eps: number;
  sum_exp_eps: number;
  prod_del: number;
  analyst: string | null;
  delta: number;
  next_recover_time: string;
  lifetime_epsilon: number;
  unmetered_answers: number;
  suspended: boolean;
}

/** Privacy budget of EACH answer. */
export interface IBudgetSetting {
  epsilon?: number | null;
  delt?: number | null;
  answers?: Record<string, Partial<Record<'epsilon', number>>>;
}

/** A declared column. */
export interface ICatalogColumn {
  name: string;
  type: string;
  nullable: boolean;
  bounds: [boolean | number | string | null, boolean | number | string | null] | null;
  domain: (boolean | number | string | null)[] | null;
  description: string;
}

/** A database this gateway serves; from the policy, never from the warehouse. */
export interface ICatalogDatabase {
  prefix: string;
  name: string;
  reader: string;
  sha256sum: string;
  unit_entity: string;
  data_version: string;
  default_epsilon: number;
  default_mechanism: string;
  min_epsilon: number;
  max_epsilon: number;
  functions: string[];
  tables: ICatalogTable[];
  saved: ISavedTable[];
}

/** status.data of GET /catalog. */
export interface ICatalogReply {
  databases: ICatalogDatabase[];
}

/** A declared table. */
export interface ICatalogTable {
  name: string;
  private: boolean;
  unit: string | null;
  columns: ICatalogColumn[];
  keys: string[][];
  max_rows: number;
  max_groups: number;
  min_units: number;
  open_keys: boolean;
  description: string;
  synthetic: boolean;
}

/** How exact a column is. */
export interface IColumnUtility {
  name: string;
  mechanism: string;
  scale: number | null;
  epsilon: number | null;
  half_width: Record<string, number>;
  derived: boolean;
}

/** Which database is asked. Credentials are refused: they belong to the gateway. */
export interface IDbConfig {
  reader?: string | null;
  prefix?: string | null;
  psm?: string | null;
  host?: string | null;
  database: string;
  sha256sum?: string | null;
  queryOption?: IQueryOption;
}

/** Mechanism and budget. */
export interface IDpConfig {
  dp_method?: 'Laplace' | 'Gauss' | null;
  budget_setting?: IBudgetSetting;
  max_rows?: number | null;
  max_groups?: number | null;
}

/** status.error. */
export interface IErrorInfo {
  type: string;
  hint: string;
  request_id: string;
  line: number | null;
  column: number | null;
  length: number | null;
}

/** Debugging. */
export interface IExtra {
  debug?: boolean;
}

/** status.data of GET /health; no token needed, so it says little. */
export interface IHealthReply {
  ok: boolean;
  version: string;
}

/** status.data of GET /me. */
export interface IMeReply {
  name: string;
  role: 'analyst' | 'owner' | 'viewer';
  expires: string | null;
  gateway_version: string;
}

/** dp_info.privacy. */
export interface IPrivacy {
  epsilon: number;
  rho: number;
  delta: number;
  answers: IAnswerPrice[];
  tables: ITablePrice[];
}

/** traceid is the request id: a retry with the same id gets the same answer. */
export interface IQueryConfig {
  traceid?: string | null;
  timeout_s?: number | null;
  parameters?: Record<string, boolean | number | string | null>;
  save_as?: string | null;
  synthetic?: boolean;
  rehearse?: number | null;
}

/** How to answer. */
export interface IQueryOption {
  skip_cache?: boolean;
  with_column_type?: boolean;
}

/** Body of POST /query and POST /quote: the requirement's whole key. */
export interface IQueryRequest {
  sql: string;
  dbconfig: IDbConfig;
  queryconfig?: IQueryConfig;
  dpconfig?: IDpConfig;
  extra?: IExtra;
}

/** status.data of POST /quote. */
export interface IQuoteReply {
  privacy: IPrivacy;
  utility: IColumnUtility[];
  affordable: boolean;
  notes: string[];
  columns: Record<string, string>[];
  checksum: string;
  cached: boolean;
}

/** A released table the caller kept: ``saved.NAME``, until its budget cycle ends. */
export interface ISavedTable {
  name: string;
  columns: ICatalogColumn[];
  rows: number;
  time: string;
  kind: 'private' | 'public' | 'synthetic';
  unmetered: boolean;
}

/** What a query costs one budget row. */
export interface ITablePrice {
  table: string;
  analyst: string | null;
  epsilon: number;
  delta: number;
  before: number | null;
  after: number | null;
  affordable: boolean;
  unmetered: boolean;
}
