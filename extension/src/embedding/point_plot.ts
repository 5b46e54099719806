import { CanvasPainter } from './canvas_painter';
import { Painter, orderedPoints, orderedSlots, randomOrder } from './painter';
import { Limits, View, limitsOf, panned, pointSize, resized, seen, whole, zoomed } from './view';
import { WebglPainter } from './webgl_painter';

export type Painting = 'auto' | 'webgl' | 'canvas';

/** How the points are painted, and why not by WebGL where they are not. */
export interface PaintedBy {
  kind: 'webgl' | 'canvas';
  why: '' | 'absent' | 'slow' | 'lost' | 'chosen';
}

export interface PointPlotListener {
  /** The part of the plane that is seen has changed. */
  onView: (view: View) => void;
  onPaintedBy: (by: PaintedBy) => void;
}

// WebGL without a graphics card paints a million points in 300 ms, the processor alone in 45. So some of the
// points are painted for a trial, which takes a graphics card a millisecond and a processor thirty.
const TRIAL = 100_000; // points
const SLOW = 12; // milliseconds
const MOST_MEASURES = 500;

/** Points in a box of the page: where they are, what is seen of them, and when they are painted again. */
export class PointPlot {
  constructor(
    private _host: HTMLElement,
    painting: Painting,
    private _listener: PointPlotListener
  ) {
    this._painting = painting;
    this._usePainter();
    this._sizes = new ResizeObserver(() => this._resize());
    this._sizes.observe(_host);
  }

  get view(): View {
    return this._view;
  }

  /** The part of the plane that is seen. */
  get limits(): Limits {
    return seen(this._view);
  }

  /** Show other points, all of them. */
  setPoints(xy: Float32Array): void {
    const n = xy.length / 2;
    if (this._order.length !== n) {
      this._order = randomOrder(n);
    }
    this._whole = limitsOf(xy);
    this._xy = orderedPoints(xy, this._order);
    this._painter.setPoints(this._xy);
    if (this._slots.length !== n) {
      this._slots = new Uint8Array(n);
      this._painter.setColours(this._slots, this._palette);
    }
    this.reset();
  }

  /** Colour the points; `slots` are in the order of the file. */
  setColours(slots: Uint8Array, palette: Uint8Array, background: string): void {
    if (slots.length !== this._order.length) {
      return; // of points that are not here yet
    }
    if (slots !== this._given) {
      this._slots = orderedSlots(slots, this._order);
      this._given = slots;
    }
    this._palette = palette;
    this._background = background;
    this._painter.setColours(this._slots, palette);
    this.repaint();
  }

  reset(): void {
    this._see(whole(this._whole, this._view.width, this._view.height));
  }

  pan(dx: number, dy: number): void {
    this._see(panned(this._view, dx, dy));
  }

  zoom(factor: number, px = this._view.width / 2, py = this._view.height / 2): void {
    this._see(zoomed(this._view, factor, px, py, this._all()));
  }

  /** Paint in the next frame. */
  repaint(): void {
    if (!this._asked && !this._disposed) {
      this._asked = requestAnimationFrame(() => {
        this._asked = 0;
        this._paint();
      });
    }
  }

  /** What is seen as a picture: painted by the processor, with other colours, `ratio` times as large. */
  image(palette: Uint8Array, background: string, ratio: number): string {
    const painter = new CanvasPainter();
    painter.setPoints(this._xy);
    painter.setColours(this._slots, palette);
    painter.paint(this._view, this._size(), ratio, background);
    const address = painter.canvas.toDataURL('image/png');
    painter.dispose();
    return address;
  }

  /** Position in pixels and palette entry of each point that is seen, or null where they are more than `most`. */
  shapes(most: number): { x: number; y: number; slot: number }[] | null {
    const { cx, cy, kx, ky, width, height } = this._view;
    const found = [];
    for (let i = 0; i < this._slots.length; i++) {
      const x = width / 2 + (this._xy[2 * i] - cx) * kx;
      const y = height / 2 - (this._xy[2 * i + 1] - cy) * ky;
      if (x >= 0 && y >= 0 && x <= width && y <= height) {
        found.push({ x, y, slot: this._slots[i] });
        if (found.length > most) {
          return null;
        }
      }
    }
    return found;
  }

