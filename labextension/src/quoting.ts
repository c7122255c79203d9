/**
 * Prices and refusals in the cell: one quote per pause in typing feeds both the chip below the query and the
 * squiggles in it. A quote reads the query text and the policy, never data, and costs nothing.
 */

import { type Diagnostic, linter, nextDiagnostic, setDiagnostics } from '@codemirror/lint';
import {
  type EditorState,
  type Extension,
  StateEffect,
  StateField,
  type Text
} from '@codemirror/state';
import {
  type EditorView,
  keymap,
  type Panel,
  showPanel,
  ViewPlugin,
  type ViewUpdate
} from '@codemirror/view';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ISignal } from '@lumino/signaling';

import { Offline, Refused } from './api';
import { startOf } from './highlight';
import type { IDefaults, Value } from './kernels';
import { type IMagicCell, placeholders, read } from './magic';
import { halfWidth, type IChip, type IRefusal, priced, refused } from './price';
import type { ICatalogDatabase, IQueryRequest, IQuoteReply } from './wire';

/** Pause in typing after which a quote is asked for. */
export const PAUSE_MS = 400;
/** Quotes spent on --within beyond the first. */
const WITHIN_ROUNDS = 2;

/** Who answers for a cell. */
export interface IQuoter {
  quote(cell: IMagicCell, signal: AbortSignal): Promise<IQuoteReply>;
  /** Values of the notebook's variables, for placeholders. */
  values(names: readonly string[]): Promise<Record<string, Value>>;
  /** Where --within begins to look for an epsilon. */
  readonly startEpsilon: number;
  /** Of the intervals shown, where the cell does not say. */
  readonly confidence: number;
  /** Whether the notebook's kernel has connected: the price is known before, the answer is not to be had. */
  readonly isConnected: boolean;
}

/** What the editors need from the rest of the extension. */
export interface IQuoting {
  /** Who prices a cell; 'offline' while its gateway is away; null where none is known. */
  quoter(view: EditorView, cell: IMagicCell): IQuoter | 'offline' | null;
  readonly trans: TranslationBundle;
  readonly isChipOn: boolean;
  readonly areSquigglesOn: boolean;
  /** Budgets or settings changed: prices shown may be out of date. */
  readonly stale: ISignal<unknown, void>;
}

/** The request a cell stands for: its options over the notebook's defaults, as the kernel will send it. */
export function request(
  cell: IMagicCell,
  asked: ICatalogDatabase,
  defaults: IDefaults
): IQueryRequest {
  const mechanism = cell.dpconfig.dp_method ?? defaults.mechanism;
  const { epsilon, delt, answers } = cell.dpconfig.budget_setting ?? {};
  return {
    sql: cell.sql,
    dbconfig: {
      prefix: asked.prefix,
      database: asked.name,
      queryOption: { skip_cache: cell.skipCache }
    },
    queryconfig: cell.queryconfig,
    dpconfig: {
      ...cell.dpconfig,
      dp_method: mechanism,
      budget_setting: {
        epsilon: epsilon ?? defaults.epsilon,
        delt: delt ?? defaults.delta,
        answers: answers ?? {}
      }
    }
  };
}

/** Where a refusal is, in the whole cell. Without a place: the first word of the query. */
export function rangeOf(doc: Text, start: number, refusal: IRefusal): { from: number; to: number } {
  const { line, column, length } = refusal.info;
  const first = doc.lineAt(start).number;
  if (line !== null && column !== null && first + line - 1 <= doc.lines) {
    const at = doc.line(first + line - 1);
    // The gateway counts characters, the editor UTF-16 units.
    const characters = Array.from(at.text);
    const from = at.from + characters.slice(0, column - 1).join('').length;
    const to =
      from + characters.slice(column - 1, column - 1 + Math.max(1, length ?? 1)).join('').length;
    if (to > from) {
      return { from, to };
    }
    return { from: Math.max(at.from, at.to - 1), to: Math.max(at.from, at.to) };
  }
  const word = /\S+/.exec(doc.sliceString(start));
  return word === null
    ? { from: start, to: start }
    : { from: start + word.index, to: start + word.index + word[0].length };
}

/** The editor extension: chip and squiggles. */
export function quoting(context: IQuoting): Extension {
  const plugin = ViewPlugin.define(view => new Quotes(view, context));
  return [chipField, plugin, keymap.of([{ key: 'F8', run: nextDiagnostic }]), linter(null)];
}

