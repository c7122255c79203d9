/** The relay of this Jupyter Server: the only address the extension talks to. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type {
  IAuditReply,
  IBudgetListReply,
  ICatalogReply,
  IErrorInfo,
  IMeReply,
  IQueryRequest,
  IQuoteReply
} from './wire';

/** A gateway the analyst's connections file names. */
export interface IConnection {
  name: string;
  /** What the process that made it calls it: differs from `name` for gateways that notebooks started. */
  alias: string;
  url: string;
  database: string | null;
}

/** Reply of `connections`. */
export interface IConnections {
  connections: IConnection[];
  default: string | null;
}

/** No answer now: try again later, quietly. */
export class Offline extends Error {
  constructor(
    message: string,
    /** The gateway is there, with all hands full. */
    readonly isBusy = false
  ) {
    super(message);
  }
}

/** The gateway, or the relay, said no. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly info: IErrorInfo
  ) {
    super(message);
  }
}

/** Error types that mean "not now" rather than "no". */
const PASSING = new Set(['GatewayUnreachable', 'NotConnected', 'LedgerUnavailable', 'Busy']);

/** Typed calls of the relay's routes. */
export class Relay {
  constructor(
    private readonly _settings: ServerConnection.ISettings = ServerConnection.makeSettings()
  ) {}

  /** Names and addresses of the configured gateways. */
  connections(): Promise<IConnections> {
    return this._ask<IConnections>('connections', null);
  }

  /** Declared tables and columns. */
  catalog(connection: string): Promise<ICatalogReply> {
    return this._ask<ICatalogReply>('catalog', connection);
  }

  /** Budget rows the caller may see. */
  budgets(connection: string): Promise<IBudgetListReply> {
    return this._ask<IBudgetListReply>('budget/list', connection);
  }

  /** Who the token belongs to. */
  me(connection: string): Promise<IMeReply> {
    return this._ask<IMeReply>('me', connection);
  }

  /** The caller's own questions, newest first. */
  history(connection: string): Promise<IAuditReply> {
    return this._ask<IAuditReply>('audit', connection);
  }

  /** What a question would cost; nothing is run. */
  quote(connection: string, request: IQueryRequest, signal: AbortSignal): Promise<IQuoteReply> {
    return this._ask<IQuoteReply>('quote', connection, {
      method: 'POST',
      body: JSON.stringify(request),
      signal
    });
  }

  private async _ask<T>(
    route: string,
    connection: string | null,
    init: RequestInit = {}
  ): Promise<T> {
    const query = connection === null ? '' : URLExt.objectToQueryString({ connection });
    const url = URLExt.join(this._settings.baseUrl, 'dpjupyter/api', route) + query;
    let response: Response;
    let reply: unknown = null;
    try {
      response = await ServerConnection.makeRequest(url, init, this._settings);
      reply = await response.json().catch(() => null);
    } catch (error) {
      // Jupyter Server itself is away, unless it was us who gave up: JupyterLab tells both alike.
      unlessGivenUp(init.signal);
      throw new Offline(error instanceof Error ? error.message : String(error));
    }
    unlessGivenUp(init.signal);
    const status = record(record(reply)?.['status']);
    if (response.ok && status?.['code'] === 200) {
      return status['data'] as T;
    }
    throw failure(response.status, status);
  }
}

function unlessGivenUp(signal: AbortSignal | null | undefined): void {
  if (signal?.aborted === true) {
    throw new DOMException('given up', 'AbortError');
  }
}

function failure(http: number, status: Record<string, unknown> | null): Error {
  const error = record(status?.['error']);
  if (status === null || error === null) {
    // No envelope: a proxy, or a Jupyter Server without the relay.
    return new Offline(`HTTP ${http}`);
  }
  const message = text(status['Message']);
  const type = text(error['type']);
  if (PASSING.has(type) || http >= 500) {
    return new Offline(message, type === 'Busy');
  }
  const info: IErrorInfo = {
    type,
    hint: text(error['hint']),
    request_id: text(error['request_id']),
    line: count(error['line']),
    column: count(error['column']),
    length: count(error['length'])
  };
  return new Refused(message, http, info);
}

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function count(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
