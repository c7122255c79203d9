/** What kernels announce, and what notebooks, status bar and panel make of it. */

import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { Signal } from '@lumino/signaling';

import { Relay } from '../src/api';
import { Current } from '../src/current';
import { DEFAULTS, Kernels, TARGET } from '../src/kernels';
import { Store } from '../src/store';
import { budgetRow, catalog } from './samples';
import { FakeServer } from './server';

type Message = { content: { data: Record<string, unknown> } };
type Hear = (message: Message) => void;

/** The parts of a kernel connection that comms need. */
class FakeKernel {
  readonly sent: unknown[] = [];
  open: string[] = [];
  target: ((comm: { onMsg?: Hear }, message: Message) => void) | null = null;
  comm: { onMsg?: Hear; isDisposed: boolean; send: (data: unknown) => void } = {
    isDisposed: false,
    send: data => this.sent.push(data)
  };

  registerCommTarget(name: string, callback: FakeKernel['target']): void {
    expect(name).toBe(TARGET);
    this.target = callback;
  }

  requestCommInfo(): Promise<unknown> {
    return Promise.resolve({
      content: { status: 'ok', comms: Object.fromEntries(this.open.map(id => [id, {}])) }
    });
  }

  hasComm(): boolean {
    return false;
  }

  createComm(): FakeKernel['comm'] {
    return this.comm;
  }

  announce(data: Record<string, unknown>): void {
    this.target?.(this.comm, { content: { data } });
  }

  say(data: Record<string, unknown>): void {
    this.comm.onMsg?.({ content: { data } });
  }
}

let statusChanged: Signal<unknown, string>;

function notebook(kernel: FakeKernel): NotebookPanel {
  const panel = { isDisposed: false, sessionContext: { session: { kernel } } };
  const session = panel.sessionContext;
  statusChanged = new Signal<unknown, string>(session);
  Object.assign(session, { kernelChanged: new Signal(session), statusChanged });
  return Object.assign(panel, { disposed: new Signal(panel) }) as unknown as NotebookPanel;
}

const HELLO = { url: 'https://dp.example.org', database: 'demo/titanic', connection: 'work' };
let kernel: FakeKernel;
let panel: NotebookPanel;
let tracker: INotebookTracker;
let kernels: Kernels;

beforeEach(() => {
  kernel = new FakeKernel();
  panel = notebook(kernel);
  const fake = {
    currentWidget: panel,
    forEach: (each: (panel: NotebookPanel) => void) => {
      each(panel);
    }
  };
  Object.assign(fake, { widgetAdded: new Signal(fake), currentChanged: new Signal(fake) });
  tracker = fake as unknown as INotebookTracker;
  kernels = new Kernels(tracker);
});

describe('Kernels', () => {
  it('hear where a kernel is connected, and what its defaults are', () => {
    kernel.announce(HELLO);
    expect(kernels.announced(panel)).toEqual({ ...HELLO, defaults: DEFAULTS });
    kernel.say({
      ...HELLO,
      database: 'demo/shop',
      defaults: { epsilon: 0.2, delta: null, mechanism: 'Gauss', confidence: 0.8 }
    });
    expect(kernels.announced(panel)).toMatchObject({
      database: 'demo/shop',
      defaults: { epsilon: 0.2, delta: null, mechanism: 'Gauss', confidence: 0.8 }
    });
  });

  it('hear of answers', () => {
    const answered = jest.fn();
    kernels.answered.connect(answered);
    kernel.announce(HELLO);
    kernel.say({ event: 'answered' });
    expect(answered).toHaveBeenCalledTimes(1);
    expect(kernels.announced(panel)?.url).toBe(HELLO.url);
  });

  it('ignore what is no announcement', () => {
    kernel.announce({ url: 3, database: {}, connection: [] });
    expect(kernels.announced(panel)).toBeNull();
    kernel.announce({ url: 'https://x', database: 7, connection: '', defaults: 'many' });
    expect(kernels.announced(panel)).toEqual({
      url: 'https://x',
      database: null,
      connection: null,
      defaults: DEFAULTS
    });
  });

  it('take up comms that are open after a page reload', async () => {
    kernel.open = ['c1'];
    kernels = new Kernels(tracker);
    await Promise.resolve();
    await Promise.resolve();
    expect(kernel.sent).toEqual([{ event: 'hello' }]);
    kernel.say(HELLO);
    expect(kernels.announced(panel)?.connection).toBe('work');
  });

  it('ask for values of variables; a busy kernel has none', async () => {
    await expect(kernels.values(panel, ['x'])).resolves.toEqual({}); // no comm yet
    kernel.announce(HELLO);
    const values = kernels.values(panel, ['x', 'y']);
    expect(kernel.sent).toEqual([{ event: 'values', id: 1, names: ['x', 'y'] }]);
    kernel.say({ event: 'values', id: 99, values: { x: 'not this one' } });
    kernel.say({ event: 'values', id: 1, values: { x: 3, y: { no: 'scalar' } } });
    await expect(values).resolves.toEqual({ x: 3 });
    jest.useFakeTimers();
    const busy = kernels.values(panel, ['x']);
    await jest.advanceTimersByTimeAsync(3000);
    jest.useRealTimers();
    await expect(busy).resolves.toEqual({});
  });

  it('forget a kernel that restarts', () => {
    kernel.announce(HELLO);
    statusChanged.emit('restarting');
    expect(kernels.announced(panel)).toBeNull();
  });
});