interface IShown {
  chip: IChip | null;
  isPending: boolean;
}

const showChip = StateEffect.define<IShown>();
const HIDDEN: IShown = { chip: null, isPending: false };

const chipField = StateField.define<IShown>({
  create: () => HIDDEN,
  update: (shown, transaction) => {
    for (const effect of transaction.effects) {
      if (effect.is(showChip)) {
        shown = effect.value;
      }
    }
    return shown;
  },
  provide: field => showPanel.from(field, shown => (shown.chip === null ? null : chipPanel))
});

/** The chip's element: stays the same while its text changes, so nothing jumps and screen readers hear changes. */
function chipPanel(view: EditorView): Panel {
  const dom = document.createElement('div');
  dom.className = 'dpj-chip';
  dom.setAttribute('role', 'status');
  const text = document.createElement('span');
  text.className = 'dpj-chip-text';
  dom.append(text);
  const render = (state: EditorState): void => {
    const { chip, isPending } = state.field(chipField);
    if (chip !== null) {
      text.textContent = chip.text;
      text.title = chip.detail;
      dom.dataset['tone'] = chip.tone;
      dom.dataset['pending'] = String(isPending);
    }
  };
  render(view.state);
  return {
    dom,
    update: update => {
      if (update.startState.field(chipField) !== update.state.field(chipField)) {
        render(update.state);
      }
    }
  };
}

/** One editor's quotes: at most one on its way, the newest. */
class Quotes {
  constructor(
    private readonly _view: EditorView,
    private readonly _context: IQuoting
  ) {
    _context.stale.connect(this._onStale);
    if (startOf(_view.state) !== null) {
      this._schedule(0);
    }
  }

  update(update: ViewUpdate): void {
    if (update.docChanged) {
      this._schedule(PAUSE_MS);
    } else if (update.focusChanged && update.view.hasFocus && this._isStale) {
      this._schedule(0);
    }
  }

  destroy(): void {
    this._context.stale.disconnect(this._onStale);
    this._cancel();
  }

  private readonly _onStale = (): void => {
    this._isStale = true;
    // A cell nobody looks at waits until it is looked at.
    if (this._view.dom.isConnected && this._view.dom.offsetParent !== null) {
      this._schedule(PAUSE_MS);
    }
  };

  private _schedule(afterMs: number): void {
    this._cancel();
    this._timer = setTimeout(() => {
      void this._ask();
    }, afterMs);
  }

  private _cancel(): void {
    clearTimeout(this._timer);
    this._asking?.abort();
    this._asking = null;
  }

  private async _ask(): Promise<void> {
    const { _view: view, _context: context } = this;
    const cell = read(view.state.doc.toString());
    const quoter =
      cell === null || !(context.isChipOn || context.areSquigglesOn)
        ? null
        : context.quoter(view, cell);
    if (cell === null || quoter === null) {
      this._show(null, null, 0);
      return;
    }
    const { trans } = context;
    if (quoter === 'offline') {
      this._isStale = true;
      this._show(quiet(trans.__('offline')), null, 0);
      return;
    }
    if (bare(cell.sql) === '') {
      this._show(quiet(trans.__('Write a query: its price appears here')), null, 0);
      return;
    }
    if (cell.isOnTwin) {
      this._show({ tone: 'free', text: trans.__('free: synthetic data'), detail: '' }, null, 0);
      return;
    }
    const shown = view.state.field(chipField).chip;
    this._put(shown ?? quiet(trans.__('Pricing …')), true);
    const asking = new AbortController();
    this._asking = asking;
    try {
      const bound = await this._bound(cell, quoter);
      if (this._asking !== asking) {
        return;
      }
      if (typeof bound === 'string') {
        this._show(
          quiet(
            trans.__(
              'The price depends on :%1, known when the cell runs; or add --param %1=…',
              bound
            )
          ),
          null,
          0
        );
        return;
      }
      const quote = await solved(bound, quoter, asking.signal);
      if (this._asking === asking) {
        this._isStale = false;
        const chip = priced(quote, cell.confidence ?? quoter.confidence, trans);
        if (!quoter.isConnected) {
          const first = trans.__('first: %load_ext dpjupyter, then %dpsql connect');
          chip.text = `${chip.text} · ${first}`;
        }
        this._show(chip, null, cell.sqlStart);
      }
    } catch (error) {
      if (this._asking !== asking) {
        return; // a newer question is on its way
      }
      if (error instanceof Refused) {
        const refusal = { message: error.message, info: error.info };
        this._isStale = false;
        this._show(refused(refusal), refusal, cell.sqlStart);
      } else if (error instanceof Offline) {
        this._isStale = true;
        this._show(quiet(error.isBusy ? trans.__('busy') : trans.__('offline')), null, 0);
      } else if (!(error instanceof DOMException)) {
        throw error;
      }
    } finally {
      if (this._asking === asking) {
        this._asking = null;
      }
    }
  }

