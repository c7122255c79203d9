/** The panel's parts: gauges, declared tables, history. React escapes all text; nothing here writes HTML. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { WHOLE } from './budget';
import { describe, isKept, kept } from './complete';
import { level, number, percent, recovery, share, sqlName } from './format';
import type { IAuditRow, IBudgetRow, ICatalogDatabase, ICatalogTable } from './wire';

interface IGaugeProps {
  row: IBudgetRow;
  /** The token's holder. */
  me: string | null;
  nowMs: number;
  trans: TranslationBundle;
}

/** One budget row: what is left of what, when it recovers. */
export function Gauge({ row, me, nowMs, trans }: IGaugeProps): React.JSX.Element {
  const left = share(row.residual_budget, row.total_budget);
  const name = row.table_name === WHOLE ? trans.__('whole database') : row.table_name;
  const whose = row.analyst === me ? trans.__('your quota') : row.analyst;
  const label = row.analyst === null ? name : `${name} · ${whose ?? ''}`;
  const spoken = trans.__('ε %1 of %2 left', number(row.residual_budget), number(row.total_budget));
  const isOpen = row.exhausted_strategy === 'allow' && row.residual_budget <= 0;
  const facts = [spoken, recovery(row.next_recover_time, nowMs, trans)].filter(Boolean).join(' · ');
  const answers = trans._n('%1 answer in this cycle', '%1 answers in this cycle', row.num_dpcall);
  return (
    <li className="dpj-gauge" data-level={level(left)}>
      <div className="dpj-gauge-head">
        <span className="dpj-gauge-name" title={label}>
          {label}
        </span>
        <span className="dpj-gauge-value">{percent(left)}</span>
      </div>
      <div
        className="dpj-bar"
        role="meter"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={row.total_budget}
        aria-valuenow={Math.min(row.total_budget, row.residual_budget)}
        aria-valuetext={`${spoken}, ${percent(left)}`}
      >
        <div className="dpj-bar-fill" style={{ width: `${left * 100}%` }} />
      </div>
      <div className="dpj-gauge-facts" title={answers}>
        {facts}
        {row.unmetered_answers > 0 && (
          <strong className="dpj-alarm"> {trans.__('%1 unmetered', row.unmetered_answers)}</strong>
        )}
        {isOpen && row.unmetered_answers === 0 && (
          <strong className="dpj-alarm"> {trans.__('answers are unmetered now')}</strong>
        )}
        {row.suspended && <strong className="dpj-alarm"> {trans.__('suspended')}</strong>}
      </div>
    </li>
  );
}

interface ITablesProps {
  database: ICatalogDatabase;
  insert: (text: string) => void;
  trans: TranslationBundle;
}

/** Declared tables and columns; a click writes the name into the cell. */
export function Tables({ database, insert, trans }: ITablesProps): React.JSX.Element {
  return (
    <div className="dpj-tables">
      {[...database.tables, ...kept(database)].map(table => (
        <Table
          key={table.name}
          table={table}
          insert={insert}
          trans={trans}
          isOpen={database.tables.length <= 3}
        />
      ))}
    </div>
  );
}

interface ITableProps {
  table: ICatalogTable;
  insert: (text: string) => void;
  trans: TranslationBundle;
  isOpen: boolean;
}

function Table({ table, insert, trans, isOpen }: ITableProps): React.JSX.Element {
  const unit = table.unit ?? 'row';
  const saved = isKept(table);
  const kind = table.private
    ? trans.__('private, unit: %1', unit)
    : saved
      ? trans.__('kept by you: free')
      : trans.__('public: exact and free');
  return (
    <details className="dpj-table" open={isOpen}>
      <summary>
        <span className="dpj-table-name">{table.name}</span>{' '}
        <span className="dpj-note">{kind}</span>
      </summary>
      {table.description !== '' && <p className="dpj-note">{table.description}</p>}
      <ul className="dpj-columns">
        <li>
          <Insert
            name={table.name}
            text={saved ? table.name : sqlName(table.name)}
            note={trans.__('table')}
            title={table.description}
            insert={insert}
            trans={trans}
          />
        </li>
        {table.columns.map(column => (
          <li key={column.name}>
            <Insert
              name={column.name}
              text={sqlName(column.name)}
              note={describe(column)}
              title={column.description}
              insert={insert}
              trans={trans}
            />
          </li>
        ))}
      </ul>
      {table.synthetic && saved && (
        <p className="dpj-note">
          {trans.__('Synthetic: computed from a twin, not from the data.')}
        </p>
      )}
      {table.synthetic && !saved && (
        <p className="dpj-note">
          {trans.__('A synthetic twin is published: SELECT of rows and --synthetic are free.')}
        </p>
      )}
    </details>
  );
}

interface IInsertProps {
  name: string;
  /** What a click writes. */
  text: string;
  note: string;
  title: string;
  insert: (text: string) => void;
  trans: TranslationBundle;
}

function Insert({ name, text, note, title, insert, trans }: IInsertProps): React.JSX.Element {
  return (
    <button
      type="button"
      className="dpj-insert"
      title={[title, trans.__('Click to insert')].filter(Boolean).join('. ')}
      onClick={() => {
        insert(text);
      }}
    >
      <span className="dpj-column-name">{name}</span>
      <span className="dpj-column-note">{note}</span>
    </button>
  );
}

interface IHistoryProps {
  rows: IAuditRow[];
  trans: TranslationBundle;
}

/** The analyst's own questions, newest first. */
export function History({ rows, trans }: IHistoryProps): React.JSX.Element {
  if (rows.length === 0) {
    return <p className="dpj-note">{trans.__('No questions yet.')}</p>;
  }
  const verdicts: Record<string, string> = {
    answered: trans.__('answered'),
    cached: trans.__('from the cache'),
    refused: trans.__('refused'),
    failed: trans.__('failed'),
    unmetered: trans.__('unmetered'),
    debited: trans.__('paid')
  };
  return (
    <ol className="dpj-history">
      {rows.map(row => (
        <li key={row.request_id} data-verdict={row.verdict}>
          <code title={row.sql}>{row.sql.replace(/\s+/g, ' ').trim()}</code>
          <span className="dpj-note">
            {[
              row.epsilon > 0 ? `ε ${number(row.epsilon)}` : trans.__('free'),
              verdicts[row.verdict] ?? row.verdict,
              `${row.time.slice(0, 16)} UTC`
            ].join(' · ')}
          </span>
        </li>
      ))}
    </ol>
  );
}
