/** Reading a `%%dpsql` cell: where its SQL is, and what its first line asks for. Pure; no editor, no network. */

import type { IDpConfig, IQueryConfig } from './wire';

/** Every option of the magic: whether it takes a value, and its one-line help. */
export const OPTIONS: readonly { name: string; value: string; help: string }[] = [
  { name: '--epsilon', value: 'E', help: 'privacy budget of each answer' },
  { name: '--delta', value: 'D', help: 'delta of the Gaussian mechanism' },
  { name: '--mechanism', value: 'M', help: 'laplace or gauss' },
  { name: '--answers', value: 'n=0.2,fare=1.0', help: 'epsilon of single columns' },
  {
    name: '--within',
    value: 'W',
    help: 'solve for epsilon: every half-width at most W, or column=W,…'
  },
  {
    name: '--confidence',
    value: 'P',
    help: 'of --within and of the intervals shown: 0.5, 0.8, 0.9, 0.95 or 0.99'
  },
  { name: '--max-rows', value: 'N', help: 'rows one person may contribute to a group' },
  { name: '--max-groups', value: 'N', help: 'groups one person may contribute to' },
  { name: '--param', value: 'x=1', help: 'value of the placeholder :x' },
  { name: '--save', value: 'NAME', help: 'keep the released table as saved.NAME' },
  { name: '--timeout', value: 'SECONDS', help: 'give up after this long' },
  { name: '--database', value: 'DB', help: "ask this database instead of the connection's" },
  { name: '--dry-run', value: '', help: 'show the price only' },
  { name: '--no-cache', value: '', help: 'pay again for fresh noise' },
  { name: '--synthetic', value: '', help: 'run on the synthetic twin: free' },
  {
    name: '--rehearse',
    value: '[N]',
    help: 'run N times on the twin to see the error to expect: free'
  }
];

/** A `%%dpsql` cell taken apart. Offsets count UTF-16 units from the start of the cell. */
export interface IMagicCell {
  /** Where the options begin, just behind `%%dpsql`. */
  optionsStart: number;
  /** Where the SQL begins: the second line, or the end of the cell. */
  sqlStart: number;
  sql: string;
  dpconfig: IDpConfig;
  queryconfig: IQueryConfig;
  skipCache: boolean;
  /** Wanted half-widths: of every column (under ""), or of named ones. */
  within: Record<string, number>;
  /** Of the intervals shown; null: the notebook's default. */
  confidence: number | null;
  /** "name" or "prefix/name"; null: the notebook's. */
  database: string | null;
  /** Runs on the synthetic twin alone: free. */
  isOnTwin: boolean;
}

const FIRST_LINE = /^\s*%%dpsql(?=[ \t\n]|$)([^\n]*)(\n|$)/;

/** Whether the text is a `%%dpsql` cell; cheap enough for every key stroke. */
export function isMagic(text: string): boolean {
  return FIRST_LINE.test(text);
}

/** Where the SQL of a `%%dpsql` cell begins, or null for any other cell. */
export function sqlStart(text: string): number | null {
  const match = FIRST_LINE.exec(text);
  return match === null ? null : match[0].length;
}

/** Take a cell apart; null when it is not a `%%dpsql` cell. Options that make no sense are left to the kernel to refuse. */
export function read(text: string): IMagicCell | null {
  const match = FIRST_LINE.exec(text);
  if (match === null) {
    return null;
  }
  const options = match[1] ?? '';
  const start = match[0].length;
  const cell: IMagicCell = {
    optionsStart: start - (match[2] ?? '').length - options.length,
    sqlStart: start,
    sql: text.slice(start),
    dpconfig: {},
    queryconfig: {},
    skipCache: false,
    within: {},
    confidence: null,
    database: null,
    isOnTwin: false
  };
  const found = words(options);
  for (let at = 0; at < found.length; at++) {
    const [word, written] = split(found[at] ?? '');
    const option = OPTIONS.find(each => each.name === word);
    if (option === undefined) {
      continue;
    }
    const isLeftOut = option.value.startsWith('[') && !/^\d+$/.test(found[at + 1] ?? '');
    let value = written;
    if (option.value !== '' && value === null && !isLeftOut) {
      value = found[++at] ?? '';
    }
    apply(cell, word, value ?? '');
  }
  return cell;
}

/** Names of the `:name` placeholders of a query, outside strings, comments and `::` casts. */
export function placeholders(sql: string): string[] {
  const bare = sql.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\//g, ' ');
  const names = [...bare.matchAll(/(?<![\w:\])"']):([A-Za-z_]\w*)/g)].map(match => match[1] ?? '');
  return [...new Set(names)];
}

function apply(cell: IMagicCell, word: string, value: string): void {
  const number = Number(value);
  const isNumber = value.trim() !== '' && Number.isFinite(number);
  const budget = (cell.dpconfig.budget_setting ??= {});
  switch (word) {
    case '--epsilon':
      if (isNumber) {
        budget.epsilon = number;
      }
      break;
    case '--delta':
      if (isNumber) {
        budget.delt = number;
      }
      break;
    case '--mechanism':
      if (/^gauss/i.test(value)) {
        cell.dpconfig.dp_method = 'Gauss';
      } else if (/^laplace$/i.test(value)) {
        cell.dpconfig.dp_method = 'Laplace';
      }
      break;
    case '--answers':
      for (const [name, epsilon] of pairs(value)) {
        if (Number.isFinite(Number(epsilon))) {
          (budget.answers ??= {})[name] = { epsilon: Number(epsilon) };
        }
      }
      break;
    case '--max-rows':
      if (isNumber) {
        cell.dpconfig.max_rows = Math.trunc(number);
      }
      break;
    case '--max-groups':
      if (isNumber) {
        cell.dpconfig.max_groups = Math.trunc(number);
      }
      break;
    case '--param':
      for (const [name, given] of [pair(value)]) {
        if (name !== '') {
          (cell.queryconfig.parameters ??= {})[name] = literal(given);
        }
      }
      break;
    case '--within':
      for (const [name, width] of value.includes('=') ? pairs(value) : [['', value] as const]) {
        if (Number(width) > 0) {
          cell.within[name] = Number(width);
        }
      }
      break;
    case '--confidence':
      cell.confidence = value.endsWith('%')
        ? Number(value.slice(0, -1)) / 100
        : isNumber
          ? number
          : null;
      break;
    case '--database':
      cell.database = value === '' ? null : value;
      break;
    case '--no-cache':
      cell.skipCache = true;
      break;
    case '--synthetic':
    case '--rehearse':
      cell.isOnTwin = true;
      break;
    default:
    // --save, --timeout and --dry-run do not change the price.
  }
}

/** Words of an option line; quotes hold a word together, as in a shell. */
function words(line: string): string[] {
  const found = line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
  return found.map(word =>
    word.replace(
      /"([^"]*)"|'([^']*)'/g,
      (_, double?: string, single?: string) => double ?? single ?? ''
    )
  );
}

function split(word: string): [string, string | null] {
  const at = word.indexOf('=');
  return word.startsWith('--') && at > 0 ? [word.slice(0, at), word.slice(at + 1)] : [word, null];
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? ['', ''] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}

function pairs(text: string): [string, string][] {
  return text
    .split(',')
    .map(pair)
    .filter(([name]) => name !== '');
}

function literal(text: string): boolean | number | string | null {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    return Number(text);
  }
  const known: Record<string, boolean | null> = {
    true: true,
    false: false,
    null: null,
    none: null
  };
  return known[text.toLowerCase()] ?? (/^(null|none)$/i.test(text) ? null : text);
}
