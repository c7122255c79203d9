/** The replies in tests/golden/wire, which a real gateway gave: the extension reads every one it uses. */

import { readFileSync } from 'fs';
import { join } from 'path';

import { nullTranslator } from '@jupyterlab/translation';

import { Refused, Relay } from '../src/api';
import { database } from '../src/budget';
import { describe as described, propose } from '../src/complete';
import { priced, refused } from '../src/price';
import type { IQueryRequest } from '../src/wire';
import { FakeServer } from './server';

const GOLDEN = join(__dirname, '../../tests/golden/wire');
const trans = nullTranslator.load('dpjupyter');
const question: IQueryRequest = { sql: 'SELECT 1', dbconfig: { database: 'clinic' } };

interface IGolden {
  http_status: number;
  body: unknown;
}

/** A relay whose gateway gives this reply; numbers that change from run to run are ten. */
function replying(route: string, file: string): Relay {
  const text = readFileSync(join(GOLDEN, `${file}.json`), 'utf-8').replace(/"<number>"/g, '10');
  const golden = JSON.parse(text) as IGolden;
  const server = new FakeServer();
  server.answers[route] = { status: golden.http_status, body: golden.body };
  return new Relay(server.settings);
}

it('reads the catalogue', async () => {
  const catalog = await replying('catalog', 'catalog').catalog('work');
  const found = database(catalog, null);
  expect(found?.tables.length).toBeGreaterThan(0);
  for (const table of found?.tables ?? []) {
    for (const column of table.columns) {
      expect(described(column)).toContain(column.type);
    }
  }
  const [table] = found?.tables ?? [];
  const text = `%%dpsql\nSELECT COUNT(*) FROM ${table?.name.slice(0, 2) ?? ''}`;
  expect(propose(text, text.length, found).items.map(item => item.label)).toContain(table?.name);
});

it('reads a quote', async () => {
  const quote = await replying('quote', 'quote').quote(
    'work',
    question,
    new AbortController().signal
  );
  const chip = priced(quote, 0.95, trans);
  expect(chip.tone).toBe('price');
  expect(chip.text).toMatch(/^ε [\d.]+ · .+ ± [\d.]+ .*· \d+% of balance$/);
});

it('reads a refusal with its place and hint', async () => {
  const error: unknown = await replying('quote', 'query_refused')
    .quote('work', question, new AbortController().signal)
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Refused);
  const { message, info } = error as Refused;
  expect(info.line).toBeGreaterThan(0);
  expect(info.column).toBeGreaterThan(0);
  expect(refused({ message, info }).text).toContain(info.hint);
});

it('reads who asks', async () => {
  const me = await replying('me', 'me').me('work');
  expect(me.name).not.toBe('');
  expect(['analyst', 'owner', 'viewer']).toContain(me.role);
});
