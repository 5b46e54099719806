import { ABOVE, BENEATH } from './colouring';
import { toRgb } from './palette';
import { Painter, fitCanvas } from './painter';
import { View } from './view';

/** Paints pixel by pixel on the processor: where there is no WebGL, where it is slower, and for pictures. */
export class CanvasPainter implements Painter {
  readonly kind = 'canvas';
  readonly canvas = document.createElement('canvas');

  setPoints(xy: Float32Array): void {
    this._xy = xy;
  }

  setColours(slots: Uint8Array, palette: Uint8Array): void {
    this._slots = slots;
    this._palette = palette;
  }

  paint(view: View, size: number, ratio: number, background: string): void {
    fitCanvas(this.canvas, view, ratio);
    const context = this.canvas.getContext('2d')!;
    const { width, height } = this.canvas;
    if (width === 0 || height === 0) {
      return;
    }
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const [r, g, b] = toRgb(background);
    pixels.fill(packed(r, g, b));
    this._points(pixels, view, Math.max(1, Math.round(size * ratio)), ratio);
    context.putImageData(image, 0, 0);
  }

  finish(): void {
    this.canvas.getContext('2d')!.getImageData(0, 0, 1, 1);
  }

  dispose(): void {
    this.canvas.width = this.canvas.height = 0;
  }

  private _points(pixels: Uint32Array, view: View, side: number, ratio: number): void {
    const { width, height } = this.canvas;
    const [ax, ay] = [view.kx * ratio, -view.ky * ratio];
    const bx = width / 2 - view.cx * ax - side / 2;
    const by = height / 2 - view.cy * ay - side / 2;
    const colours = Uint32Array.from({ length: 256 }, (_, i) =>
      packed(this._palette[4 * i], this._palette[4 * i + 1], this._palette[4 * i + 2])
    );
    const layers = Uint8Array.from({ length: 256 }, (_, i) => this._palette[4 * i + 3]);
    const trims = roundTrims(side);
    const [xy, slots] = [this._xy, this._slots];
    for (let layer = BENEATH; layer <= ABOVE; layer++) {
      for (let i = 0; i < slots.length; i++) {
        const slot = slots[i];
        if (layers[slot] !== layer) continue;
        const fx = xy[2 * i] * ax + bx;
        const fy = xy[2 * i + 1] * ay + by;
        if (!(fx > -side && fy > -side && fx < width && fy < height)) continue;
        const [x, y] = [Math.round(fx), Math.round(fy)];
        for (let dy = Math.max(0, -y); dy < side && y + dy < height; dy++) {
          const trim = trims[dy];
          const row = (y + dy) * width;
          const end = Math.min(x + side - trim, width);
          for (let at = Math.max(x + trim, 0); at < end; at++) pixels[row + at] = colours[slot];
        }
      }
    }
  }

  private _xy = new Float32Array();
  private _slots = new Uint8Array();
  private _palette = new Uint8Array(1024);
}

/** How many pixels a disc leaves free at the ends of each of its rows; small points are squares. */
function roundTrims(side: number): number[] {
  const radius = side / 2;
  return Array.from({ length: side }, (_, row) => {
    const away = row + 0.5 - radius;
    return side > 3 ? Math.round(radius - Math.sqrt(radius * radius - away * away)) : 0;
  });
}

function packed(r: number, g: number, b: number): number {
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