  /** The cell with the notebook's values for its placeholders, or the name of one that has none. */
  private async _bound(cell: IMagicCell, quoter: IQuoter): Promise<IMagicCell | string> {
    const given = cell.queryconfig.parameters ?? {};
    const open = placeholders(cell.sql).filter(name => !(name in given));
    if (open.length === 0) {
      return cell;
    }
    const values = await quoter.values(open);
    const parameters = { ...given, ...values };
    return (
      open.find(name => !(name in parameters)) ?? {
        ...cell,
        queryconfig: { ...cell.queryconfig, parameters }
      }
    );
  }

  private _show(chip: IChip | null, refusal: IRefusal | null, start: number): void {
    this._put(chip, false);
    const diagnostics: Diagnostic[] = [];
    if (refusal !== null && this._context.areSquigglesOn) {
      diagnostics.push({
        ...rangeOf(this._view.state.doc, start, refusal),
        severity: 'error',
        message: message(refusal),
        source: refusal.info.type
      });
    }
    if (diagnostics.length > 0 || this._hasDiagnostics) {
      this._hasDiagnostics = diagnostics.length > 0;
      this._view.dispatch(setDiagnostics(this._view.state, diagnostics));
    }
  }

  private _put(chip: IChip | null, isPending: boolean): void {
    const next = this._context.isChipOn ? chip : null;
    const now = this._view.state.field(chipField);
    if (now.chip !== next || now.isPending !== isPending) {
      this._view.dispatch({ effects: showChip.of({ chip: next, isPending }) });
    }
  }

  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _asking: AbortController | null = null;
  private _isStale = true;
  private _hasDiagnostics = false;
}

/**
 * The quote of a cell. With --within the kernel solves for epsilon by quoting again and again; half-widths fall
 * about as 1/epsilon, so that few rounds come near enough to show.
 */
async function solved(
  cell: IMagicCell,
  quoter: IQuoter,
  signal: AbortSignal
): Promise<IQuoteReply> {
  const wanted = cell.within;
  if (Object.keys(wanted).length === 0) {
    return quoter.quote(cell, signal);
  }
  const confidence = cell.confidence ?? quoter.confidence;
  const setting = { ...cell.dpconfig.budget_setting, epsilon: quoter.startEpsilon };
  const answers = { ...setting.answers };
  let quote = await quoter.quote(
    { ...cell, dpconfig: { ...cell.dpconfig, budget_setting: setting } },
    signal
  );
  for (let round = 0; round < WITHIN_ROUNDS; round++) {
    const missed = quote.utility.flatMap(column => {
      const width = halfWidth(column, confidence);
      const limit = wanted[column.name] ?? wanted[''];
      return column.derived || width === null || width === 0 || limit === undefined
        ? []
        : [{ name: column.name, ratio: width / limit }];
    });
    if (missed.length === 0) {
      return quote;
    }
    if ('' in wanted) {
      setting.epsilon *= Math.max(...missed.map(each => each.ratio));
    } else {
      for (const { name, ratio } of missed) {
        answers[name] = { epsilon: (answers[name]?.epsilon ?? setting.epsilon) * ratio };
      }
    }
    const dpconfig = { ...cell.dpconfig, budget_setting: { ...setting, answers } };
    quote = await quoter.quote({ ...cell, dpconfig }, signal);
  }
  return quote;
}

function message(refusal: IRefusal): string {
  return refusal.info.hint === '' ? refusal.message : `${refusal.message}\n${refusal.info.hint}`;
}

function quiet(text: string): IChip {
  return { tone: 'quiet', text, detail: text };
}

/** The query without comments and space. */
function bare(sql: string): string {
  return sql.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, '').trim();
}
