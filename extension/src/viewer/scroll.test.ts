import { describe, expect, it } from 'vitest';

import { moved } from './grid_keys';
import {
  columnsSeen,
  isScaled,
  lastPosition,
  positionAt,
  positionToSee,
  scrollHeight,
  scrollTopOf
} from './scroll';

const few = { n: 1_000, rowHeight: 26, viewHeight: 520 };
const many = { n: 3_000_000, rowHeight: 26, viewHeight: 520 };

describe('scrolling', () => {
  it('reaches the first and the last row of any table', () => {
    for (const scale of [few, many]) {
      const room = scrollHeight(scale) - scale.viewHeight;
      expect(positionAt(0, scale)).toBe(0);
      expect(positionAt(room, scale)).toBe(lastPosition(scale));
      expect(lastPosition(scale)).toBe(scale.n - 20);
    }
    expect([isScaled(few), isScaled(many)]).toEqual([false, true]);
  });

  it('goes from a row to the bar and back', () => {
    for (const row of [0, 17, 2_345_678]) {
      expect(positionAt(scrollTopOf(row, many), many)).toBeCloseTo(row, 3);
    }
  });

  it('moves no further than it must to show a row', () => {
    expect(positionToSee(5, 0, few)).toBe(0);
    expect(positionToSee(20, 0, few)).toBe(1);
    expect(positionToSee(3, 10, few)).toBe(3);
    expect(positionToSee(999, 0, few)).toBe(980);
  });

  it('shows the columns that reach into the view', () => {
    const edges = [0, 100, 200, 300];
    expect(columnsSeen(edges, 0, 150)).toEqual([0, 2]);
    expect(columnsSeen(edges, 100, 100)).toEqual([1, 2]);
    expect(columnsSeen([0], 0, 100)).toEqual([0, 0]);
  });
});

describe('a key', () => {
  const key = (name: string, ctrlKey = false) => ({ key: name, ctrlKey, metaKey: false });
  const limits = { rows: 100, columns: 5, page: 20 };

  it('moves within the table, the header and the names', () => {
    expect(moved({ row: 0, column: -1 }, key('ArrowUp'), limits)).toEqual({ row: -1, column: -1 });
    expect(moved({ row: 99, column: 4 }, key('ArrowDown'), limits)).toEqual({ row: 99, column: 4 });
    expect(moved({ row: 0, column: 4 }, key('PageDown'), limits)).toEqual({ row: 20, column: 4 });
    expect(moved({ row: 50, column: 2 }, key('End', true), limits)).toEqual({ row: 99, column: 4 });
    expect(moved({ row: 50, column: 2 }, key('Home'), limits)).toEqual({ row: 50, column: -1 });
    expect(moved({ row: 50, column: 2 }, key('x'), limits)).toBeNull();
  });

  it('stays in the header where there is no row', () => {
    const none = { ...limits, rows: 0 };
    expect(moved({ row: -1, column: 0 }, key('ArrowDown'), none)).toEqual({ row: -1, column: 0 });
  });
});
