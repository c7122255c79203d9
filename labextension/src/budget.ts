/** Which budget rows matter to a notebook. Pure. */

import { share } from './format';
import type { IBudgetRow, ICatalogDatabase, ICatalogReply } from './wire';

/** The table name of a database-wide row. */
export const WHOLE = '*';

/** The database a notebook asks: the announced one ("name" or "prefix/name"), else the only or first one. */
export function database(
  catalog: ICatalogReply | null,
  announced: string | null
): ICatalogDatabase | null {
  const all = catalog?.databases ?? [];
  if (announced === null) {
    return all[0] ?? null;
  }
  return (
    all.find(each => each.name === announced || `${each.prefix}/${each.name}` === announced) ?? null
  );
}

/** Rows of one database: database-wide first, then by table; shared rows before analysts' own. */
export function rowsOf(budgets: readonly IBudgetRow[], asked: ICatalogDatabase): IBudgetRow[] {
  return budgets
    .filter(row => row.prefix === asked.prefix && row.db_name === asked.name)
    .sort(
      (a, b) =>
        Number(b.table_name === WHOLE) - Number(a.table_name === WHOLE) ||
        a.table_name.localeCompare(b.table_name) ||
        (a.analyst ?? '').localeCompare(b.analyst ?? '')
    );
}

/** The row that runs out first: what the status bar shows. Other analysts' quotas (an owner sees them) do not count. */
export function tightest(rows: readonly IBudgetRow[], me: string | null): IBudgetRow | null {
  const mine = rows.filter(row => row.analyst === null || row.analyst === me);
  // Every query of the database pays the database-wide rows; a single table's row binds only some of them.
  const wide = mine.filter(row => row.table_name === WHOLE);
  let found: IBudgetRow | null = null;
  for (const row of wide.length > 0 ? wide : mine) {
    if (found === null || compared(row, found) < 0) {
      found = row;
    }
  }
  return found;
}

/** By share left; where that is the same, the smaller budget is spent first. */
function compared(a: IBudgetRow, b: IBudgetRow): number {
  const shares =
    share(a.residual_budget, a.total_budget) - share(b.residual_budget, b.total_budget);
  return shares === 0 ? a.residual_budget - b.residual_budget : shares;
}
