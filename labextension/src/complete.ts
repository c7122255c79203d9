/** Completion in `%%dpsql` cells: options on the first line, then tables, columns, functions and keywords. */

import { Text } from '@jupyterlab/coreutils';
import type {
  CompletionHandler,
  ICompletionContext,
  ICompletionProvider
} from '@jupyterlab/completer';

import { sqlName, sqlValue } from './format';
import { OPTIONS, isMagic, read } from './magic';
import type { ICatalogColumn, ICatalogDatabase, ICatalogTable } from './wire';

/** Keywords worth proposing: the ones a question is made of. */
const KEYWORDS = (
  'SELECT FROM WHERE GROUP BY HAVING ORDER BY LIMIT WITH AS JOIN LEFT INNER FULL ON USING AND OR NOT IN EXISTS BETWEEN IS NULL LIKE ' +
  'CASE WHEN THEN ELSE END DISTINCT COUNT SUM AVG MIN MAX MEDIAN STDDEV VARIANCE UNION ALL ASC DESC CAST INTERVAL DATE TRUE FALSE ' +
  'OVER PARTITION ROLLUP CUBE GROUPING SETS'
).split(' ');

/** The schema of tables kept with --save. */
const SHELF = 'saved';

/** One proposal. */
export interface IProposal {
  label: string;
  insert: string;
  type: 'table' | 'column' | 'function' | 'keyword' | 'option';
  help: string;
}

