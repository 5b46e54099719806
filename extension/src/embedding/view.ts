export interface Limits {
  x0: number;
  x1: number;
  y0: number;
  y1: number;
}

/** What of the plane is seen: the value in the middle, and pixels a unit. */
export interface View {
  cx: number;
  cy: number;
  kx: number;
  ky: number;
  width: number;
  height: number;
}

const MARGIN = 0.04;
const DEEPEST = 1000;
const WIDEST = 0.25;
const ALIKE = 8;

/** The smallest and largest finite coordinates; points with one that is not finite are not drawn. */
export function limitsOf(xy: Float32Array): Limits & { drawn: number } {
  let [x0, x1, y0, y1, drawn] = [Infinity, -Infinity, Infinity, -Infinity, 0];
  for (let i = 0; i < xy.length; i += 2) {
    const x = xy[i];
    const y = xy[i + 1];
    if (Number.isFinite(x) && Number.isFinite(y)) {
      drawn++;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      if (y > y1) y1 = y;
    }
  }
  return drawn ? { x0, x1, y0, y1, drawn } : { x0: 0, x1: 1, y0: 0, y1: 1, drawn };
}

/**
 * All points seen. A unit is as long across as up, so that distances (and pictures of tissue) are not
 * distorted; only where one range is more than eight times the other does each axis fill the plot.
 */
export function whole(limits: Limits, width: number, height: number): View {
  const rx = limits.x1 - limits.x0 || 1;
  const ry = limits.y1 - limits.y0 || 1;
  let kx = (width * (1 - 2 * MARGIN)) / rx;
  let ky = (height * (1 - 2 * MARGIN)) / ry;
  if (Math.max(rx, ry) <= ALIKE * Math.min(rx, ry)) {
    kx = ky = Math.min(kx, ky);
  }
  const [cx, cy] = [(limits.x0 + limits.x1) / 2, (limits.y0 + limits.y1) / 2];
  return { cx, cy, kx, ky, width, height };
}

export function toPixel(view: View, x: number, y: number): [number, number] {
  return [view.width / 2 + (x - view.cx) * view.kx, view.height / 2 - (y - view.cy) * view.ky];
}

export function toValue(view: View, px: number, py: number): [number, number] {
  return [view.cx + (px - view.width / 2) / view.kx, view.cy - (py - view.height / 2) / view.ky];
}

/** Moved by pixels. */
export function panned(view: View, dx: number, dy: number): View {
  return { ...view, cx: view.cx - dx / view.kx, cy: view.cy + dy / view.ky };
}

/** Larger by a factor about a pixel, within a quarter and a thousand times the whole. */
export function zoomed(view: View, factor: number, px: number, py: number, all: View): View {
  const wanted = (view.kx * factor) / all.kx;
  const held = Math.min(DEEPEST, Math.max(WIDEST, wanted)) / (view.kx / all.kx);
  const [x, y] = toValue(view, px, py);
  const next = { ...view, kx: view.kx * held, ky: view.ky * held };
  next.cx = x - (px - view.width / 2) / next.kx;
  next.cy = y + (py - view.height / 2) / next.ky;
  return next;
}

/** The same middle and the same zoom after the plot's size changed. */
export function resized(view: View, before: View, after: View): View {
  const { width, height } = after;
  const [kx, ky] = [(view.kx / before.kx) * after.kx, (view.ky / before.ky) * after.ky];
  return { ...view, width, height, kx, ky };
}

/** The limits that are seen. */
export function seen(view: View): Limits {
  const [x0, y1] = toValue(view, 0, 0);
  const [x1, y0] = toValue(view, view.width, view.height);
  return { x0, x1, y0, y1 };
}

/** The side of a point in pixels of the page: few points are large, many small, and they grow a little with zoom. */
export function pointSize(n: number, zoom: number): number {
  const base = n > 200_000 ? 1 : n > 50_000 ? 1.5 : n > 10_000 ? 2.5 : n > 2_000 ? 4 : 6;
  return Math.min(base * Math.max(1, zoom ** 0.35), 9);
}

/** Round values between two limits, at most about `most` of them. */
export function ticks(low: number, high: number, most = 6): number[] {
  const range = high - low;
  if (!(range > 0) || !Number.isFinite(range)) {
    return Number.isFinite(low) ? [low] : [];
  }
  const rough = range / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find(one => one * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12))
  );
}
