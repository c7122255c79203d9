/** Relay and store: what is asked, how often, and what is made of every kind of reply. */

import { Offline, Refused, Relay } from '../src/api';
import { SHORTEST_POLL_S, Store } from '../src/store';
import { budgetRow, catalog, quote } from './samples';
import { FakeServer } from './server';

const SECOND_MS = 1000;
let server: FakeServer;
let relay: Relay;

function allIsWell(): void {
  server.succeed('connections', {
    connections: [{ name: 'work', alias: 'work', url: 'https://dp.example.org', database: null }],
    default: 'work'
  });
  server.succeed('catalog', catalog);
  server.succeed('budget/list', { budgets: [budgetRow()] });
  server.succeed('me', { name: 'ada', role: 'analyst', expires: null, gateway_version: '' });
  server.succeed('audit', { rows: [], total: 0 });
}

beforeEach(() => {
  server = new FakeServer();
  relay = new Relay(server.settings);
  allIsWell();
});

describe('Relay', () => {
  it('asks its own server only, naming the connection', async () => {
    await relay.catalog('my work & more');
    expect(server.asked[0]).toMatchObject({
      method: 'GET',
      route: 'catalog?connection=my%20work%20%26%20more'
    });
  });

  it('posts quotes', async () => {
    server.succeed('quote', quote);
    const body = { sql: 'SELECT 1', dbconfig: { database: 'titanic' } };
    await expect(relay.quote('work', body, new AbortController().signal)).resolves.toEqual(quote);
    expect(server.asked[0]).toMatchObject({ method: 'POST', route: 'quote?connection=work' });
    expect(JSON.parse(server.asked[0]?.body ?? '')).toEqual(body);
  });

  it('reads a refusal, with its place, whatever the HTTP status', async () => {
    for (const status of [200, 422]) {
      server.refuse('catalog', status, 'UnknownName', 'no such table', {
        hint: 'Did you mean t?',
        line: 2,
        column: 3,
        length: 4
      });
      const error: unknown = await relay.catalog('work').catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(Refused);
      expect(error).toMatchObject({
        message: 'no such table',
        info: { type: 'UnknownName', hint: 'Did you mean t?', line: 2, column: 3, length: 4 }
      });
    }
  });

  it.each([
    [
      'an unreachable gateway',
      () => {
        server.refuse('me', 503, 'GatewayUnreachable');
      }
    ],
    [
      'no connection',
      () => {
        server.refuse('me', 503, 'NotConnected');
      }
    ],
    ['a Jupyter Server that is away', () => (server.answers['me'] = 'away')],
    ['a server without the relay', () => (server.answers['me'] = { status: 404, body: {} })],
    ['a proxy page', () => (server.answers['me'] = { status: 502, body: '<html>' })],
    ['nonsense', () => (server.answers['me'] = { body: [1, 2] })]
  ])('takes %s for offline', async (_, happen) => {
    happen();
    await expect(relay.me('work')).rejects.toBeInstanceOf(Offline);
  });

  it('tells busy from away', async () => {
    server.refuse('me', 429, 'Busy');
    await expect(relay.me('work')).rejects.toMatchObject({ isBusy: true });
  });

  it('cancels', async () => {
    server.answers['quote'] = 'never';
    const asking = new AbortController();
    const reply = relay.quote('work', { sql: 'x', dbconfig: { database: 'd' } }, asking.signal);
    asking.abort();
    await expect(reply).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('Store', () => {
  let store: Store;

  const flush = async (): Promise<void> => {
    await jest.advanceTimersByTimeAsync(1);
  };
  const begin = async (seconds?: number): Promise<void> => {
    store = new Store(relay, () => store.defaultConnection, seconds);
    void store.start();
    await flush();
    await flush();
  };

  beforeEach(() => {
    jest.useFakeTimers();
  });

  afterEach(() => {
    store.dispose();
    jest.useRealTimers();
    Object.defineProperty(document, 'hidden', { value: false, configurable: true });
  });

  it('knows everything after the first look', async () => {
    await begin();
    expect(store.snapshot('work')).toMatchObject({
      state: 'ready',
      me: 'ada',
      catalog,
      budgets: [budgetRow()]
    });
  });

  it('polls budgets only, and never faster than ten seconds', async () => {
    await begin(1);
    const before = server.count('budget/list');
    await jest.advanceTimersByTimeAsync(100 * SECOND_MS);
    const polls = server.count('budget/list') - before;
    expect(polls).toBeGreaterThanOrEqual(7);
    expect(polls).toBeLessThanOrEqual(100 / SHORTEST_POLL_S);
    expect(server.count('catalog')).toBe(1);
    store.setPollSeconds(0);
    await jest.advanceTimersByTimeAsync(100 * SECOND_MS);
    expect(server.count('budget/list') - before - polls).toBeLessThanOrEqual(10);
  });

  it('asks nothing while the page is hidden', async () => {
    await begin(10);
    Object.defineProperty(document, 'hidden', { value: true, configurable: true });
    const before = server.asked.length;
    await jest.advanceTimersByTimeAsync(300 * SECOND_MS);
    expect(server.asked.length).toBe(before);
    Object.defineProperty(document, 'hidden', { value: false, configurable: true });
    await jest.advanceTimersByTimeAsync(20 * SECOND_MS);
    expect(server.asked.length).toBeGreaterThan(before);
  });

  it('asks nothing where no gateway is configured', async () => {
    server.succeed('connections', { connections: [], default: null });
    await begin(10);
    await jest.advanceTimersByTimeAsync(300 * SECOND_MS);
    expect(server.asked.map(each => each.route)).toEqual(['connections']);
  });

  it('backs off while the gateway is away, says so, and comes back', async () => {
    await begin(10);
    server.refuse('budget/list', 503, 'GatewayUnreachable', 'away');
    const before = server.count('budget/list');
    await jest.advanceTimersByTimeAsync(600 * SECOND_MS);
    expect(store.snapshot('work')).toMatchObject({ state: 'offline', message: 'away' });
    expect(store.snapshot('work').catalog).toEqual(catalog); // what was known stays
    expect(server.count('budget/list') - before).toBeLessThan(20); // sixty without backing off
    allIsWell();
    await store.refresh('work');
    expect(store.snapshot('work').state).toBe('ready');
    const after = server.count('budget/list');
    await jest.advanceTimersByTimeAsync(60 * SECOND_MS);
    expect(server.count('budget/list') - after).toBeGreaterThanOrEqual(3); // the usual interval again
  });

  it('survives a gateway that keeps its log to itself', async () => {
    server.refuse('audit', 403, 'Forbidden');
    await begin();
    expect(store.snapshot('work')).toMatchObject({ state: 'ready', history: [] });
  });

  it('says why it was refused', async () => {
    server.refuse('budget/list', 403, 'Suspended', 'you are suspended');
    await begin();
    expect(store.snapshot('work')).toMatchObject({
      state: 'refused',
      message: 'you are suspended'
    });
  });

  it('asks once however many want to know', async () => {
    await begin();
    const before = server.count('budget/list');
    await Promise.all([store.refresh('work'), store.refresh('work'), store.refresh('work')]);
    expect(server.count('budget/list') - before).toBe(1);
  });

  it('reads the catalogue again when a quote was made under another policy, once', async () => {
    await begin();
    store.sawChecksum('work', 'titanic', 'abc');
    await flush();
    expect(server.count('catalog')).toBe(1);
    store.sawChecksum('work', 'titanic', 'changed');
    await flush();
    store.sawChecksum('work', 'titanic', 'changed');
    await flush();
    expect(server.count('catalog')).toBe(2);
  });
});
