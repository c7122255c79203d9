/** The status-bar item: what is left of the notebook's budget. A click opens the panel. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { rowsOf, tightest, WHOLE } from './budget';
import type { Current, ISubject } from './current';
import { level, number, percent, recovery, share } from './format';

/** The widget in the status bar. */
export class StatusItem extends ReactWidget {
  constructor(
    private readonly _current: Current,
    private readonly _open: () => void,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('dpj-status');
  }

  protected override render(): React.JSX.Element {
    return (
      <UseSignal signal={this._current.changed}>
        {() => (
          <Item
            subject={this._current.get()}
            open={this._open}
            trans={this._trans}
            nowMs={Date.now()}
          />
        )}
      </UseSignal>
    );
  }
}

interface IItemProps {
  subject: ISubject;
  open: () => void;
  trans: TranslationBundle;
  nowMs: number;
}

/** The item's content; exported for tests. Nothing at all where no gateway is configured. */
export function Item({ subject, open, trans, nowMs }: IItemProps): React.JSX.Element | null {
  const { snapshot, database, foreign } = subject;
  if (snapshot === null && foreign === null) {
    return null;
  }
  const row =
    snapshot === null || database === null
      ? null
      : tightest(rowsOf(snapshot.budgets, database), snapshot.me);
  if (snapshot?.state === 'offline' || row === null || database === null) {
    const said =
      snapshot?.state === 'loading'
        ? '…'
        : snapshot?.state === 'offline'
          ? trans.__('offline')
          : '–';
    return (
      <button
        type="button"
        className="dpj-status-button"
        onClick={open}
        title={trans.__('Privacy budget')}
      >
        <span aria-hidden="true">ε</span> {said}
      </button>
    );
  }
  const left = share(row.residual_budget, row.total_budget);
  const name = row.table_name === WHOLE ? database.name : `${database.name}.${row.table_name}`;
  const detail = [
    trans.__(
      'Privacy budget of %1: ε %2 of %3 left (%4)',
      name,
      number(row.residual_budget),
      number(row.total_budget),
      percent(left)
    ),
    recovery(row.next_recover_time, nowMs, trans),
    trans.__('Click for details')
  ];
  return (
    <button
      type="button"
      className="dpj-status-button"
      data-level={level(left)}
      onClick={open}
      title={detail.filter(Boolean).join('. ')}
    >
      <span className="dpj-status-bar" aria-hidden="true">
        <span className="dpj-bar-fill" style={{ width: `${left * 100}%` }} />
      </span>
      <span>
        {database.name}: ε {number(row.residual_budget)} / {number(row.total_budget)}
      </span>
    </button>
  );
}
