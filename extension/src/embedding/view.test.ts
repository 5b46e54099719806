import { describe, expect, it } from 'vitest';

import { randomOrder, orderedPoints, orderedSlots } from './painter';
import {
  limitsOf,
  panned,
  pointSize,
  resized,
  seen,
  ticks,
  toPixel,
  toValue,
  whole,
  zoomed
} from './view';

const limits = { x0: -10, x1: 10, y0: 0, y1: 10 };
const all = whole(limits, 800, 600);

describe('a view', () => {
  it('shows everything, with equal units', () => {
    const { x0, x1, y0, y1 } = seen(all);
    expect(x0).toBeLessThan(-10);
    expect(x1).toBeGreaterThan(10);
    expect(y0).toBeLessThan(0);
    expect(y1).toBeGreaterThan(10);
    expect(all.kx).toBe(all.ky);
  });

  it('fills the plot where one range is far larger', () => {
    const view = whole({ x0: 0, x1: 1000, y0: 0, y1: 1 }, 800, 600);
    expect(view.ky).toBeGreaterThan(view.kx);
  });

  it('goes from values to pixels and back', () => {
    const [px, py] = toPixel(all, 3, 4);
    const [x, y] = toValue(all, px, py);
    expect(x).toBeCloseTo(3);
    expect(y).toBeCloseTo(4);
    expect(toPixel(all, 0, 10)[1]).toBeLessThan(toPixel(all, 0, 0)[1]); // up is up
  });

  it('zooms about the pointer and within bounds', () => {
    const closer = zoomed(all, 2, 100, 100, all);
    expect(toValue(closer, 100, 100)[0]).toBeCloseTo(toValue(all, 100, 100)[0]);
    expect(closer.kx).toBeCloseTo(2 * all.kx);
    expect(zoomed(all, 1e9, 0, 0, all).kx / all.kx).toBeCloseTo(1000);
    expect(zoomed(all, 1e-9, 0, 0, all).kx / all.kx).toBeCloseTo(0.25);
  });

  it('moves with the pointer', () => {
    const moved = panned(all, 40, -20);
    const before = toPixel(all, 1, 1);
    const after = toPixel(moved, 1, 1);
    expect(after[0] - before[0]).toBeCloseTo(40);
    expect(after[1] - before[1]).toBeCloseTo(-20);
  });

  it('keeps its middle and its zoom when the plot changes its size', () => {
    const small = whole(limits, 400, 300);
    const closer = zoomed(panned(all, 10, 0), 2, 400, 300, all);
    const found = resized(closer, all, small);
    expect(found.cx).toBe(closer.cx);
    expect(found.kx).toBeCloseTo(2 * small.kx);
    expect(resized(resized(all, all, small), small, all)).toEqual(all);
  });
});

describe('points', () => {
  it('without a position count for nothing', () => {
    const found = limitsOf(Float32Array.from([1, 2, NaN, 5, 3, 4]));
    expect(found).toEqual({ x0: 1, x1: 3, y0: 2, y1: 4, drawn: 2 });
  });

  it('are drawn in a random order, each once, the same each time', () => {
    const order = randomOrder(1000);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect([...order]).not.toEqual([...order].sort((a, b) => a - b));
    expect(randomOrder(1000)).toEqual(order);
    const late = order.slice(900).filter(i => i >= 500).length;
    expect(late).toBeGreaterThan(30); // neither half is on top
    expect(late).toBeLessThan(70);
  });

  it('keep their colour in that order', () => {
    const order = Uint32Array.from([2, 0, 1]);
    const xy = orderedPoints(Float32Array.from([0, 0, 1, 1, 2, 2]), order);
    const slots = orderedSlots(Uint8Array.from([0, 1, 2]), order);
    expect([xy[0], xy[2], xy[4]]).toEqual([...slots]);
  });

  it('are smaller the more they are', () => {
    const sizes = [100, 5_000, 20_000, 100_000, 1_000_000].map(n => pointSize(n, 1));
    expect([...sizes].sort((a, b) => b - a)).toEqual(sizes);
    expect(pointSize(1_000_000, 100)).toBeGreaterThan(pointSize(1_000_000, 1));
  });
});

describe('ticks', () => {
  it('are round and within the limits', () => {
    expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks(-0.31, 0.29, 4)).toEqual([-0.2, 0, 0.2]);
    expect(ticks(5, 5)).toEqual([5]);
    expect(ticks(0, Infinity)).toEqual([0]);
  });
});
