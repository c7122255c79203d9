/** Joins what kernels announce with what the store knows: the database a notebook is about. */

import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { type ISignal, Signal } from '@lumino/signaling';

import { database } from './budget';
import { DEFAULTS, type IDefaults, type Kernels } from './kernels';
import type { ISnapshot, Store } from './store';
import type { ICatalogDatabase } from './wire';

/** The gateway and database of one notebook, as far as they are known. */
export interface ISubject {
  /** Name in the connections file; null when the notebook's gateway is not in it. */
  connection: string | null;
  /** Set when `connection` is null: the address the kernel talks to. */
  foreign: string | null;
  snapshot: ISnapshot | null;
  database: ICatalogDatabase | null;
  /** The notebook's own defaults. */
  defaults: IDefaults;
}

/** What the status bar and side panel are about, and when that changes. */
export class Current {
  constructor(
    private readonly _tracker: INotebookTracker,
    private readonly _kernels: Kernels,
    private readonly _store: Store
  ) {
    const tell = (): void => {
      this._changed.emit();
    };
    _tracker.currentChanged.connect(tell);
    _store.changed.connect(tell);
    _kernels.changed.connect((_, panel) => {
      void this._met(panel);
    });
    _kernels.answered.connect((_, panel) => {
      const { connection } = this.of(panel);
      if (connection !== null) {
        void this._store.refresh(connection);
      }
    });
  }

  /** The subject changed, or something new is known about it. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Connection chosen in the side panel; null follows the notebook. */
  get chosen(): string | null {
    return this._chosen;
  }

  set chosen(connection: string | null) {
    this._chosen = connection;
    this._changed.emit();
  }

  /** The subject of the current notebook, or the one chosen in the panel. */
  get(): ISubject {
    return this._chosen === null
      ? this.of(this._tracker.currentWidget)
      : this._subject(this._chosen, null, DEFAULTS);
  }

  /** The subject of one notebook. */
  of(panel: NotebookPanel | null): ISubject {
    const said = panel === null ? null : this._kernels.announced(panel);
    if (said === null) {
      const fallback = this._store.defaultConnection;
      return this._subject(fallback, null, DEFAULTS);
    }
    const known = this._store.connections;
    const url = said.url.replace(/\/$/, '');
    const match =
      known.find(each => each.name === said.connection && each.url === url) ??
      known.find(each => each.alias === said.connection && each.url === url) ??
      known.find(each => each.url === url);
    if (match === undefined) {
      return {
        connection: null,
        foreign: said.url,
        snapshot: null,
        database: null,
        defaults: said.defaults
      };
    }
    return this._subject(match.name, said.database, said.defaults);
  }

  private _subject(
    connection: string | null,
    announced: string | null,
    defaults: IDefaults
  ): ISubject {
    if (connection === null) {
      return { connection: null, foreign: null, snapshot: null, database: null, defaults };
    }
    this._store.want(connection);
    const snapshot = this._store.snapshot(connection);
    const configured =
      this._store.connections.find(each => each.name === connection)?.database ?? null;
    return {
      connection,
      foreign: null,
      snapshot,
      database: database(snapshot.catalog, announced ?? configured),
      defaults
    };
  }

  /** A kernel connected: perhaps to a gateway that was added to the file since. */
  private async _met(panel: NotebookPanel): Promise<void> {
    // A gateway that a notebook started comes and goes with its kernel.
    if (
      this.of(panel).foreign !== null ||
      this._store.connections.some(each => each.alias !== each.name)
    ) {
      await this._store.reload();
    }
    const { connection } = this.of(panel);
    if (connection !== null) {
      void this._store.refresh(connection);
    }
    this._changed.emit();
  }

  private _chosen: string | null = null;
  private readonly _changed = new Signal<this, void>(this);
}
