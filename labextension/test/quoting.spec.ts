/** Chip and squiggles in a real CodeMirror editor; time is faked. */

import { diagnosticCount, forEachDiagnostic } from '@codemirror/lint';
import { python } from '@codemirror/lang-python';
import { ensureSyntaxTree } from '@codemirror/language';
import { EditorState, Text } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';

import { Offline, Refused } from '../src/api';
import { sqlHighlighting } from '../src/highlight';
import { DEFAULTS } from '../src/kernels';
import { type IMagicCell, read } from '../src/magic';
import { type IQuoter, type IQuoting, PAUSE_MS, quoting, rangeOf, request } from '../src/quoting';
import type { ICatalogDatabase, IQuoteReply } from '../src/wire';
import { catalog, quote } from './samples';

const info = {
  type: 'UnknownName',
  hint: 'Did you mean t?',
  request_id: '',
  line: 1,
  column: 15,
  length: 6
};
const database = catalog.databases[0] as ICatalogDatabase;

interface IAsked {
  cell: IMagicCell;
  signal: AbortSignal;
  answer: (reply: IQuoteReply) => void;
  fail: (error: Error) => void;
}

let asked: IAsked[];
let view: EditorView;
let context: { -readonly [name in keyof IQuoting]: IQuoting[name] };
let stale: Signal<object, void>;

function edit(doc: string): void {
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: doc } });
}

const chip = (): HTMLElement | null => view.dom.querySelector('.dpj-chip');
const wait = (ms = PAUSE_MS + 1): Promise<void> => jest.advanceTimersByTimeAsync(ms);

let isConnected = true;

beforeEach(() => {
  jest.useFakeTimers();
  asked = [];
  isConnected = true;
  stale = new Signal<object, void>({});
  const quoter: IQuoter = {
    startEpsilon: 0.9,
    get isConnected() {
      return isConnected;
    },
    confidence: 0.95,
    values: names => Promise.resolve(names.includes('known') ? { known: 60 } : {}),
    quote: (cell, signal) =>
      new Promise((answer, fail) => {
        signal.addEventListener('abort', () => {
          fail(new DOMException('aborted', 'AbortError'));
        });
        asked.push({ cell, signal, answer, fail });
      })
  };
  context = {
    trans: nullTranslator.load('dpjupyter'),
    stale,
    isChipOn: true,
    areSquigglesOn: true,
    quoter: () => quoter
  };
  view = new EditorView({
    state: EditorState.create({ doc: '', extensions: [quoting(context)] }),
    parent: document.body
  });
});

afterEach(() => {
  view.destroy();
  jest.useRealTimers();
});

describe('quotes', () => {
  it('say what to run first where the kernel has not connected', async () => {
    isConnected = false;
    edit('%%dpsql\nSELECT COUNT(*) FROM t');
    await wait();
    asked[0]?.answer(quote);
    await wait(0);
    expect(chip()?.textContent).toMatch(
      /^ε 1\.8 .* first: %load_ext dpjupyter, then %dpsql connect$/
    );
  });

  it('are asked for once typing pauses, and shown', async () => {
    for (const doc of ['%%dpsql\nS', '%%dpsql\nSE', '%%dpsql\nSELECT COUNT(*) FROM t']) {
      edit(doc);
      await wait(PAUSE_MS / 2);
    }
    expect(asked).toHaveLength(0);
    await wait();
    expect(asked).toHaveLength(1);
    expect(asked[0]?.cell.sql).toBe('SELECT COUNT(*) FROM t');
    asked[0]?.answer(quote);
    await wait(0);
    expect(chip()?.textContent).toContain('ε 1.8 · n ± 3.3');
    expect(chip()?.getAttribute('role')).toBe('status');
  });

  it('are cancelled when stale; a late answer is not shown', async () => {
    edit('%%dpsql\nSELECT 1');
    await wait();
    edit('%%dpsql\nSELECT 2');
    expect(asked[0]?.signal.aborted).toBe(true);
    asked[0]?.answer({ ...quote, cached: true });
    await wait();
    expect(chip()?.textContent).not.toContain('already answered');
    expect(asked).toHaveLength(2);
    asked[1]?.answer(quote);
    await wait(0);
    expect(chip()?.textContent).toContain('ε 1.8');
  });

  it('are cancelled when the editor goes away', async () => {
    edit('%%dpsql\nSELECT 1');
    await wait();
    view.destroy();
    expect(asked[0]?.signal.aborted).toBe(true);
    stale.emit();
    await wait();
    expect(asked).toHaveLength(1);
  });

  it('are not asked for other cells, empty queries, missing values and the twin', async () => {
    for (const [doc, text] of [
      ['SELECT = 1', undefined],
      ['%%dpsql\n  -- soon', 'Write a query: its price appears here'],
      [
        '%%dpsql\nSELECT :x',
        'The price depends on :x, known when the cell runs; or add --param x=…'
      ],
      ['%%dpsql --synthetic\nSELECT 1', 'free: synthetic data']
    ] as const) {
      edit(doc);
      await wait();
      expect(chip()?.textContent).toBe(text);
    }
    expect(asked).toHaveLength(0);
  });

  it('take values of placeholders from the notebook, those of the cell first', async () => {
    edit('%%dpsql --param own=1\nSELECT :known, :own');
    await wait();
    expect(asked[0]?.cell.queryconfig.parameters).toEqual({ known: 60, own: 1 });
  });

  it('are repeated for the --within they are to reach', async () => {
    edit('%%dpsql --within 33\nSELECT 1');
    await wait();
    asked[0]?.answer(quote); // n ± 3.3, fare ± 0.72 at epsilon 0.9
    await wait(0);
    expect(asked[1]?.cell.dpconfig.budget_setting?.epsilon).toBeCloseTo(0.09);
    const wider = quote.utility.map(each => ({
      ...each,
      half_width: Object.fromEntries(Object.entries(each.half_width).map(([k, v]) => [k, v * 10]))
    }));
    asked[1]?.answer({ ...quote, utility: wider });
    await wait(0);
    asked[2]?.answer({ ...quote, utility: wider });
    await wait(0);
    expect(chip()?.textContent).toContain('n ± 33');
    expect(asked).toHaveLength(3);
  });

  it('leave no chip where nobody is connected, and one word while offline', async () => {
    context.quoter = () => null;
    edit('%%dpsql\nSELECT 1');
    await wait();
    expect(chip()).toBeNull();
    context.quoter = () => 'offline';
    edit('%%dpsql\nSELECT 12');
    await wait();
    expect(chip()?.textContent).toBe('offline');
    expect(asked).toHaveLength(0);
  });

  it('say offline or busy when that is the answer', async () => {
    edit('%%dpsql\nSELECT 1');
    await wait();
    asked[0]?.fail(new Offline('away'));
    await wait(0);
    expect(chip()?.textContent).toBe('offline');
    edit('%%dpsql\nSELECT 12');
    await wait();
    asked[1]?.fail(new Offline('busy', true));
    await wait(0);
    expect(chip()?.textContent).toBe('busy');
  });
});

