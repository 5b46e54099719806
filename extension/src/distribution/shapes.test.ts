import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { svg, toText } from '../embedding/svg';
import { Distribution, NumberGroup } from './answer';
import { chart, distributionPicture } from './chart';
import { boxParts, legendOf, range, scale, shares, violinPath } from './shapes';
import { LIGHT } from '../embedding/palette';

const trans = nullTranslator.load('pm_lab');

const group: NumberGroup = {
  name: 'B',
  n: 100,
  n_missing: 0,
  n_zero: 3,
  min: -1,
  q1: 1,
  median: 2,
  q3: 4,
  max: 11,
  mean: 2.5,
  whisker_low: 0,
  whisker_high: 8,
  density: { x: [0, 5, 10], y: [0.1, 0.2, 0] }
};
const empty: NumberGroup = {
  ...group,
  ...{ name: 'none', n: 0, min: null, q1: null, median: null, q3: null, max: null, mean: null },
  ...{ whisker_low: null, whisker_high: null, density: { x: [], y: [] } }
};
const left = { name: 'age', by: 'type', left_out: [], n_left_out: 0, n_without_group: 0 };
const at = scale(0, 10, 100, 200);

describe('a violin', () => {
  it('is symmetrical and as wide as a row where it is densest', () => {
    expect(violinPath(group.density, at, 50, 10)).toBe(
      'M100.0 45.0L150.0 40.0L200.0 50.0L200.0 50.0L150.0 60.0L100.0 55.0Z'
    );
  });

  it('is nothing without a density', () => {
    expect(violinPath(empty.density, at, 50, 10)).toBe('');
  });
});

describe('a box', () => {
  it('spans the quartiles', () => {
    expect(boxParts(group, at)).toEqual({
      box: { x: 110, width: 30 },
      median: 120,
      whiskers: [100, 180]
    });
  });

  it('is nothing without values', () => {
    expect(boxParts(empty, at)).toBeNull();
  });
});

describe('the value axis', () => {
  it('holds all values, or the means and zero', () => {
    expect(range([group, empty], false)).toEqual([-1, 11]);
    expect(range([group, empty], true)).toEqual([0, 2.5]);
    expect(range([empty], false)).toEqual([0, 1]);
  });

  it('puts equal values in the middle', () => {
    expect(scale(3, 3, 0, 100)(3)).toBe(50);
  });
});

describe('bars of shares', () => {
  const categories = ['x', 'y', 'z'];
  const groups = [{ name: 'B', n: 100, counts: [50, 47, 3] }];
  const rows = legendOf(categories, groups);

  it('add up to one', () => {
    const parts = shares(groups[0], rows, 0);
    expect(parts.map(({ label }) => label)).toEqual(categories);
    expect(parts[1]).toMatchObject({ start: 0.5, end: 0.97 });
    expect(parts[2].end).toBeCloseTo(1);
  });

  it('do not give away small counts by their length', () => {
    const parts = shares(groups[0], rows, 10);
    expect(parts.map(({ label, count }) => [label, count])).toEqual([
      ['x', 50],
      ['y', 47]
    ]);
    expect(parts.map(({ end }) => end)).toEqual([0.52, 1]);
  });

  it('look the same whether a small count is zero or not', () => {
    const bar = (counts: number[]) =>
      shares({ name: 'B', n: 0, counts }, rows, 10).map(({ start, end }) => [start, end]);
    expect(bar([900, 0, 0])).toEqual(bar([895, 5, 0]));
    expect(bar([900, 9, 9])).toEqual([
      [0, 0.98],
      [0.98, 1]
    ]);
  });

  it('are nothing without values', () => {
    expect(shares({ name: '', n: 0, counts: [0, 0, 0] }, rows, 0)).toEqual([]);
  });
});

describe('a chart', () => {
  const small = { ...group, name: 'few', n: 7 };
  const answer: Distribution = { ...left, kind: 'number', groups: [group, small, empty] };
  const marks = (least: number) => {
    const drawn = chart({ answer, plot: 'violin', width: 600, greys: LIGHT, least, trans });
    return toText(svg('g', {}, ...drawn)).match(/<path/g)?.length;
  };

  it('draws every group with values', () => {
    expect(marks(0)).toBe(2);
  });

  it('leaves small groups out of what is exported', () => {
    expect(marks(10)).toBe(1);
    const text = toText(
      distributionPicture('title', [], { answer, plot: 'box', width: 600, least: 10, trans })
    );
    expect(text).toContain('&lt;10');
    expect(text).not.toContain('>7<');
  });
});
