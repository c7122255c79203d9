/** Which gateway each notebook's kernel is connected to: the kernel says so over a comm. */

import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import { type ISignal, Signal } from '@lumino/signaling';

/** The comm's target name, on both sides. */
export const TARGET = 'dpjupyter';

/** What a kernel says when it connects. */
export interface IAnnounced {
  url: string;
  /** "name" or "prefix/name"; null: the gateway's only database. */
  database: string | null;
  /** Name in the connections file; null when the kernel was given an address by hand. */
  connection: string | null;
  /** The notebook's own defaults (%dpsql config). */
  defaults: IDefaults;
}

/** Defaults of a notebook's questions; what is left out is the policy's. */
export interface IDefaults {
  epsilon: number | null;
  delta: number | null;
  mechanism: 'Laplace' | 'Gauss' | null;
  confidence: number;
}

/** What holds where the notebook says nothing. */
export const DEFAULTS: IDefaults = {
  epsilon: null,
  delta: null,
  mechanism: null,
  confidence: 0.95
};

/** What may stand for a `:name` placeholder. */
export type Value = boolean | number | string | null;

const KERNEL_PATIENCE_MS = 2000;

/** Announcements of the kernels of all open notebooks. */
export class Kernels {
  constructor(tracker: INotebookTracker) {
    tracker.forEach(panel => {
      this._follow(panel);
    });
    tracker.widgetAdded.connect((_, panel) => {
      this._follow(panel);
    });
  }

  /** A notebook's kernel connected, or lost what it had said. */
  get changed(): ISignal<this, NotebookPanel> {
    return this._changed;
  }

  /** A notebook's kernel got an answer: budgets have changed. */
  get answered(): ISignal<this, NotebookPanel> {
    return this._answered;
  }

  /** What the notebook's kernel announced last. */
  announced(panel: NotebookPanel): IAnnounced | null {
    return this._said.get(panel) ?? null;
  }

  /** Values of notebook variables, as far as the kernel has them and answers soon: a busy one does not. */
  async values(panel: NotebookPanel, names: readonly string[]): Promise<Record<string, Value>> {
    const comm = this._comms.get(panel);
    if (comm === undefined || comm.isDisposed) {
      return {};
    }
    const id = ++this._asked;
    const answer = new Promise<Record<string, Value>>(resolve => {
      this._waiting.set(id, resolve);
      setTimeout(() => {
        resolve({});
      }, KERNEL_PATIENCE_MS);
    });
    comm.send({ event: 'values', id, names: [...names] });
    const values = await answer;
    this._waiting.delete(id);
    return values;
  }

  private _follow(panel: NotebookPanel): void {
    const session = panel.sessionContext;
    session.kernelChanged.connect((_, change) => {
      this._forget(panel);
      if (change.newValue !== null) {
        this._listen(panel, change.newValue);
      }
    });
    session.statusChanged.connect((_, status) => {
      if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
        this._forget(panel);
      }
    });
    const kernel = session.session?.kernel ?? null;
    if (kernel !== null) {
      this._listen(panel, kernel);
    }
    panel.disposed.connect(() => {
      this._said.delete(panel);
      this._comms.delete(panel);
    });
  }

  private _listen(panel: NotebookPanel, kernel: Kernel.IKernelConnection): void {
    kernel.registerCommTarget(TARGET, (comm, opened) => {
      this._attach(panel, comm);
      this._hear(panel, opened.content.data);
    });
    void this._rejoin(panel, kernel);
  }

  /** After a page reload the kernel's comms are still open on its side: take them up and ask to hear again. */
  private async _rejoin(panel: NotebookPanel, kernel: Kernel.IKernelConnection): Promise<void> {
    try {
      const reply = await kernel.requestCommInfo({ target_name: TARGET });
      if (reply.content.status !== 'ok') {
        return;
      }
      for (const id of Object.keys(reply.content.comms)) {
        if (!kernel.hasComm(id)) {
          const comm = kernel.createComm(TARGET, id);
          this._attach(panel, comm);
          comm.send({ event: 'hello' });
        }
      }
    } catch {
      // The kernel went away meanwhile; the next one is followed by its own signal.
    }
  }

  private _attach(panel: NotebookPanel, comm: Kernel.IComm): void {
    this._comms.set(panel, comm);
    comm.onMsg = (message: KernelMessage.ICommMsgMsg) => {
      this._hear(panel, message.content.data);
    };
  }

  private _hear(panel: NotebookPanel, data: Readonly<Record<string, unknown>>): void {
    if (panel.isDisposed) {
      return;
    }
    if (typeof data['url'] === 'string') {
      this._said.set(panel, {
        url: data['url'],
        database: text(data['database']),
        connection: text(data['connection']),
        defaults: defaults(data['defaults'])
      });
      this._changed.emit(panel);
    }
    if (data['event'] === 'answered') {
      this._answered.emit(panel);
    }
    if (data['event'] === 'values' && typeof data['id'] === 'number') {
      this._waiting.get(data['id'])?.(scalars(data['values']));
    }
  }

  private _forget(panel: NotebookPanel): void {
    this._comms.delete(panel);
    if (this._said.delete(panel)) {
      this._changed.emit(panel);
    }
  }

  private _asked = 0;
  private readonly _waiting = new Map<number, (values: Record<string, Value>) => void>();
  private readonly _comms = new Map<NotebookPanel, Kernel.IComm>();
  private readonly _said = new Map<NotebookPanel, IAnnounced>();
  private readonly _changed = new Signal<this, NotebookPanel>(this);
  private readonly _answered = new Signal<this, NotebookPanel>(this);
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function scalars(value: unknown): Record<string, Value> {
  const given =
    typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const found: Record<string, Value> = {};
  for (const [name, each] of Object.entries(given)) {
    if (
      each === null ||
      typeof each === 'boolean' ||
      typeof each === 'number' ||
      typeof each === 'string'
    ) {
      found[name] = each;
    }
  }
  return found;
}

function defaults(value: unknown): IDefaults {
  const given =
    typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const { mechanism } = given;
  return {
    epsilon: count(given['epsilon']),
    delta: count(given['delta']),
    mechanism: mechanism === 'Laplace' || mechanism === 'Gauss' ? mechanism : null,
    confidence: count(given['confidence']) ?? DEFAULTS.confidence
  };
}

function count(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
