/** What the chip at a cell says about a quote or a refusal. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';

import { number, percent } from './format';
import type { IColumnUtility, IErrorInfo, IQuoteReply, ITablePrice } from './wire';

/** One line of text with a tone; `detail` is its longer form, shown on hover and read aloud. */
export interface IChip {
  tone: 'price' | 'free' | 'low' | 'refused' | 'quiet';
  text: string;
  detail: string;
}

/** A refusal of the gateway: from the query text and the policy alone. */
export interface IRefusal {
  message: string;
  info: IErrorInfo;
}

const SHOWN_COLUMNS = 2;

/** The chip of a quote. */
export function priced(quote: IQuoteReply, confidence: number, trans: TranslationBundle): IChip {
  const errors = expected(quote.utility, confidence, SHOWN_COLUMNS, trans);
  const all = expected(quote.utility, confidence, Infinity, trans);
  const detail = [
    trans.__('Priced from the query text and the policy; no data was touched.'),
    ...all,
    ...quote.notes
  ].join('\n');
  if (quote.cached) {
    return { tone: 'free', text: join(trans.__('free: already answered'), ...errors), detail };
  }
  if (quote.privacy.epsilon === 0) {
    return { tone: 'free', text: join(trans.__('free'), ...errors), detail };
  }
  const cost = `ε ${number(quote.privacy.epsilon)}`;
  const binding = hardest(quote.privacy.tables);
  if (!quote.affordable) {
    const left = binding?.before ?? null;
    const text =
      left === null
        ? trans.__('%1 is more than is left', cost)
        : trans.__('%1 is more than the %2 left', cost, number(left));
    return { tone: 'refused', text, detail };
  }
  if (quote.privacy.tables.some(row => row.unmetered)) {
    return {
      tone: 'low',
      text: join(cost, trans.__('unmetered: the budget is spent'), ...errors),
      detail
    };
  }
  const spent = binding === null ? null : shareOf(binding);
  const balance = spent === null ? [] : [trans.__('%1 of balance', percent(spent))];
  return {
    tone: spent !== null && spent > 0.5 ? 'low' : 'price',
    text: join(cost, ...errors, ...balance),
    detail
  };
}

/** The chip of a refusal. */
export function refused(refusal: IRefusal): IChip {
  const { message, info } = refusal;
  return {
    tone: 'refused',
    text: info.hint === '' ? message : `${message} ${info.hint}`,
    detail: `${info.type}: ${message}\n${info.hint}`.trim()
  };
}

/** Expected plus or minus of a column at a confidence; null where it is not known beforehand. */
export function halfWidth(column: IColumnUtility, confidence: number): number | null {
  const found = Object.entries(column.half_width).find(
    ([level]) => Math.abs(Number(level) - confidence) < 1e-9
  );
  return found?.[1] ?? null;
}

function expected(
  columns: readonly IColumnUtility[],
  confidence: number,
  most: number,
  trans: TranslationBundle
): string[] {
  const known = columns.flatMap(column => {
    const width = halfWidth(column, confidence);
    return width === null ? [] : [`${column.name} ± ${number(width, 2)}`];
  });
  const more = known.length - most;
  return more > 0 ? [...known.slice(0, most), trans.__('%1 more', more)] : known;
}

/** The row of which the query takes the largest part. */
function hardest(rows: readonly ITablePrice[]): ITablePrice | null {
  return rows.reduce<ITablePrice | null>(
    (worst, row) => (worst === null || shareOf(row) > shareOf(worst) ? row : worst),
    null
  );
}

function shareOf(row: ITablePrice): number {
  if (row.before === null) {
    return 0;
  }
  return row.before > 0 ? row.epsilon / row.before : Infinity;
}

function join(...parts: string[]): string {
  return parts.join(' · ');
}