describe('Current', () => {
  let server: FakeServer;
  let store: Store;
  let current: Current;

  beforeEach(async () => {
    server = new FakeServer();
    const shop = { name: 'shop', alias: 'shop', url: HELLO.url, database: 'shop' };
    server.succeed('connections', {
      connections: [{ name: 'work', alias: 'work', url: HELLO.url, database: 'titanic' }, shop],
      default: 'work'
    });
    server.succeed('catalog', catalog);
    server.succeed('budget/list', { budgets: [budgetRow()] });
    server.succeed('me', { name: 'ada' });
    server.succeed('audit', { rows: [] });
    store = new Store(new Relay(server.settings), () => null);
    current = new Current(tracker, kernels, store);
    await store.reload();
    current.get();
    await store.refresh('work');
  });

  afterEach(() => {
    store.dispose();
  });

  it('is the default connection until the kernel speaks', () => {
    expect(current.get()).toMatchObject({
      connection: 'work',
      foreign: null,
      database: { name: 'titanic' }
    });
  });

  it('follows the kernel, by name before address', () => {
    kernel.announce({ ...HELLO, connection: 'shop', database: 'demo/shop' });
    expect(current.get().connection).toBe('shop');
    kernel.say({ ...HELLO, connection: 'renamed' });
    expect(current.get().connection).toBe('work');
  });

  it('finds a gateway that the notebook started, by its own name for it', async () => {
    const own = { url: 'http://127.0.0.1:7777', database: 'titanic' };
    kernel.announce({ ...own, connection: 'owner' });
    expect(current.get().foreign).toBe(own.url);
    server.succeed('connections', {
      connections: [
        { name: 'titanic (process 7)', alias: 'titanic', ...own },
        { name: 'owner (process 7)', alias: 'owner', ...own }
      ],
      default: null
    });
    kernel.say({ ...own, connection: 'owner' });
    await store.reload();
    expect(current.get()).toMatchObject({ connection: 'owner (process 7)', foreign: null });
    kernel.say({ ...own, connection: 'titanic' });
    expect(current.get().connection).toBe('titanic (process 7)');
  });

  it('says when the kernel talks to a gateway that is not configured', () => {
    kernel.announce({ url: 'https://elsewhere', database: null, connection: null });
    expect(current.get()).toMatchObject({
      connection: null,
      foreign: 'https://elsewhere',
      snapshot: null
    });
  });

  it('shows the chosen connection until the notebook is followed again', () => {
    current.chosen = 'shop';
    expect(current.get().connection).toBe('shop');
    current.chosen = null;
    expect(current.get().connection).toBe('work');
  });

  it('looks at the budgets again after an answer', async () => {
    kernel.announce(HELLO);
    await store.refresh('work');
    const before = server.count('budget/list');
    kernel.say({ event: 'answered' });
    await store.refresh('work');
    expect(server.count('budget/list')).toBe(before + 1);
  });
});
