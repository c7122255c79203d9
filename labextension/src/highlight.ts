/** SQL highlighting below the first line of `%%dpsql` cells; the rest of the notebook keeps its language. */

import { sql, StandardSQL } from '@codemirror/lang-sql';
import { LRLanguage, language } from '@codemirror/language';
import { Compartment, type EditorState, type Extension, Prec } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import { parseMixed } from '@lezer/common';

import { sqlStart } from './magic';

/** Highest number of UTF-16 units the first line is looked for in. */
const FIRST_LINE_LIMIT = 2000;

/** The editor extension. Costs one look at the first line per change. */
export function sqlHighlighting(): Extension {
  const overlay = new Compartment();
  let isOn = false;
  const adjust = (view: EditorView): void => {
    const wanted = startOf(view.state) !== null;
    if (wanted === isOn) {
      return;
    }
    const outer = view.state.facet(language);
    if (wanted && !(outer instanceof LRLanguage)) {
      return; // the notebook's language is not loaded yet: its arrival is an update, too
    }
    isOn = wanted;
    // Not inside the update that made us look.
    queueMicrotask(() => {
      view.dispatch({
        effects: overlay.reconfigure(
          isOn && outer instanceof LRLanguage ? Prec.high(mixed(outer)) : []
        )
      });
    });
  };
  return [
    overlay.of([]),
    EditorView.updateListener.of(update => {
      if (update.docChanged || update.transactions.some(each => each.effects.length > 0)) {
        adjust(update.view);
      }
    })
  ];
}

/** Where the SQL begins, or null when this is no `%%dpsql` cell. */
export function startOf(state: EditorState): number | null {
  return sqlStart(state.sliceDoc(0, FIRST_LINE_LIMIT));
}

/** The outer language with its text from the second line on read as SQL. */
function mixed(outer: LRLanguage): Extension {
  const inner = StandardSQL.language.parser;
  const wrap = parseMixed((node, input) => {
    if (!node.type.isTop) {
      return null;
    }
    const start = sqlStart(input.read(0, Math.min(input.length, FIRST_LINE_LIMIT)));
    return start !== null && start < node.to
      ? { parser: inner, overlay: [{ from: start, to: node.to }] }
      : null;
  });
  return [
    outer.configure({ wrap }),
    sql({ dialect: StandardSQL, upperCaseKeywords: true }).support
  ];
}
