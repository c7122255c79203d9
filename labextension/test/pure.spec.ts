/** What the pure modules say: formats, magic cells, budgets, prices, proposals. */

import { nullTranslator } from '@jupyterlab/translation';

import { database, rowsOf, tightest } from '../src/budget';
import { describe as described, propose } from '../src/complete';
import { level, number, percent, recovery, share, sqlName, sqlValue, utc } from '../src/format';
import { isMagic, placeholders, read, sqlStart } from '../src/magic';
import { priced, refused } from '../src/price';
import type { ICatalogDatabase, IQuoteReply } from '../src/wire';
import { budgetRow, catalog, quote } from './samples';

const trans = nullTranslator.load('dpjupyter');

describe('format', () => {
  it.each([
    [0.9, '0.9'],
    [12.345, '12.3'],
    [4560.7, '4,561'],
    [0, '0'],
    [0.00012, '1.2e-4'],
    [1e12, '1.0e+12'],
    [NaN, '–']
  ])('writes %p as %p', (value, text) => {
    expect(number(value)).toBe(text);
  });

  it('never says 0% of something', () => {
    expect([percent(0), percent(0.001), percent(0.094), percent(1)]).toEqual([
      '0%',
      '<1%',
      '9%',
      '100%'
    ]);
  });

  it('keeps shares within 0 and 1', () => {
    expect([share(5, 10), share(-1, 10), share(11, 10), share(1, 0)]).toEqual([0.5, 0, 1, 0]);
    expect([level(1), level(0.3), level(0.05)]).toEqual(['good', 'low', 'out']);
  });

  it('counts down to recovery, in UTC', () => {
    const now = utc('2026-01-01 00:00:00');
    expect(recovery('2026-01-04 05:00:00', now, trans)).toBe('recovers in 4 d');
    expect(recovery('2026-01-03 05:00:00', now, trans)).toBe('recovers in 2 d 5 h');
    expect(recovery('2026-01-02 00:00:00', now, trans)).toBe('recovers in 1 d');
    expect(recovery('2026-01-01 02:30:00', now, trans)).toBe('recovers in 2 h 30 min');
    expect(recovery('2026-01-01 00:00:10', now, trans)).toBe('recovers in 1 min');
    expect(recovery('2025-01-01 00:00:00', now, trans)).toBe('recovers any moment');
    expect(recovery('', now, trans)).toBe('');
  });

  it('quotes names and values only where SQL needs it', () => {
    expect([sqlName('fare'), sqlName('two words'), sqlName('a"b')]).toEqual([
      'fare',
      '"two words"',
      '"a""b"'
    ]);
    expect([sqlValue("O'Hara"), sqlValue(3), sqlValue(null), sqlValue(true)]).toEqual([
      "'O''Hara'",
      '3',
      'NULL',
      'true'
    ]);
  });
});

describe('magic cells', () => {
  it.each(['%%dpsql\nSELECT 1', '%%dpsql', '\n%%dpsql x <<\n', '%%dpsql --epsilon 1\nSELECT'])(
    'knows %p',
    text => {
      expect(isMagic(text)).toBe(true);
    }
  );

  it.each([
    '%dpsql tables',
    'x = 1',
    '%%dpsqlx\nSELECT',
    '# %%dpsql',
    'a\n%%dpsql',
    '%%time\n%%dpsql'
  ])('leaves %p alone', text => {
    expect(isMagic(text)).toBe(false);
    expect(read(text)).toBeNull();
  });

  it('reads the options', () => {
    const cell = read(
      "%%dpsql out << --epsilon 0.5 --delta=1e-8 --mechanism gauss --answers n=0.2,fare=1 --max-rows 3 --max-groups 2 --param x=3 --param who='Ann B' --no-cache --within 50 --confidence 0.9\nSELECT 1"
    );
    expect(cell?.sql).toBe('SELECT 1');
    expect(cell?.dpconfig).toEqual({
      dp_method: 'Gauss',
      max_rows: 3,
      max_groups: 2,
      budget_setting: {
        epsilon: 0.5,
        delt: 1e-8,
        answers: { n: { epsilon: 0.2 }, fare: { epsilon: 1 } }
      }
    });
    expect(cell?.queryconfig).toEqual({ parameters: { x: 3, who: 'Ann B' } });
    expect([cell?.skipCache, cell?.within, cell?.confidence]).toEqual([true, { '': 50 }, 0.9]);
    expect(
      read('%%dpsql --within n=5,fare=1 --confidence 95% --database demo/shop\n')
    ).toMatchObject({
      within: { n: 5, fare: 1 },
      confidence: 0.95,
      database: 'demo/shop'
    });
  });

  it('knows what runs on the twin alone', () => {
    expect(read('%%dpsql --synthetic\n')?.isOnTwin).toBe(true);
    expect(read('%%dpsql --rehearse --epsilon 2\n')).toMatchObject({
      isOnTwin: true,
      dpconfig: { budget_setting: { epsilon: 2 } }
    });
    expect(read('%%dpsql --rehearse 5 --epsilon 2\n')?.dpconfig.budget_setting?.epsilon).toBe(2);
    expect(read('%%dpsql --epsilon 2\n')?.isOnTwin).toBe(false);
  });

  it('ignores what it does not understand: the kernel will say so', () => {
    expect(
      read('%%dpsql --epsilon --nonsense --max-rows many\nSELECT 1')?.dpconfig.max_rows
    ).toBeUndefined();
    expect(read('%%dpsql --param\n')?.queryconfig.parameters).toBeUndefined();
  });

  it('finds where the SQL begins', () => {
    expect(sqlStart('%%dpsql a <<\nSELECT')).toBe(13);
    expect(sqlStart('%%dpsql')).toBe(7);
    const cell = read('\n%%dpsql --epsilon 1\nSELECT 1');
    expect(cell?.optionsStart).toBe(8);
    expect(cell?.sqlStart).toBe(21);
  });

  it('finds placeholders, not casts, strings or comments', () => {
    expect(
      placeholders(
        'SELECT x::INT, \':no\', ":no" -- :no\n/* :no */ FROM t WHERE a > :low AND b < :high AND c = :low'
      )
    ).toEqual(['low', 'high']);
  });
});

