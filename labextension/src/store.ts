/** What is known of each gateway, kept fresh: after each answer, by slow polling, never while the page is hidden. */

import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';

import { type IConnection, Offline, Refused, type Relay } from './api';
import type { IAuditRow, IBudgetRow, ICatalogReply } from './wire';

/** One gateway as last seen. */
export interface ISnapshot {
  state: 'loading' | 'ready' | 'offline' | 'refused';
  /** Why it is offline or refused. */
  message: string;
  me: string | null;
  catalog: ICatalogReply | null;
  budgets: IBudgetRow[];
  history: IAuditRow[];
}

const NOTHING: ISnapshot = {
  state: 'loading',
  message: '',
  me: null,
  catalog: null,
  budgets: [],
  history: []
};
/** The shortest allowed time between two polls. */
export const SHORTEST_POLL_S = 10;
const LONGEST_BACKOFF_MS = 10 * 60_000;

/** Gateways, their budgets and catalogues; tells when anything changed. */
export class Store {
  /**
   * @param _relay the door of this Jupyter Server
   * @param _watched the connection that is shown now, if any: the only one that is polled
   */
  constructor(
    private readonly _relay: Relay,
    private readonly _watched: () => string | null,
    pollSeconds = 30
  ) {
    this._poll = new Poll({
      name: 'dpjupyter:budget',
      auto: false,
      factory: () => this._tick(),
      frequency: { interval: interval(pollSeconds), backoff: true, max: LONGEST_BACKOFF_MS },
      standby: () => this._known.length === 0 || document.hidden
    });
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Connections the analyst's file names. */
  get connections(): readonly IConnection[] {
    return this._known;
  }

  get defaultConnection(): string | null {
    return this._default;
  }

  /** Whether the relay has answered yet. */
  get isLoaded(): boolean {
    return this._loaded;
  }

  /** One gateway as last seen. */
  snapshot(connection: string): ISnapshot {
    return this._snapshots.get(connection) ?? NOTHING;
  }

  /** Read the connections file through the relay, and begin to poll. */
  async start(): Promise<void> {
    await this.reload();
    void this._poll.start();
  }

  /** Read the connections file again. */
  async reload(): Promise<void> {
    try {
      const reply = await this._relay.connections();
      this._known = reply.connections;
      this._default = reply.default;
    } catch (error) {
      expectable(error);
      this._known = [];
      this._default = null;
    }
    this._loaded = true;
    this._changed.emit();
  }

  /** Ask for everything of one gateway. Errors become its state. */
  refresh(connection: string): Promise<void> {
    const running = this._running.get(connection);
    if (running !== undefined) {
      return running;
    }
    const begun = this._refresh(connection, true)
      .then(() => {
        if (this._poll.state.phase === 'rejected') {
          void this._poll.refresh(); // back to the usual interval
        }
      }, expectable)
      .finally(() => this._running.delete(connection));
    this._running.set(connection, begun);
    return begun;
  }

  /** Ask once for a gateway that was not looked at yet. */
  want(connection: string): void {
    if (!this._snapshots.has(connection)) {
      this._put(connection, {});
      void this.refresh(connection);
    }
  }

  /** The gateway was found offline by somebody else (a quote). */
  lost(connection: string, message: string): void {
    if (this.snapshot(connection).state === 'ready') {
      this._put(connection, { state: 'offline', message });
    }
  }

  /** A quote was made under another policy than the catalogue shown: read it again. */
  sawChecksum(connection: string, database: string, checksum: string): void {
    const shown = this.snapshot(connection).catalog?.databases.find(each => each.name === database);
    if (
      shown !== undefined &&
      shown.sha256sum !== checksum &&
      this._seen.get(connection) !== checksum
    ) {
      this._seen.set(connection, checksum); // once, even if the catalogue should not follow
      void this.refresh(connection);
    }
  }

  /** Change the time between polls; never below SHORTEST_POLL_S. */
  setPollSeconds(seconds: number): void {
    this._poll.frequency = { interval: interval(seconds), backoff: true, max: LONGEST_BACKOFF_MS };
  }

  dispose(): void {
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async _tick(): Promise<void> {
    const connection = this._watched();
    if (connection !== null) {
      // Budgets only: names and history change by events. Rejecting here is what makes the poll back off.
      await this._refresh(connection, this.snapshot(connection).state !== 'ready');
    }
  }

  private async _refresh(connection: string, everything: boolean): Promise<void> {
    try {
      const { budgets } = await this._relay.budgets(connection);
      const update: Partial<ISnapshot> = { state: 'ready', message: '', budgets };
      if (everything) {
        const [me, catalog, history] = await Promise.all([
          this._relay.me(connection),
          this._relay.catalog(connection),
          this._relay.history(connection).catch((error: unknown) => {
            expectable(error); // a gateway that keeps its log to itself
            return { rows: [] };
          })
        ]);
        Object.assign(update, { me: me.name, catalog, history: history.rows });
      }
      this._put(connection, update);
    } catch (error) {
      expectable(error);
      this._put(connection, {
        state: error instanceof Offline ? 'offline' : 'refused',
        message: (error as Error).message
      });
      throw error;
    }
  }

  private _put(connection: string, update: Partial<ISnapshot>): void {
    this._snapshots.set(connection, { ...this.snapshot(connection), ...update });
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _poll: Poll;
  private readonly _snapshots = new Map<string, ISnapshot>();
  private readonly _running = new Map<string, Promise<void>>();
  private readonly _seen = new Map<string, string>();
  private _known: IConnection[] = [];
  private _default: string | null = null;
  private _loaded = false;
}

/** Pass what the network and the gateway may say; anything else is a defect and travels on. */
function expectable(error: unknown): void {
  if (!(error instanceof Offline || error instanceof Refused)) {
    throw error;
  }
}

function interval(seconds: number): number {
  return Math.max(SHORTEST_POLL_S, seconds) * 1000;
}
