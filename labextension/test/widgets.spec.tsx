/** What panel and status bar show, as HTML. Descriptions and queries come from others: they stay text. */

import { nullTranslator } from '@jupyterlab/translation';
import * as React from 'react';
import { renderToStaticMarkup } from 'react-dom/server';

import type { ISubject } from '../src/current';
import { DEFAULTS } from '../src/kernels';
import { Item } from '../src/status';
import { Gauge, History, Tables } from '../src/widgets';
import type { IAuditRow, ICatalogDatabase } from '../src/wire';
import { budgetRow, catalog } from './samples';

const trans = nullTranslator.load('dpjupyter');
const NOW_MS = Date.parse('2026-01-28T00:00:00Z');
const SCRIPT = '<img src=x onerror="alert(1)">';

function gauge(change: Parameters<typeof budgetRow>[0]): string {
  return renderToStaticMarkup(
    <Gauge row={budgetRow(change)} me="ada" nowMs={NOW_MS} trans={trans} />
  );
}

describe('Gauge', () => {
  it('says what is left in words, for eyes and for screen readers', () => {
    const html = gauge({});
    expect(html).toContain('ε 7.5 of 10 left · recovers in 3 d');
    expect(html).toContain('3 answers in this cycle');
    expect(html).toContain('role="meter"');
    expect(html).toContain('aria-valuetext="ε 7.5 of 10 left, 75%"');
  });

  it('names the whole database, one own quota and those of others', () => {
    expect(gauge({ table_name: '*' })).toContain('whole database');
    expect(gauge({ analyst: 'ada' })).toContain('passengers · your quota');
    expect(gauge({ analyst: 'eve' })).toContain('passengers · eve');
  });

  it('is loud about what is unmetered or suspended', () => {
    expect(gauge({ unmetered_answers: 2 })).toMatch(/dpj-alarm.*2 unmetered/);
    expect(gauge({ exhausted_strategy: 'allow', residual_budget: 0 })).toMatch(
      /dpj-alarm.*answers are unmetered now/
    );
    expect(gauge({ suspended: true })).toMatch(/dpj-alarm.*suspended/);
  });
});

describe('Tables and History', () => {
  it('show types, bounds and domains, and keep scripts text', () => {
    const database = JSON.parse(JSON.stringify(catalog.databases[0])) as ICatalogDatabase;
    for (const table of database.tables) {
      table.description = SCRIPT;
      const [first, ...others] = table.columns;
      table.columns =
        first === undefined
          ? []
          : [{ ...first, name: SCRIPT, domain: [SCRIPT], description: SCRIPT }, ...others];
    }
    const html = renderToStaticMarkup(
      <Tables database={database} insert={() => {}} trans={trans} />
    );
    expect(html).toContain('DOUBLE 0 … 600');
    expect(html).not.toContain('<img');
    expect(html.split('&lt;img').length).toBeGreaterThan(6);
  });

  it('show questions with their cost', () => {
    const row: IAuditRow = {
      time: '2026-01-01 12:00:00.123',
      request_id: 'r',
      analyst: 'ada',
      prefix: 'demo',
      db_name: 'titanic',
      verdict: 'answered',
      reason: '',
      sql: `SELECT '${SCRIPT}'\nFROM t`,
      tables: [],
      epsilon: 0.5,
      delta: 0,
      mechanism: '',
      fingerprint: '',
      checksum: ''
    };
    const html = renderToStaticMarkup(<History rows={[row]} trans={trans} />);
    expect(html).toContain('ε 0.5 · answered · 2026-01-01 12:00 UTC');
    expect(html).not.toContain('<img');
    expect(renderToStaticMarkup(<History rows={[]} trans={trans} />)).toContain(
      'No questions yet.'
    );
  });
});

describe('Status item', () => {
  const ready = {
    state: 'ready' as const,
    message: '',
    me: 'ada',
    catalog,
    budgets: [budgetRow({ table_name: '*' })],
    history: []
  };
  const database = catalog.databases[0] ?? null;
  const item = (change: Partial<ISubject>): string => {
    const subject: ISubject = {
      connection: 'work',
      foreign: null,
      snapshot: ready,
      database,
      defaults: DEFAULTS,
      ...change
    };
    return renderToStaticMarkup(
      <Item subject={subject} open={() => {}} trans={trans} nowMs={NOW_MS} />
    );
  };

  it('shows what is left of the budget that runs out first', () => {
    expect(item({})).toContain('titanic: ε 7.5 / 10');
    expect(item({})).toContain('data-level="good"');
    expect(
      item({ snapshot: { ...ready, budgets: [budgetRow({ residual_budget: 0.5 })] } })
    ).toContain('data-level="out"');
  });

  it('is quiet when offline, loading, elsewhere or unconfigured', () => {
    expect(item({ snapshot: { ...ready, state: 'offline' } })).toContain('offline');
    expect(item({ snapshot: { ...ready, state: 'loading', budgets: [] } })).toContain('…');
    expect(
      item({ connection: null, foreign: 'https://elsewhere', snapshot: null, database: null })
    ).toContain('–');
    expect(item({ connection: null, snapshot: null, database: null })).toBe('');
  });
});
