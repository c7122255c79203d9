/** The plugin: joins relay, store, kernels, status bar, side panel and editors. */

import type { EditorView } from '@codemirror/view';
import {
  ILabShell,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { EditorExtensionRegistry, IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import { ICompletionProviderManager } from '@jupyterlab/completer';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import { Offline, Relay } from './api';
import { database as databaseNamed } from './budget';
import { Completions } from './complete';
import { Current } from './current';
import { sqlHighlighting } from './highlight';
import { gaugeIcon } from './icon';
import { Kernels } from './kernels';
import type { IMagicCell } from './magic';
import { Panel } from './panel';
import { type IQuoter, type IQuoting, quoting, request } from './quoting';
import { StatusItem } from './status';
import { Store } from './store';

const ID = 'dpjupyter:plugin';
const OPEN = 'dpjupyter:open-panel';
const REFRESH = 'dpjupyter:refresh';
const TOGGLE_CHIP = 'dpjupyter:toggle-price-chip';

const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Prices, budgets and hints for differentially private SQL.',
  autoStart: true,
  requires: [INotebookTracker, IEditorExtensionRegistry],
  optional: [
    ICompletionProviderManager,
    IStatusBar,
    ISettingRegistry,
    ITranslator,
    ICommandPalette,
    ILabShell
  ],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    editors: IEditorExtensionRegistry,
    completer: ICompletionProviderManager | null,
    statusBar: IStatusBar | null,
    settings: ISettingRegistry | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    labShell: ILabShell | null
  ) => {
    const trans = (translator ?? nullTranslator).load('dpjupyter');
    const relay = new Relay(app.serviceManager.serverSettings);
    const store: Store = new Store(relay, () => current.get().connection);
    const kernels = new Kernels(tracker);
    const current = new Current(tracker, kernels, store);
    const options = { isChipOn: true, areSquigglesOn: true };
    const stale = new Signal<object, void>(options);

    // ------------------------------------------------------------ editors
    const panelOf = (node: Element | null | undefined): NotebookPanel | null =>
      (node ?? null) === null
        ? null
        : (tracker.find(panel => panel.node.contains(node as Node)) ?? null);
    const context: IQuoting = {
      trans,
      stale,
      quoter: (view: EditorView, cell: IMagicCell) => {
        const panel = panelOf(view.dom);
        return panel === null ? null : quoterOf(current, kernels, store, relay, panel, cell);
      },
      get isChipOn() {
        return options.isChipOn;
      },
      get areSquigglesOn() {
        return options.areSquigglesOn;
      }
    };
    editors.addExtension({
      name: 'dpjupyter:sql',
      factory: ({ inline }) =>
        // Inline editors are cells; file editors have no kernel to ask through.
        inline
          ? EditorExtensionRegistry.createImmutableExtension([sqlHighlighting(), quoting(context)])
          : null
    });
    completer?.registerProvider(
      new Completions(({ widget }) => current.of(panelOf(widget.node)).database)
    );

    // ------------------------------------------------------------ prices follow balances
    let seen = '';
    current.changed.connect(() => {
      const shown = tracker.currentWidget;
      const isConnected = shown !== null && kernels.announced(shown) !== null;
      const now = `${isConnected} ${fingerprint(current.get())}`;
      if (now !== seen) {
        seen = now;
        stale.emit();
      }
    });

    // ------------------------------------------------------------ panel and status bar
    const refresh = (): void => {
      const { connection } = current.get();
      void store.reload().then(() => (connection === null ? undefined : store.refresh(connection)));
    };
    const insert = (text: string): void => {
      const editor = tracker.activeCell?.editor;
      if (editor !== undefined && editor !== null) {
        editor.replaceSelection?.(text);
        editor.focus();
      }
    };
    const panel = new Panel(store, current, { insert, refresh }, trans);
    panel.id = 'dpjupyter-panel';
    panel.title.icon = gaugeIcon;
    panel.title.caption = trans.__('Privacy budget');
    app.shell.add(panel, 'right', { rank: 900 });
    const open = (): void => {
      app.shell.activateById(panel.id);
      labShell?.expandRight();
    };
    if (statusBar !== null) {
      const item = new StatusItem(current, open, trans);
      item.id = 'dpjupyter-status';
      statusBar.registerStatusItem(item.id, { item, align: 'right', rank: 10 });
    }

    // ------------------------------------------------------------ commands and settings
    const category = trans.__('Privacy budget');
    app.commands.addCommand(OPEN, { label: trans.__('Show the privacy budget'), execute: open });
    app.commands.addCommand(REFRESH, {
      label: trans.__('Refresh the privacy budget'),
      execute: refresh
    });
    let loaded: ISettingRegistry.ISettings | null = null;
    app.commands.addCommand(TOGGLE_CHIP, {
      label: trans.__('Show the price below %%dpsql cells'),
      isToggled: () => options.isChipOn,
      execute: () => {
        options.isChipOn = !options.isChipOn;
        void loaded?.set('priceChip', options.isChipOn);
        stale.emit();
      }
    });
    for (const command of [OPEN, REFRESH, TOGGLE_CHIP]) {
      palette?.addItem({ command, category });
    }
    const apply = (given: ISettingRegistry.ISettings): void => {
      options.isChipOn = given.composite['priceChip'] !== false;
      options.areSquigglesOn = given.composite['squiggles'] !== false;
      store.setPollSeconds(Number(given.composite['pollIntervalSeconds']) || 30);
      app.commands.notifyCommandChanged(TOGGLE_CHIP);
      stale.emit();
    };
    void settings?.load(ID).then(
      given => {
        loaded = given;
        given.changed.connect(apply);
        apply(given);
      },
      (error: unknown) => {
        console.warn('dpjupyter: settings could not be read; defaults are used.', error);
      }
    );
    void app.restored.then(() => store.start());
  }
};

/** Who prices the cells of a notebook; nobody while its gateway is unknown or away. */
function quoterOf(
  current: Current,
  kernels: Kernels,
  store: Store,
  relay: Relay,
  panel: NotebookPanel,
  cell: IMagicCell
): IQuoter | 'offline' | null {
  const { connection, database, snapshot, defaults } = current.of(panel);
  const asked =
    cell.database === null ? database : databaseNamed(snapshot?.catalog ?? null, cell.database);
  if (snapshot?.state === 'offline') {
    return 'offline';
  }
  if (connection === null || snapshot?.state !== 'ready' || asked === null) {
    return null;
  }
  return {
    startEpsilon: asked.default_epsilon,
    confidence: defaults.confidence,
    isConnected: kernels.announced(panel) !== null,
    values: names => kernels.values(panel, names),
    quote: async (priced: IMagicCell, signal: AbortSignal) => {
      try {
        const reply = await relay.quote(connection, request(priced, asked, defaults), signal);
        store.sawChecksum(connection, asked.name, reply.checksum);
        return reply;
      } catch (error) {
        if (error instanceof Offline && !error.isBusy) {
          store.lost(connection, error.message);
        }
        throw error;
      }
    }
  };
}

/** Changes when a price might: another database, another balance, online again. */
function fingerprint({ connection, database, snapshot }: ReturnType<Current['get']>): string {
  const rows =
    snapshot?.budgets.map(row => [row.table_name, row.analyst, row.residual_budget]) ?? [];
  const saved = database?.saved.map(table => [table.name, table.time]) ?? [];
  return JSON.stringify([
    connection,
    database?.name,
    database?.sha256sum,
    snapshot?.state,
    rows,
    saved
  ]);
}

export default plugin;
