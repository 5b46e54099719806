export type Point = [number, number];

/** The fewest and the most corners of a lasso that the server takes. */
export const LEAST_CORNERS = 3;
export const MOST_CORNERS = 500;

/**
 * A polygon of at most `most` corners that stays within a tolerance of the drawn one (Douglas and Peucker).
 * The tolerance starts at `tolerance`, which is above 0, and doubles until the corners are few enough.
 */
export function simplified(polygon: Point[], tolerance: number, most = MOST_CORNERS): Point[] {
  let result = alongLine(polygon, tolerance);
  for (let wider = tolerance * 2; wider > 0 && result.length > most; wider *= 2) {
    result = alongLine(polygon, wider);
  }
  return result;
}

function alongLine(points: Point[], tolerance: number): Point[] {
  if (points.length <= LEAST_CORNERS) {
    return points;
  }
  const kept = new Uint8Array(points.length);
  const last = points.length - 1;
  // The line is closed: its end is near its start, so the corner farthest from the start is kept first.
  const far = farthest(points, 0, last, points[0], points[0]).at;
  kept[0] = kept[far] = kept[last] = 1;
  const open: [number, number][] = [
    [0, far],
    [far, last]
  ];
  while (open.length) {
    const [from, to] = open.pop()!;
    const { at, away } = farthest(points, from, to, points[from], points[to]);
    if (away > tolerance) {
      kept[at] = 1;
      open.push([from, at], [at, to]);
    }
  }
  const result = points.filter((_, i) => kept[i]);
  return result.length < LEAST_CORNERS ? points.slice(0, LEAST_CORNERS) : result;
}

function farthest(points: Point[], from: number, to: number, a: Point, b: Point) {
  let at = from;
  let away = 0;
  for (let i = from + 1; i < to; i++) {
    const distance = toSegment(points[i], a, b);
    if (distance > away) {
      at = i;
      away = distance;
    }
  }
  return { at, away };
}

function toSegment([x, y]: Point, [ax, ay]: Point, [bx, by]: Point): number {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const t = length ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length)) : 0;
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}

/** The corners of a rectangle. */
export function rectangle(x0: number, x1: number, y0: number, y1: number): Point[] {
  return [
    [x0, y0],
    [x1, y0],
    [x1, y1],
    [x0, y1]
  ];
}
