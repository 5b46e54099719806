import { TranslationBundle } from '@jupyterlab/translation';

import { count } from '../viewer/format';

/** A count as it may stand in a picture that leaves the page: a true zero looks like any other small one. */
export function sharedCount(n: number, least: number): string {
  return n < least ? `<${least}` : count(n);
}

/**
 * Which counts of a known total may not be shared. Where the small ones could be worked out from the total,
 * because they are one alone or few together, the smallest that is shown is hidden too.
 */
function hiddenCounts(counts: number[], least: number): boolean[] {
  const hidden = counts.map(n => n < least);
  const held = () => counts.reduce((sum, n, i) => sum + (hidden[i] ? n : 0), 0);
  const number = () => hidden.filter(Boolean).length;
  while (number() > 0 && number() < counts.length && (number() < 2 || held() < least)) {
    const shown = counts.map((n, i) => (hidden[i] ? Infinity : n));
    hidden[shown.indexOf(Math.min(...shown))] = true;
  }
  return hidden;
}

/** Counts whose total is known, as they may be shared. */
export function sharedCounts(counts: number[], least: number, trans: TranslationBundle): string[] {
  const hidden = hiddenCounts(counts, least);
  return counts.map((n, i) =>
    hidden[i] && n >= least ? trans.__('hidden') : sharedCount(n, least)
  );
}

/** A count of a known total: what is left of the total is protected as well. */
export function sharedPart(
  n: number,
  total: number,
  least: number,
  trans: TranslationBundle
): string {
  if (n !== total && n >= least && total - n < least) {
    return trans.__('>%1 of %2', count(total - least), count(total));
  }
  return trans.__('%1 of %2', sharedCount(n, least), sharedCount(total, least));
}

/** A number in at most four digits, or all of a whole one. */
export function plain(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) {
    return count(value);
  }
  return String(Number(value.toPrecision(4)));
}

/** A share in percent, never rounded to nothing or to all. */
export function percent(n: number, total: number): string {
  if (total === 0) {
    return '';
  }
  const share = (100 * n) / total;
  if (n > 0 && share < 0.1) {
    return '<0.1 %';
  }
  return n < total && share > 99.9 ? '>99.9 %' : `${share.toFixed(1)} %`;
}