  /** The side of a point in pixels of the page. */
  pointSize(): number {
    return Math.max(1, this._size());
  }

  setPainting(painting: Painting): void {
    if (painting !== this._painting) {
      this._painting = painting;
      this._usePainter();
      this.repaint();
    }
  }

  dispose(): void {
    this._disposed = true;
    cancelAnimationFrame(this._asked);
    this._sizes.disconnect();
    this._painter.dispose();
    this._painter.canvas.remove();
  }

  private _usePainter(why: PaintedBy['why'] = ''): void {
    const before = this._painter;
    this._tried = false;
    if (this._painting === 'canvas' || why) {
      this._painter = new CanvasPainter();
      this._why = why || 'chosen';
    } else {
      try {
        this._painter = new WebglPainter(() => {
          this._usePainter('lost');
          this.repaint();
        });
        this._why = '';
      } catch {
        this._painter = new CanvasPainter();
        this._why = 'absent';
      }
    }
    this._painter.canvas.setAttribute('aria-hidden', 'true');
    this._painter.setPoints(this._xy);
    this._painter.setColours(this._slots, this._palette);
    this._host.prepend(this._painter.canvas);
    if (before) {
      before.canvas.remove();
      before.dispose();
    }
    this._listener.onPaintedBy({ kind: this._painter.kind, why: this._why });
  }

  private _paint(): void {
    if (this._disposed || this._view.width < 1 || this._view.height < 1) {
      return;
    }
    if (!this._tried && this._slots.length >= TRIAL) {
      this._tried = true;
      if (this._painting === 'auto' && this._isSlow()) {
        this._usePainter('slow');
      }
    }
    const start = performance.now();
    this._painter.paint(this._view, this._size(), pixelRatio(), this._background);
    const detail = { painter: this._painter.kind, points: this._slots.length };
    performance.measure('pm-lab:redraw', { start, detail });
    if (++this._measured % MOST_MEASURES === 0) {
      performance.clearMeasures('pm-lab:redraw'); // the browser keeps them all
    }
  }

  private _isSlow(): boolean {
    const painter = this._painter;
    if (!(painter instanceof WebglPainter)) {
      return false;
    }
    const trial = () => {
      const start = performance.now();
      painter.paint(this._view, this._size(), pixelRatio(), this._background, TRIAL);
      painter.finish();
      return performance.now() - start;
    };
    trial(); // compiles
    return Math.min(trial(), trial()) > SLOW;
  }

  private _size(): number {
    return pointSize(this._slots.length, this._view.kx / (this._all().kx || 1));
  }

  private _all(): View {
    return whole(this._whole, this._view.width, this._view.height);
  }

  private _resize(): void {
    const { clientWidth: width, clientHeight: height } = this._host;
    if (width < 1 || height < 1) {
      return; // the tab is hidden
    }
    const first = this._view.width < 1;
    const all = whole(this._whole, width, height);
    this._see(first ? all : resized(this._view, this._all(), all));
  }

  private _see(view: View): void {
    this._view = view;
    this._listener.onView(view);
    this.repaint();
  }

  private _painting: Painting;
  private _painter!: Painter;
  private _why: PaintedBy['why'] = '';
  private _tried = false;
  private _measured = 0;
  private _sizes: ResizeObserver;
  private _whole: Limits = { x0: 0, x1: 1, y0: 0, y1: 1 };
  private _view: View = { cx: 0.5, cy: 0.5, kx: 1, ky: 1, width: 0, height: 0 };
  private _order = new Uint32Array();
  private _xy = new Float32Array();
  private _slots = new Uint8Array();
  private _given: Uint8Array | null = null;
  private _palette = new Uint8Array(1024);
  private _background = '#ffffff';
  private _asked = 0;
  private _disposed = false;
}

function pixelRatio(): number {
  return Math.min(window.devicePixelRatio || 1, 2);
}