/** What fits at `offset` of a cell, and the range it replaces. Offsets count UTF-16 units. */
export function propose(
  text: string,
  offset: number,
  database: ICatalogDatabase | null
): { start: number; end: number; items: IProposal[] } {
  const cell = read(text);
  const none = { start: offset, end: offset, items: [] };
  if (cell === null || offset < cell.optionsStart) {
    return none;
  }
  if (offset < cell.sqlStart) {
    return options(text, cell.optionsStart, offset);
  }
  const before = text.slice(cell.sqlStart, offset);
  if (inText(before)) {
    return none;
  }
  const word = /"?[\w$]*$/.exec(before)?.[0] ?? '';
  const start = offset - word.length;
  const owner = /([A-Za-z_]\w*|"[^"]+")\.$/.exec(before.slice(0, before.length - word.length))?.[1];
  const tables = [...(database?.tables ?? []), ...kept(database)];
  const used = mentioned(cell.sql, tables);
  let items: IProposal[];
  const shelf = /\bsaved\.([A-Za-z_]\w*)\.$/i.exec(
    before.slice(0, before.length - word.length)
  )?.[1];
  if (owner?.toLowerCase() === SHELF) {
    items = kept(database).map(table => ({ ...tableItem(table), ...bare(table) }));
  } else if (shelf !== undefined) {
    const table = kept(database).find(each => same(each.name, `${SHELF}.${shelf.toLowerCase()}`));
    items = (table?.columns ?? []).map(column => columnItem(column, table));
  } else if (owner !== undefined) {
    const table = used.get(plain(owner)) ?? tables.find(each => same(each.name, plain(owner)));
    items = (table?.columns ?? []).map(column => columnItem(column, table));
  } else if (/\b(from|join)\s+$/i.test(before.slice(0, before.length - word.length))) {
    items = tables.map(tableItem);
  } else {
    const sources = new Set(used.size > 0 ? used.values() : tables);
    items = [
      ...[...sources].flatMap(table => table.columns.map(column => columnItem(column, table))),
      ...tables.map(tableItem),
      ...(database?.functions ?? []).map(functionItem),
      ...[...new Set(KEYWORDS)].map(keyword => ({
        label: keyword,
        insert: keyword,
        type: 'keyword' as const,
        help: ''
      }))
    ];
  }
  const prefix = word.replace(/^"/, '').toLowerCase();
  const seen = new Set<string>();
  items = items.filter(item => {
    const isNew =
      item.label.toLowerCase().startsWith(prefix) && !seen.has(item.label.toLowerCase());
    seen.add(item.label.toLowerCase());
    return isNew;
  });
  return { start, end: offset, items };
}

/** JupyterLab's side of `propose`. */
export class Completions implements ICompletionProvider {
  readonly identifier = 'dpjupyter:sql';
  readonly rank = 1100; // above the kernel's own proposals
  readonly renderer = null;

  constructor(
    private readonly _database: (context: ICompletionContext) => ICatalogDatabase | null
  ) {}

  isApplicable(context: ICompletionContext): Promise<boolean> {
    return Promise.resolve(isMagic(context.editor?.model.sharedModel.getSource() ?? ''));
  }

  fetch(
    request: CompletionHandler.IRequest,
    context: ICompletionContext
  ): Promise<CompletionHandler.ICompletionItemsReply> {
    const { text } = request;
    const found = propose(
      text,
      Text.charIndexToJsIndex(request.offset, text),
      this._database(context)
    );
    return Promise.resolve({
      start: Text.jsIndexToCharIndex(found.start, text),
      end: Text.jsIndexToCharIndex(found.end, text),
      items: found.items.map(item => ({
        label: item.label,
        insertText: item.insert,
        type: item.type,
        documentation: item.help
      }))
    });
  }
}

/** Type, bounds, domain and description of a column, in one line. */
export function describe(column: ICatalogColumn): string {
  const parts = [column.type];
  if (column.domain !== null) {
    const shown = column.domain.slice(0, 8).map(sqlValue);
    parts.push(`{${shown.join(', ')}${column.domain.length > shown.length ? ', …' : ''}}`);
  } else if (column.bounds !== null) {
    parts.push(`${sqlValue(column.bounds[0])} … ${sqlValue(column.bounds[1])}`);
  }
  return parts.join(' ');
}

/** What the analyst kept, as tables named `saved.NAME`. */
export function kept(database: ICatalogDatabase | null): ICatalogTable[] {
  return (database?.saved ?? []).map(table => ({
    name: `${SHELF}.${table.name}`,
    private: false,
    unit: null,
    columns: table.columns,
    keys: [],
    max_rows: 1,
    max_groups: 1,
    min_units: 1,
    open_keys: false,
    description: `kept ${table.time}, ${table.rows} rows, free`,
    synthetic: table.kind === 'synthetic'
  }));
}

/** Whether this is one of them. */
export function isKept(table: ICatalogTable): boolean {
  return !table.private && table.name.startsWith(`${SHELF}.`);
}

/** The part of `saved.NAME` after the dot. */
function bare(table: ICatalogTable): { label: string; insert: string } {
  const name = table.name.slice(SHELF.length + 1);
  return { label: name, insert: name };
}

function options(
  text: string,
  from: number,
  offset: number
): { start: number; end: number; items: IProposal[] } {
  const before = text.slice(from, offset);
  const word = /\S*$/.exec(before)?.[0] ?? '';
  const start = offset - word.length;
  if (/--mechanism[ =]+\w*$/.test(before)) {
    const typed = /\w*$/.exec(before)?.[0] ?? '';
    const items = ['laplace', 'gauss'].map(name => ({
      label: name,
      insert: name,
      type: 'option' as const,
      help: ''
    }));
    return {
      start: offset - typed.length,
      end: offset,
      items: items.filter(item => item.label.startsWith(typed))
    };
  }
  const items = OPTIONS.filter(option => option.name.startsWith(word)).map(option => ({
    label: option.name,
    insert: option.name,
    type: 'option' as const,
    help: option.value === '' ? option.help : `${option.name} ${option.value}: ${option.help}`
  }));
  return { start, end: offset, items };
}

/** Tables the query names, by name and alias (lower case). */
function mentioned(sql: string, tables: readonly ICatalogTable[]): Map<string, ICatalogTable> {
  const found = new Map<string, ICatalogTable>();
  for (const match of sql.matchAll(
    /\b(?:from|join|,)\s+((?:saved\.)?[A-Za-z_]\w*|"[^"]+")(?:\s+(?:as\s+)?([A-Za-z_]\w*))?/gi
  )) {
    const table = tables.find(each => same(each.name, plain(match[1] ?? '')));
    if (table !== undefined) {
      found.set(table.name.toLowerCase().split('.').pop() ?? '', table);
      const alias = match[2];
      if (alias !== undefined && !KEYWORDS.includes(alias.toUpperCase())) {
        found.set(alias.toLowerCase(), table);
      }
    }
  }
  return found;
}

/** Whether the text ends inside a string or a comment. */
function inText(sql: string): boolean {
  const rest = sql.replace(/'(?:[^']|'')*'|--[^\n]*\n|\/\*[\s\S]*?\*\//g, '');
  return rest.includes("'") || rest.includes('--') || rest.includes('/*');
}

function columnItem(column: ICatalogColumn, table: ICatalogTable | undefined): IProposal {
  const help = [
    table === undefined ? '' : `${table.name}: `,
    describe(column),
    column.description === '' ? '' : `, ${column.description}`
  ];
  return { label: column.name, insert: sqlName(column.name), type: 'column', help: help.join('') };
}

function tableItem(table: ICatalogTable): IProposal {
  const shelved = isKept(table);
  const kind = table.private
    ? `private, unit: ${table.unit ?? 'row'}`
    : shelved
      ? 'released before'
      : 'public';
  return {
    label: table.name,
    insert: shelved ? table.name : sqlName(table.name),
    type: 'table',
    help: [kind, table.description].filter(Boolean).join('. ')
  };
}

function functionItem(name: string): IProposal {
  return { label: name, insert: name, type: 'function', help: '' };
}

function plain(name: string): string {
  return name.replace(/^"|"$/g, '').toLowerCase();
}

function same(name: string, other: string): boolean {
  return name.toLowerCase() === other;
}
