import { PointPlot } from './point_plot';
import { Point } from './polygon';

export type Mode = 'move' | 'lasso';

const STEP = 40; // pixels an arrow key moves
const ZOOM = 1.4;
const NEAR = 3; // pixels between two corners of a lasso

export interface Gestures {
  mode: () => Mode;
  /** The lasso so far in pixels; null when it is over. */
  onTrail: (trail: Point[] | null) => void;
  onLasso: (trail: Point[]) => void;
}

/** Pointer, wheel and keys on the plot. Gives back what undoes it. */
export function listen(host: HTMLElement, plot: PointPlot, gestures: Gestures): () => void {
  const off = new AbortController();
  const { signal } = off;
  host.addEventListener('keydown', event => key(event, plot), { signal });
  const wheel = (event: WheelEvent) => {
    event.preventDefault();
    const [x, y] = place(host, event);
    plot.zoom(1.0015 ** -Math.max(-300, Math.min(300, event.deltaY)), x, y);
  };
  host.addEventListener('wheel', wheel, { signal, passive: false });
  host.addEventListener('pointerdown', event => drag(event, host, plot, gestures), { signal });
  host.addEventListener('dblclick', () => gestures.mode() === 'move' && plot.zoom(2), { signal });
  return () => off.abort();
}

function key(event: KeyboardEvent, plot: PointPlot): void {
  if (event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  const acts: Record<string, () => void> = {
    ArrowLeft: () => plot.pan(STEP, 0),
    ArrowRight: () => plot.pan(-STEP, 0),
    ArrowUp: () => plot.pan(0, STEP),
    ArrowDown: () => plot.pan(0, -STEP),
    '+': () => plot.zoom(ZOOM),
    '=': () => plot.zoom(ZOOM),
    '-': () => plot.zoom(1 / ZOOM),
    '0': () => plot.reset()
  };
  const act = acts[event.key];
  if (act) {
    act();
    event.preventDefault();
    event.stopPropagation(); // an arrow key would also change the tab
  }
}

function place(host: HTMLElement, event: MouseEvent): Point {
  const box = host.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function drag(down: PointerEvent, host: HTMLElement, plot: PointPlot, gestures: Gestures): void {
  if (down.button !== 0) {
    return;
  }
  host.setPointerCapture(down.pointerId);
  const mode = gestures.mode();
  const trail: Point[] = [place(host, down)];
  const over = new AbortController();
  const { signal } = over;
  const follow = (event: PointerEvent) => {
    const now = place(host, event);
    const before = trail[trail.length - 1];
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    if (mode === 'move') {
      trail[0] = now;
      plot.pan(dx, dy);
    } else if (Math.hypot(dx, dy) >= NEAR) {
      trail.push(now);
      gestures.onTrail([...trail]);
    }
  };
  const finish = (event: PointerEvent) => {
    over.abort();
    gestures.onTrail(null);
    if (event.type === 'pointerup' && mode === 'lasso' && trail.length >= 3) {
      gestures.onLasso(trail);
    }
  };
  host.addEventListener('pointermove', follow, { signal });
  host.addEventListener('pointerup', finish, { signal });
  host.addEventListener('pointercancel', finish, { signal });
}
