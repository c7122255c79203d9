/** Numbers, shares and times as people read them. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';

/** How much of a budget is left, in three steps. Colour follows it, and so do words. */
export type Level = 'good' | 'low' | 'out';

const MINUTE_MS = 60_000;

/** A number with few significant digits and no needless zeros: 0.9, 12.3, 4,560. */
export function number(value: number, digits = 3): string {
  if (!Number.isFinite(value)) {
    return '–';
  }
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e9)) {
    return value.toExponential(1);
  }
  return value.toLocaleString(
    'en-US',
    size >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: digits }
  );
}

/** A share as whole percent; small but not nothing is "<1%". */
export function percent(share: number): string {
  if (share > 0 && share < 0.01) {
    return '<1%';
  }
  return `${Math.round(share * 100)}%`;
}

/** Share that is left of a total, within [0, 1]. */
export function share(residual: number, total: number): number {
  return total > 0 ? Math.min(1, Math.max(0, residual / total)) : 0;
}

/** The step of a share. */
export function level(left: number): Level {
  return left <= 0.1 ? 'out' : left <= 0.35 ? 'low' : 'good';
}

/** Milliseconds since 1970 of the gateway's "YYYY-MM-DD HH:MM:SS" (UTC); NaN when it is no time. */
export function utc(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`);
}

/** "recovers in 2 d 4 h"; empty when the time is unknown. */
export function recovery(next: string, nowMs: number, trans: TranslationBundle): string {
  const left = utc(next) - nowMs;
  if (Number.isNaN(left)) {
    return '';
  }
  if (left <= 0) {
    return trans.__('recovers any moment');
  }
  const minutes = Math.ceil(left / MINUTE_MS);
  const days = Math.floor(minutes / 1440);
  const hours = Math.floor((minutes % 1440) / 60);
  if (days > 2) {
    return trans.__('recovers in %1 d', hours > 0 ? days + 1 : days);
  }
  if (days > 0) {
    return hours > 0
      ? trans.__('recovers in %1 d %2 h', days, hours)
      : trans.__('recovers in %1 d', days);
  }
  return hours > 0
    ? trans.__('recovers in %1 h %2 min', hours, minutes % 60)
    : trans.__('recovers in %1 min', minutes);
}

/** A declared value as SQL shows it. */
export function sqlValue(value: boolean | number | string | null): string {
  if (value === null) {
    return 'NULL';
  }
  return typeof value === 'string' ? `'${value.replace(/'/g, "''")}'` : String(value);
}

/** A name as SQL takes it: quoted only where it must be. */
export function sqlName(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : `"${name.replace(/"/g, '""')}"`;
}
