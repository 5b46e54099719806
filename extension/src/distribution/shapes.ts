import { LegendRow, legendRows, slotsOfCategories, REST } from '../embedding/colouring';
import { LIGHT } from '../embedding/palette';
import { CategoryGroup, NumberGroup } from './answer';

export interface Scale {
  (value: number): number;
  low: number;
  high: number;
}

/** Values from low to high on pixels from `from` to `to`. */
export function scale(low: number, high: number, from: number, to: number): Scale {
  const factor = high > low ? (to - from) / (high - low) : 0;
  const middle = (from + to) / 2;
  const at = (value: number) => (factor ? from + (value - low) * factor : middle);
  return Object.assign(at, { low, high });
}

/** The smallest and the largest value of all groups, and zero where the bars start there. */
export function range(groups: NumberGroup[], fromZero: boolean): [number, number] {
  const ends = groups.flatMap(({ min, max, mean }) => (fromZero ? [mean] : [min, max]));
  const known = ends.filter((end): end is number => end !== null);
  if (fromZero) {
    known.push(0);
  }
  return known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
}

/** The outline of a density about a line, as wide as `half` on both sides where it is densest. */
export function violinPath(
  density: { x: number[]; y: number[] },
  at: Scale,
  middle: number,
  half: number
): string {
  const densest = Math.max(...density.y);
  if (!density.x.length || !(densest > 0)) {
    return '';
  }
  const side = (sign: number) =>
    density.x.map((x, i) => {
      const y = middle + (sign * half * density.y[i]) / densest;
      return `${at(x).toFixed(1)} ${y.toFixed(1)}`;
    });
  return `M${[...side(-1), ...side(1).reverse()].join('L')}Z`;
}

export interface Box {
  box: { x: number; width: number };
  median: number;
  whiskers: [number, number];
}

/** Where quartiles, median and whiskers of a group lie; null without values. */
export function boxParts(group: NumberGroup, at: Scale): Box | null {
  const { q1, median, q3, whisker_low, whisker_high } = group;
  if (q1 === null || median === null || q3 === null) {
    return null;
  }
  return {
    box: { x: at(q1), width: Math.max(at(q3) - at(q1), 1) },
    median: at(median),
    whiskers: [at(whisker_low ?? q1), at(whisker_high ?? q3)]
  };
}

export interface Share {
  label: string;
  colour: string;
  start: number;
  end: number;
  count: number;
}

/**
 * The parts of a bar of length one. Categories that share the grey of the rest are one part. With `least`,
 * so are those of fewer cells, or they are left out where they are fewer together; and parts end at whole
 * percents, since the exact length of a part would tell its count.
 */
export function shares(group: CategoryGroup, rows: LegendRow[], least: number): Share[] {
  const all = group.counts.reduce((sum, n) => sum + n, 0);
  const parts = rows
    .filter(({ shared, category }) => !shared && group.counts[category] >= Math.max(least, 1))
    .map(({ label, colour, category }) => ({ label, colour, count: group.counts[category] }));
  const rest = all - parts.reduce((sum, { count }) => sum + count, 0);
  if (rest >= Math.max(least, 1)) {
    parts.push({ label: '', colour: LIGHT.rest, count: rest });
  }
  const total = parts.reduce((sum, { count }) => sum + count, 0);
  const ended = (sum: number) => (least ? Math.round((100 * sum) / total) / 100 : sum / total);
  let sum = 0;
  return parts.map(part => {
    const start = ended(sum);
    sum += part.count;
    return { ...part, start, end: ended(sum) };
  });
}

/** The lines of the legend for all groups together. */
export function legendOf(categories: string[], groups: CategoryGroup[]): LegendRow[] {
  const counts = categories.map((_, i) => groups.reduce((sum, one) => sum + one.counts[i], 0));
  const meta = { kind: 'category' as const, categories, counts, n_missing: 0 };
  return legendRows(meta, LIGHT, '');
}

/** How many categories share the grey of the rest. */
export function inRest(rows: LegendRow[]): number {
  return slotsOfCategories(rows.map(({ count }) => count)).filter(slot => slot === REST).length;
}
