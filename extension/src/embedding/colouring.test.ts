import { describe, expect, it } from 'vitest';

import {
  ABOVE,
  BENEATH,
  EMPHASISED,
  LEFT_OUT,
  MISSING,
  ORDINARY,
  REST,
  categorySlots,
  legendRows,
  numberSlots,
  palette,
  slotsOfCategories,
  withoutLeftOut
} from './colouring';
import { CATEGORY_COLOURS, DARK, LIGHT, numberColour, toHex, toRgb } from './palette';

const many = Array.from({ length: 30 }, (_, i) => i + 1);
const layer = (entries: Uint8Array, slot: number) => entries[4 * slot + 3];

describe('colours of categories', () => {
  it('are all different', () => {
    expect(new Set(CATEGORY_COLOURS).size).toBe(20);
  });

  it('go by the order of the file while there is one for each', () => {
    expect(slotsOfCategories([1, 100, 10])).toEqual([0, 1, 2]);
  });

  it('are never used twice: the rarer ones share the grey', () => {
    const slots = slotsOfCategories(many);
    expect(slots[29]).toBe(0); // the most frequent
    expect(slots.filter(slot => slot === REST)).toHaveLength(10);
    expect(slots.slice(0, 10).every(slot => slot === REST)).toBe(true);
    const own = slots.filter(slot => slot !== REST);
    expect(new Set(own).size).toBe(own.length);
  });

  it('leave missing values apart', () => {
    expect([...categorySlots(Uint8Array.from([0, 1, 255]), [2, 2], null)]).toEqual([0, 1, MISSING]);
  });

  it('single out the emphasised one, also of the rest', () => {
    const slots = categorySlots(Uint8Array.from([0, 29]), many, 0);
    expect([...slots]).toEqual([EMPHASISED, 0]);
    const entries = palette('category', many, 0, LIGHT);
    expect(layer(entries, EMPHASISED)).toBe(ABOVE);
    expect(layer(entries, 0)).toBe(BENEATH);
    expect([...entries.slice(0, 3)]).toEqual(toRgb(LIGHT.faint));
  });
});

describe('colours of numbers', () => {
  it('end at the limits and leave missing values apart', () => {
    const slots = numberSlots(Float32Array.from([-5, 0, 5, 10, 99, NaN]), 0, 10);
    expect([...slots]).toEqual([0, 0, 125, 249, 249, MISSING]);
  });

  it('stand at the lower end where all values are equal', () => {
    expect([...numberSlots(Float32Array.from([3, 3]), 3, 3)]).toEqual([0, 0]);
  });

  it('go from dark to bright', () => {
    expect(toHex(numberColour(0))).toBe('#440154');
    expect(toHex(numberColour(1))).toBe('#fde725');
    expect(toHex(numberColour(2))).toBe('#fde725');
  });
});

describe('what is drawn over what', () => {
  it('keeps missing values and those left out beneath', () => {
    const entries = palette('number', [], null, DARK);
    expect(layer(entries, 100)).toBe(ORDINARY);
    expect(layer(entries, MISSING)).toBe(BENEATH);
    expect(layer(entries, LEFT_OUT)).toBe(BENEATH);
  });

  it('makes points faint that the filters leave out', () => {
    const slots = Uint8Array.from([1, 2]);
    expect([...withoutLeftOut(slots, Uint8Array.from([1, 0]))]).toEqual([1, LEFT_OUT]);
    expect(withoutLeftOut(slots, null)).toBe(slots);
  });
});

describe('the legend', () => {
  const meta = { kind: 'category' as const, categories: ['b', 'a'], counts: [3, 5], n_missing: 2 };

  it('keeps the order of the file, with missing values last', () => {
    const rows = legendRows(meta, LIGHT, 'missing');
    expect(rows.map(({ label, count }) => [label, count])).toEqual([
      ['b', 3],
      ['a', 5],
      ['missing', 2]
    ]);
    expect(rows[0].colour).toBe(CATEGORY_COLOURS[0]);
  });

  it('goes by count where not all have a colour', () => {
    const categories = many.map(String);
    const rows = legendRows({ ...meta, categories, counts: many, n_missing: 0 }, LIGHT, '');
    expect(rows[0]).toMatchObject({ label: '30', shared: false });
    expect(rows[29]).toMatchObject({ label: '1', shared: true, colour: LIGHT.rest });
  });
});
