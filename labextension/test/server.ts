/** A Jupyter Server for unit tests: replies by route, remembers requests, can be slow, wrong or away. */

import { ServerConnection } from '@jupyterlab/services';

export interface IAsked {
  method: string;
  /** Path and query behind `dpjupyter/api/`. */
  route: string;
  body: string;
  signal: AbortSignal | null;
}

type Answer = { status?: number; body: unknown } | 'away' | 'never';

export class FakeServer {
  readonly asked: IAsked[] = [];
  answers: Record<string, Answer> = {};

  readonly settings: ServerConnection.ISettings;

  constructor() {
    const fetch = (input: RequestInfo | URL, given?: RequestInit): Promise<Response> =>
      this._fetch(input, given);
    this.settings = ServerConnection.makeSettings({
      baseUrl: 'http://server/',
      fetch
    });
  }

  /** Number of requests of a route. */
  count(route: string): number {
    return this.asked.filter(each => each.route.split('?')[0] === route).length;
  }

  succeed(route: string, data: unknown): void {
    this.answers[route] = { body: { status: { code: 200, Message: 'succeed', data } } };
  }

  refuse(route: string, status: number, type: string, message = 'no', more: object = {}): void {
    this.answers[route] = {
      status,
      body: {
        status: { code: 1, Message: message, error: { type, hint: '', request_id: '', ...more } }
      }
    };
  }

  private _fetch(input: RequestInfo | URL, given?: RequestInit): Promise<Response> {
    const init = (typeof input === 'object' ? input : given) as RequestInit & { url?: string };
    const route = (typeof input === 'object' ? (init.url ?? '') : input)
      .replace('http://server/dpjupyter/api/', '')
      .replace(/[?&]\d+$/, ''); // JupyterLab's own cache breaker
    const signal = init.signal ?? given?.signal ?? null;
    this.asked.push({
      method: init.method ?? 'GET',
      route,
      body: typeof init.body === 'string' ? init.body : '',
      signal
    });
    const answer = this.answers[route.split('?')[0] ?? ''] ?? { status: 404, body: {} };
    if (answer === 'away') {
      return Promise.reject(new TypeError('Failed to fetch'));
    }
    if (answer === 'never') {
      return new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          reject(new DOMException('aborted', 'AbortError'));
        });
      });
    }
    const status = answer.status ?? 200;
    return Promise.resolve({
      ok: status < 400,
      status,
      json: () => Promise.resolve(answer.body)
    } as Response);
  }
}