describe('refusals', () => {
  const refuse = async (): Promise<void> => {
    edit('%%dpsql\nSELECT 1 FROM nobody');
    await wait();
    asked.at(-1)?.fail(new Refused('No table is called nobody.', 404, info));
    await wait(0);
  };

  it('are underlined where they are, with the hint', async () => {
    await refuse();
    const found: string[] = [];
    forEachDiagnostic(view.state, (diagnostic, from, to) => {
      found.push(`${view.state.sliceDoc(from, to)}: ${diagnostic.message}`);
    });
    expect(found).toEqual(['nobody: No table is called nobody.\nDid you mean t?']);
    expect(chip()?.dataset['tone']).toBe('refused');
  });

  it('go when they are mended, and when the cell becomes another', async () => {
    await refuse();
    edit('%%dpsql\nSELECT 1 FROM t');
    await wait();
    asked.at(-1)?.answer(quote);
    await wait(0);
    expect(diagnosticCount(view.state)).toBe(0);
    await refuse();
    edit('x = 1');
    await wait();
    expect(diagnosticCount(view.state)).toBe(0);
    expect(chip()).toBeNull();
  });

  it('can be switched off, as can the chip', async () => {
    context.areSquigglesOn = false;
    await refuse();
    expect(diagnosticCount(view.state)).toBe(0);
    expect(chip()).not.toBeNull();
    context.isChipOn = false;
    context.areSquigglesOn = true;
    await refuse();
    expect(diagnosticCount(view.state)).toBe(1);
    expect(chip()).toBeNull();
  });
});

describe('rangeOf', () => {
  const place = (
    text: string,
    line: number | null,
    column: number | null,
    length: number | null
  ): string => {
    const doc = Text.of(text.split('\n'));
    const { from, to } = rangeOf(doc, doc.line(2).from, {
      message: '',
      info: { ...info, line, column, length }
    });
    return doc.sliceString(from, to);
  };

  it('counts lines from the query and columns in characters', () => {
    expect(place('%%dpsql\nSELECT a,\n  b', 2, 3, 1)).toBe('b');
    expect(place("%%dpsql\nSELECT '🌍', nobody", 1, 13, 6)).toBe('nobody');
  });

  it('falls back to something visible', () => {
    expect(place('%%dpsql\nSELECT a', null, null, null)).toBe('SELECT');
    expect(place('%%dpsql\nSELECT a', 1, 99, 3)).toBe('a');
    expect(place('%%dpsql\nSELECT a', 9, 1, 3)).toBe('SELECT');
  });
});

describe('request', () => {
  it('puts the cell over the notebook defaults', () => {
    const cell = read('%%dpsql --epsilon 2 --no-cache\nSELECT 1') as IMagicCell;
    const made = request(cell, database, {
      ...DEFAULTS,
      epsilon: 0.1,
      mechanism: 'Gauss',
      delta: 1e-9
    });
    expect(made).toMatchObject({
      sql: 'SELECT 1',
      dbconfig: { prefix: 'demo', database: 'titanic', queryOption: { skip_cache: true } },
      dpconfig: { dp_method: 'Gauss', budget_setting: { epsilon: 2, delt: 1e-9 } }
    });
  });
});

describe('highlighting', () => {
  const keywords = async (doc: string): Promise<string[]> => {
    jest.useRealTimers();
    const editor = new EditorView({
      state: EditorState.create({ doc: '', extensions: [python(), sqlHighlighting()] })
    });
    editor.dispatch({ changes: { from: 0, insert: doc } });
    await Promise.resolve();
    const tree = ensureSyntaxTree(editor.state, doc.length, 1000);
    const found = [...doc.matchAll(/[A-Z]+/g)]
      .filter(word => tree?.resolveInner(word.index, 1).name === 'Keyword')
      .map(word => `${word[0]}@${word.index}`);
    editor.destroy();
    return found;
  };

  it('reads SQL below the first line of our cells only', async () => {
    await expect(keywords('%%dpsql SELECT\nSELECT a FROM t')).resolves.toEqual([
      'SELECT@15',
      'FROM@24'
    ]);
    await expect(keywords('SELECT = FROM')).resolves.toEqual([]);
  });
});
