import { TranslationBundle } from '@jupyterlab/translation';

import { ColumnType } from '../api';

/** A count with separators. */
export function count(n: number): string {
  return n.toLocaleString('en-US');
}

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'];

/** A size in units of 1,000 bytes. */
export function size(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))} ${UNITS[unit]}`;
}

/** A shape such as 700 × 2,000. */
export function shape(lengths: number[] | null): string {
  return lengths ? lengths.map(count).join(' × ') : '';
}

const SIGNIFICANT = 6;

/** A number with six significant digits, in plain notation where that is short. */
export function number(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) {
    return String(value);
  }
  const rounded = Number(value.toPrecision(SIGNIFICANT));
  const magnitude = Math.abs(rounded);
  return magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e9)
    ? rounded.toExponential()
    : String(rounded);
}

/** A cell of a table; '' where the value is missing. */
export function cell(value: string | number | boolean | null | undefined): string {
  if (value === null || value === undefined) {
    return '';
  }
  return typeof value === 'number' ? number(value) : String(value);
}

/** The type of a column in a word. */
export function typeName(type: ColumnType, trans: TranslationBundle): string {
  const names: Record<ColumnType, string> = {
    number: trans.__('number'),
    integer: trans.__('integer'),
    boolean: trans.__('yes or no'),
    category: trans.__('category'),
    string: trans.__('text'),
    date: trans.__('date'),
    unknown: trans.__('unknown')
  };
  return names[type];
}

/** The moment of a change, in the reader's time zone. */
export function moment(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString();
}