describe('budgets', () => {
  const rows = [
    budgetRow({ table_name: 'b' }),
    budgetRow({ table_name: 'a' }),
    budgetRow({ table_name: '*' }),
    budgetRow({ db_name: 'other' })
  ];
  const asked = catalog.databases[0] as ICatalogDatabase;

  it('shows the database first, then its tables', () => {
    expect(rowsOf(rows, asked).map(row => row.table_name)).toEqual(['*', 'a', 'b']);
  });

  it('finds the database under both spellings', () => {
    expect(database(catalog, null)?.name).toBe('titanic');
    expect(database(catalog, 'titanic')?.name).toBe('titanic');
    expect(database(catalog, 'demo/titanic')?.name).toBe('titanic');
    expect(database(catalog, 'nowhere')).toBeNull();
    expect(database(null, null)).toBeNull();
  });

  it('shows the row that runs out first, the analyst own quota included, not that of others', () => {
    const wide = budgetRow({ table_name: '*', residual_budget: 8 });
    const mine = budgetRow({ table_name: '*', residual_budget: 3, analyst: 'ada' });
    const others = budgetRow({ table_name: '*', residual_budget: 1, analyst: 'eve' });
    const table = budgetRow({ table_name: 'passengers', residual_budget: 0 });
    expect(tightest([wide, mine, others, table], 'ada')).toBe(mine);
    const small = budgetRow({
      table_name: '*',
      total_budget: 2,
      residual_budget: 2,
      analyst: 'ada'
    });
    const large = budgetRow({ table_name: '*', total_budget: 9, residual_budget: 9 });
    expect(tightest([large, small], 'ada')).toBe(small); // both whole: the smaller is spent first
    expect(tightest([table], 'ada')).toBe(table);
    expect(tightest([], 'ada')).toBeNull();
  });
});

describe('price', () => {
  const chip = (change: Partial<IQuoteReply>) => priced({ ...quote, ...change }, 0.95, trans);

  it('says cost, expected error and share of the balance', () => {
    expect(chip({})).toMatchObject({
      tone: 'price',
      text: 'ε 1.8 · n ± 3.3 · fare ± 0.72 · 18% of balance'
    });
  });

  it('says when it is free', () => {
    expect(chip({ cached: true }).text).toMatch(/^free: already answered · n ± 3.3/);
    expect(chip({ privacy: { ...quote.privacy, epsilon: 0, tables: [] } }).tone).toBe('free');
  });

  it('says when the budget cannot pay', () => {
    const tables = quote.privacy.tables.map(row => ({ ...row, before: 0.4, affordable: false }));
    expect(chip({ affordable: false, privacy: { ...quote.privacy, tables } })).toMatchObject({
      tone: 'refused',
      text: 'ε 1.8 is more than the 0.4 left'
    });
  });

  it('warns of unmetered answers and of large shares', () => {
    const tables = quote.privacy.tables.map(row => ({ ...row, unmetered: true }));
    expect(chip({ privacy: { ...quote.privacy, tables } }).text).toContain('unmetered');
    const large = quote.privacy.tables.map(row => ({ ...row, before: 2 }));
    expect(chip({ privacy: { ...quote.privacy, tables: large } }).tone).toBe('low');
  });

  it('shortens many columns and keeps them all in the detail', () => {
    const utility = ['a', 'b', 'c', 'd'].map(name => ({
      name,
      mechanism: '',
      scale: null,
      epsilon: null,
      half_width: { '0.95': 1 },
      derived: false
    }));
    expect(chip({ utility }).text).toContain('a ± 1 · b ± 1 · 2 more');
    expect(chip({ utility }).detail).toContain('d ± 1');
  });

  it('shows message and hint of a refusal', () => {
    const info = {
      type: 'UnsupportedSQL',
      hint: 'Name the columns.',
      request_id: '',
      line: 1,
      column: 8,
      length: 1
    };
    expect(refused({ message: 'SELECT * shows rows.', info }).text).toBe(
      'SELECT * shows rows. Name the columns.'
    );
  });
});

