import { NumberArray } from '../api';
import { CATEGORY_COLOURS, Greys, Rgb, numberColour, toHex, toRgb } from './palette';

/** What `anndata/colour` says beside its codes or values. */
export type ColourMeta =
  | { kind: 'category'; categories: string[]; counts: number[]; n_missing: number }
  | {
      kind: 'number';
      min: number | null;
      max: number | null;
      low: number | null;
      high: number | null;
      n_missing: number;
      n_zero: number;
    };

/** One entry of the palette a point: colours of values below REST, and four that mean something else. */
export const COLOURS = 250;
export const REST = 250;
export const MISSING = 251;
export const EMPHASISED = 252;
export const LEFT_OUT = 253;

/** Points of a higher layer are drawn over those of a lower one. */
export const BENEATH = 0;
export const ORDINARY = 1;
export const ABOVE = 2;

/** The categories that have a colour of their own: all of twenty, or else the most frequent twenty. */
export function slotsOfCategories(counts: number[]): number[] {
  const most = CATEGORY_COLOURS.length;
  const slots = counts.map((_, i) => i);
  if (counts.length <= most) {
    return slots;
  }
  const byCount = [...slots].sort((a, b) => counts[b] - counts[a] || a - b);
  byCount.forEach((category, rank) => {
    slots[category] = rank < most ? rank : REST;
  });
  return slots;
}

/** The palette entry of every point of a category column. */
export function categorySlots(
  codes: NumberArray,
  counts: number[],
  emphasised: number | null
): Uint8Array {
  const slots = slotsOfCategories(counts);
  if (emphasised !== null) {
    slots[emphasised] = EMPHASISED;
  }
  const n = slots.length;
  const result = new Uint8Array(codes.length);
  for (let i = 0; i < codes.length; i++) {
    result[i] = codes[i] < n ? slots[codes[i]] : MISSING; // the largest code stands for missing
  }
  return result;
}

/** The palette entry of every point of a number; what lies beyond the limits has the colour of the limit. */
export function numberSlots(values: NumberArray, low: number, high: number): Uint8Array {
  const factor = high > low ? (COLOURS - 1) / (high - low) : 0;
  const result = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value !== value) {
      result[i] = MISSING;
      continue;
    }
    const place = (value - low) * factor + 0.5;
    result[i] = place < 0 ? 0 : place > COLOURS - 1 ? COLOURS - 1 : place;
  }
  return result;
}

/** The palette: 256 times red, green, blue and layer. */
export function palette(
  kind: ColourMeta['kind'] | 'plain',
  counts: number[],
  emphasised: number | null,
  greys: Greys
): Uint8Array {
  const entries = new Uint8Array(1024);
  const put = (slot: number, rgb: Rgb, layer: number) => entries.set([...rgb, layer], 4 * slot);
  const faint = toRgb(greys.faint);
  const faded = emphasised !== null;
  for (let slot = 0; slot < COLOURS; slot++) {
    if (kind === 'plain') {
      put(slot, toRgb(greys.plain), ORDINARY);
    } else if (kind === 'number') {
      put(slot, numberColour(slot / (COLOURS - 1)), ORDINARY);
    } else if (slot < CATEGORY_COLOURS.length) {
      put(slot, faded ? faint : toRgb(CATEGORY_COLOURS[slot]), faded ? BENEATH : ORDINARY);
    }
  }
  put(REST, faded ? faint : toRgb(greys.rest), faded ? BENEATH : ORDINARY);
  // A point without a value hides none that has one.
  put(MISSING, faded ? faint : toRgb(greys.missing), BENEATH);
  put(LEFT_OUT, faint, BENEATH);
  if (emphasised !== null) {
    put(EMPHASISED, emphasisColour(counts, emphasised), ABOVE);
  }
  return entries;
}

/** An emphasised category keeps its colour; one of the grey rest takes the first. */
export function emphasisColour(counts: number[], category: number): Rgb {
  const slot = slotsOfCategories(counts)[category];
  return toRgb(CATEGORY_COLOURS[slot === REST ? 0 : slot]);
}

/** Points that the filters leave out are faint, whatever their value. */
export function withoutLeftOut(slots: Uint8Array, mask: NumberArray | null): Uint8Array {
  return mask ? slots.map((slot, i) => (mask[i] ? slot : LEFT_OUT)) : slots;
}

/** A line of the legend of a category column. */
export interface LegendRow {
  /** The place of the category in the column; -1 for missing values. */
  category: number;
  label: string;
  count: number;
  colour: string;
  /** Shares the grey of the rest. */
  shared: boolean;
}

/** The lines of the legend: in the order of the file, or by count where not all have a colour. */
export function legendRows(
  meta: ColourMeta & { kind: 'category' },
  greys: Greys,
  missing: string
): LegendRow[] {
  const slots = slotsOfCategories(meta.counts);
  const rows = meta.categories.map((label, category) => {
    const shared = slots[category] === REST;
    const colour = shared ? greys.rest : CATEGORY_COLOURS[slots[category]];
    return { category, label, count: meta.counts[category], colour, shared };
  });
  if (rows.length > CATEGORY_COLOURS.length) {
    rows.sort((a, b) => b.count - a.count || a.category - b.category);
  }
  if (meta.n_missing > 0) {
    const count = meta.n_missing;
    rows.push({ category: -1, label: missing, count, colour: greys.missing, shared: false });
  }
  return rows;
}

/** The colour bar from low to high as steps for a gradient. */
export function barStops(n = 11): string[] {
  return Array.from({ length: n }, (_, i) => toHex(numberColour(i / (n - 1))));
}
