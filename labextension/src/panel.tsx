/** The side panel: connection, budgets, tables, history. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { rowsOf } from './budget';
import type { Current, ISubject } from './current';
import type { Store } from './store';
import { Gauge, History, Tables } from './widgets';

const MINUTE_MS = 60_000;

/** What the panel can do beyond showing. */
export interface IPanelActions {
  insert: (text: string) => void;
  refresh: () => void;
}

/** The widget in the right sidebar. */
export class Panel extends ReactWidget {
  constructor(
    private readonly _store: Store,
    private readonly _current: Current,
    private readonly _actions: IPanelActions,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('dpj-panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _trans.__('Privacy budget'));
  }

  protected override render(): React.JSX.Element {
    return (
      <UseSignal signal={this._current.changed}>
        {() => (
          <Body
            store={this._store}
            current={this._current}
            actions={this._actions}
            trans={this._trans}
          />
        )}
      </UseSignal>
    );
  }
}

interface IBodyProps {
  store: Store;
  current: Current;
  actions: IPanelActions;
  trans: TranslationBundle;
}

/** The panel's content; exported for tests. */
export function Body({ store, current, actions, trans }: IBodyProps): React.JSX.Element {
  const subject = current.get();
  return (
    <>
      <header className="dpj-head">
        <h2>{trans.__('Privacy budget')}</h2>
        <button type="button" className="dpj-button" onClick={actions.refresh}>
          {trans.__('Refresh')}
        </button>
      </header>
      <Choice store={store} current={current} subject={subject} trans={trans} />
      <State store={store} subject={subject} trans={trans} />
      <Content subject={subject} actions={actions} trans={trans} />
    </>
  );
}

function Choice({
  store,
  current,
  subject,
  trans
}: Omit<IBodyProps, 'actions'> & { subject: ISubject }): React.JSX.Element | null {
  if (store.connections.length === 0) {
    return null;
  }
  const followed =
    subject.foreign !== null
      ? trans.__('notebook')
      : trans.__('notebook: %1', current.chosen === null ? (subject.connection ?? '') : '');
  return (
    <label className="dpj-choice">
      <span>{trans.__('Connection')}</span>
      <select
        value={current.chosen ?? ''}
        onChange={event => {
          current.chosen = event.target.value === '' ? null : event.target.value;
        }}
      >
        <option value="">{followed.replace(/: $/, '')}</option>
        {store.connections.map(each => (
          <option key={each.name} value={each.name}>
            {each.name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** One sentence where something is missing; nothing when all is well. */
function State({
  store,
  subject,
  trans
}: {
  store: Store;
  subject: ISubject;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const said = sentence(store, subject, trans);
  return said === '' ? null : (
    <p className="dpj-state" role="status">
      {said}
    </p>
  );
}

function sentence(store: Store, subject: ISubject, trans: TranslationBundle): string {
  if (!store.isLoaded) {
    return trans.__('Looking for connections …');
  }
  if (subject.foreign !== null) {
    return trans.__(
      'This notebook talks to %1, which is not in your connections file; add it there to see it here.',
      subject.foreign
    );
  }
  if (subject.connection === null || subject.snapshot === null) {
    return store.connections.length > 0
      ? trans.__('Choose a connection, or run %dpsql connect in a notebook.')
      : trans.__(
          'No gateway is configured. Ask your data owner for its address and a token, then run %dpsql connect ADDRESS.'
        );
  }
  switch (subject.snapshot.state) {
    case 'loading':
      return trans.__('Asking the gateway …');
    case 'offline':
      return trans.__('Offline: the gateway does not answer. Trying again now and then.');
    case 'refused':
      return subject.snapshot.message;
    case 'ready':
      return subject.database === null ? trans.__('The gateway does not serve this database.') : '';
  }
}

function Content({
  subject,
  actions,
  trans
}: {
  subject: ISubject;
  actions: IPanelActions;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const nowMs = useNow();
  const { snapshot, database } = subject;
  if (snapshot === null || database === null) {
    return null;
  }
  const history = snapshot.history.filter(
    row => row.prefix === database.prefix && row.db_name === database.name
  );
  return (
    <>
      <section aria-labelledby="dpj-budgets">
        <h3 id="dpj-budgets">{trans.__('Budgets of %1', database.name)}</h3>
        <ul className="dpj-gauges">
          {rowsOf(snapshot.budgets, database).map(row => (
            <Gauge
              key={`${row.table_name}/${row.analyst ?? ''}`}
              row={row}
              me={snapshot.me}
              nowMs={nowMs}
              trans={trans}
            />
          ))}
        </ul>
        <p className="dpj-note">
          {trans.__('The promise holds for each cycle; it starts afresh at recovery.')}
        </p>
      </section>
      <section aria-labelledby="dpj-tables">
        <h3 id="dpj-tables">{trans.__('Tables')}</h3>
        <Tables database={database} insert={actions.insert} trans={trans} />
      </section>
      <section aria-labelledby="dpj-history">
        <h3 id="dpj-history">{trans.__('Your questions')}</h3>
        <History rows={history} trans={trans} />
      </section>
    </>
  );
}

/** The time, told once a minute while the page is seen: for countdowns. */
function useNow(): number {
  const [nowMs, setNowMs] = React.useState(Date.now());
  React.useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) {
        setNowMs(Date.now());
      }
    }, MINUTE_MS);
    return () => {
      clearInterval(timer);
    };
  }, []);
  return nowMs;
}
