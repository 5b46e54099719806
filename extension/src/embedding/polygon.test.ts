import { describe, expect, it } from 'vitest';

import { Point, simplified } from './polygon';

const circle = (n: number): Point[] =>
  Array.from({ length: n }, (_, i) => [
    Math.cos((2 * Math.PI * i) / n),
    Math.sin((2 * Math.PI * i) / n)
  ]);

function area(polygon: Point[]): number {
  return Math.abs(
    polygon.reduce((sum, [x, y], i) => {
      const [nx, ny] = polygon[(i + 1) % polygon.length];
      return sum + x * ny - y * nx;
    }, 0) / 2
  );
}

describe('a lasso', () => {
  it('loses corners that lie on a line', () => {
    const square: Point[] = [];
    for (let i = 0; i < 10; i++) square.push([i, 0]);
    for (let i = 0; i < 10; i++) square.push([10, i]);
    for (let i = 0; i < 10; i++) square.push([10 - i, 10]);
    for (let i = 0; i < 10; i++) square.push([0, 10 - i]);
    const found = simplified(square, 0.01);
    expect(found.length).toBeLessThanOrEqual(6);
    expect(area(found)).toBeCloseTo(100, 0);
  });

  it('has at most 500 corners and keeps its area', () => {
    const found = simplified(circle(20_000), 1e-7);
    expect(found.length).toBeLessThanOrEqual(500);
    expect(found.length).toBeGreaterThan(50);
    expect(area(found)).toBeCloseTo(Math.PI, 2);
  });

  it('stays a polygon', () => {
    expect(simplified(circle(40), 100).length).toBeGreaterThanOrEqual(3);
    expect(simplified(circle(3), 100)).toHaveLength(3);
  });
});
