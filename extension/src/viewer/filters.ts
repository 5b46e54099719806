import { TranslationBundle } from '@jupyterlab/translation';

import { AxisName, Filter } from '../api';
import { number } from './format';

/** The axis whose rows a filter chooses from. */
export function axisOf(filter: Filter): AxisName {
  return filter.kind === 'gene' || filter.kind === 'lasso' ? 'obs' : filter.axis;
}

/** The filters of one axis: what the routes of the server take. */
export function filtersOf(filters: Filter[], axis: AxisName): Filter[] {
  return filters.filter(filter => axisOf(filter) === axis);
}

/** What a filter is about; a second filter about the same thing replaces the first. */
export function subject(filter: Filter): string {
  switch (filter.kind) {
    case 'gene':
      return JSON.stringify(['gene', filter.gene, filter.layer]);
    case 'lasso':
      return JSON.stringify(['lasso', filter.key, filter.x, filter.y]);
    default:
      return JSON.stringify(['column', filter.axis, filter.column]);
  }
}

/** `filters` with `filter` in place of the one about the same thing, or at the end. */
export function withFilter(filters: Filter[], filter: Filter): Filter[] {
  const at = filters.findIndex(one => subject(one) === subject(filter));
  return at < 0 ? [...filters, filter] : filters.map((one, i) => (i === at ? filter : one));
}

const NAMED = 3;

/** A filter as a person would say it. */
export function filterText(filter: Filter, trans: TranslationBundle): string {
  switch (filter.kind) {
    case 'range':
      return between(filter.column, filter, trans) + orMissing(filter.missing, trans);
    case 'gene':
      return between(
        filter.layer ? `${filter.gene} (${filter.layer})` : filter.gene,
        filter,
        trans
      );
    case 'values':
      return valuesText(filter, trans);
    case 'contains':
      return filter.column
        ? trans.__('%1 contains "%2"', filter.column, filter.text)
        : trans.__('name contains "%1"', filter.text);
    case 'lasso':
      return trans.__('inside the lasso on %1', filter.key);
  }
}

function between(
  name: string,
  { min, max }: { min: number | null; max: number | null },
  trans: TranslationBundle
): string {
  if (min !== null && max !== null) {
    return min === max ? `${name} = ${number(min)}` : `${number(min)} ≤ ${name} ≤ ${number(max)}`;
  }
  if (min !== null) {
    return `${name} ≥ ${number(min)}`;
  }
  return max !== null ? `${name} ≤ ${number(max)}` : trans.__('%1 is not missing', name);
}

function valuesText(filter: Filter & { kind: 'values' }, trans: TranslationBundle): string {
  const { column, values, missing } = filter;
  if (values.length === 0) {
    return missing ? trans.__('%1 is missing', column) : trans.__('%1: nothing chosen', column);
  }
  const first = values.slice(0, NAMED).join(', ');
  const list =
    values.length > NAMED ? trans.__('%1 and %2 more', first, values.length - NAMED) : first;
  return `${column}: ${list}` + orMissing(missing, trans);
}

function orMissing(missing: boolean, trans: TranslationBundle): string {
  return missing ? trans.__(' or missing') : '';
}

/** An end of a range as it is typed: null where nothing is given, NaN where it is no number. */
export function bound(text: string): number | null {
  return text.trim() === '' ? null : Number(text);
}