describe('proposals', () => {
  const asked = catalog.databases[0] as ICatalogDatabase;
  const at = (text: string) => {
    const offset = text.indexOf('|');
    const found = propose(text.replace('|', ''), offset, asked);
    return {
      ...found,
      labels: found.items.map(item => item.label),
      replaced: text.slice(found.start, offset)
    };
  };

  it('proposes options on the first line', () => {
    expect(at('%%dpsql --ma|\nSELECT 1').labels).toEqual(['--max-rows', '--max-groups']);
    expect(at('%%dpsql --mechanism ga|\n')).toMatchObject({ labels: ['gauss'], replaced: 'ga' });
  });

  it('proposes tables behind FROM and JOIN', () => {
    expect(at('%%dpsql\nSELECT 1 FROM |').labels).toEqual(['passengers', 'ports', 'saved.classes']);
    expect(at('%%dpsql\nSELECT 1 FROM pas|')).toMatchObject({
      labels: ['passengers'],
      replaced: 'pas'
    });
  });

  it('proposes the columns of an alias', () => {
    expect(at('%%dpsql\nSELECT p.| FROM passengers AS p').labels).toEqual([
      'pclass',
      'fare',
      'two words'
    ]);
    expect(at('%%dpsql\nSELECT ports.| FROM passengers').labels).toEqual(['port']);
    expect(at('%%dpsql\nSELECT nobody.| FROM passengers').labels).toEqual([]);
  });

  it('proposes what was kept with --save, and its columns', () => {
    expect(at('%%dpsql\nSELECT 1 FROM sav|').items[0]).toMatchObject({
      label: 'saved.classes',
      insert: 'saved.classes'
    });
    expect(at('%%dpsql\nSELECT 1 FROM saved.|').items[0]).toMatchObject({
      label: 'classes',
      insert: 'classes'
    });
    expect(at('%%dpsql\nSELECT c.| FROM saved.classes AS c').labels).toEqual(['pclass', 'n']);
    expect(at('%%dpsql\nSELECT classes.| FROM saved.classes').labels).toEqual(['pclass', 'n']);
    expect(at('%%dpsql\nSELECT saved.classes.| FROM passengers').labels).toEqual(['pclass', 'n']);
  });

  it('proposes columns of the tables in use before anything else, then functions and keywords', () => {
    expect(at('%%dpsql\nSELECT f| FROM passengers').labels).toEqual([
      'fare',
      'FLOOR',
      'FROM',
      'FULL',
      'FALSE'
    ]);
  });

  it('quotes names that need it', () => {
    expect(at('%%dpsql\nSELECT two| FROM passengers').items[0]?.insert).toBe('"two words"');
  });

  it('stays silent in strings, comments and other cells', () => {
    expect(at("%%dpsql\nSELECT 'fa|").labels).toEqual([]);
    expect(at('%%dpsql\nSELECT 1 -- fa|').labels).toEqual([]);
    expect(at('%%dpsql\nSELECT /* fa|').labels).toEqual([]);
    expect(at('fa|').labels).toEqual([]);
  });

  it('knows nothing without a catalogue but keywords', () => {
    expect(propose('%%dpsql\nSEL', 11, null).items.map(item => item.label)).toEqual(['SELECT']);
  });

  it('describes a column: type, domain or bounds', () => {
    const [pclass, fare] = asked.tables[0]?.columns ?? [];
    expect(pclass && described(pclass)).toBe('INTEGER {1, 2, 3}');
    expect(fare && described(fare)).toBe('DOUBLE 0 … 600');
  });
});
