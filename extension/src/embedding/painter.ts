import { View } from './view';

/** Paints points on a canvas of its own. Positions, palette entries and palette are kept between paintings. */
export interface Painter {
  readonly kind: 'webgl' | 'canvas';
  readonly canvas: HTMLCanvasElement;
  /** Alternating x and y. */
  setPoints(xy: Float32Array): void;
  /** The palette entry of each point, and 256 times red, green, blue and layer. */
  setColours(slots: Uint8Array, palette: Uint8Array): void;
  /** `size` is in pixels of the page, `ratio` the pixels of the canvas to one of the page. */
  paint(view: View, size: number, ratio: number, background: string): void;
  /** Wait until everything is painted. */
  finish(): void;
  dispose(): void;
}

/** Make the canvas as large as the view, in pixels of the screen. */
export function fitCanvas(canvas: HTMLCanvasElement, view: View, ratio: number): void {
  const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
}

/**
 * A random order of n points, the same each time.
 *
 * Points are drawn in this order. In the order of the file, the category or the sample that comes last would
 * hide the others where they overlap; with the rarest or the highest value last, a few cells would look like
 * most of a cluster. In a random order each spot shows what most of the points there are.
 */
export function randomOrder(n: number): Uint32Array {
  const order = new Uint32Array(n);
  let state = 0x9e3779b9;
  for (let i = 0; i < n; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = Math.floor(((state >>> 0) / 2 ** 32) * (i + 1));
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}

// Far from everything, yet a number: where a point without a position goes.
const NOWHERE = 1e30;

/** Positions in another order. Points without one go where no view reaches. */
export function orderedPoints(xy: Float32Array, order: Uint32Array): Float32Array {
  const result = new Float32Array(xy.length);
  for (let i = 0; i < order.length; i++) {
    const from = 2 * order[i];
    const found = Number.isFinite(xy[from]) && Number.isFinite(xy[from + 1]);
    result[2 * i] = found ? xy[from] : NOWHERE;
    result[2 * i + 1] = found ? xy[from + 1] : NOWHERE;
  }
  return result;
}

/** Palette entries in another order. */
export function orderedSlots(slots: Uint8Array, order: Uint32Array): Uint8Array {
  const result = new Uint8Array(order.length);
  for (let i = 0; i < order.length; i++) {
    result[i] = slots[order[i]];
  }
  return result;
}
