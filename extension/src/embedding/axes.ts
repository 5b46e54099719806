import { Greys } from './palette';
import { SvgElement, svg, text } from './svg';
import { View, seen, ticks, toPixel } from './view';

/** Room for the axes beside the points, in pixels. */
export const MARGINS = { left: 52, right: 10, top: 10, bottom: 40 };

const TICK = 5;

/** Both axes with their names around a plot whose upper left corner is at `left`, `top`. */
export function axes(
  view: View,
  names: [string, string],
  greys: Greys,
  left = MARGINS.left,
  top = MARGINS.top
): SvgElement[] {
  const limits = seen(view);
  const [right, bottom] = [left + view.width, top + view.height];
  const line = (x1: number, y1: number, x2: number, y2: number) =>
    svg('line', { x1, y1, x2, y2, stroke: greys.line });
  const label = { 'font-size': 11, fill: greys.text };
  const across = ticks(limits.x0, limits.x1, Math.max(2, view.width / 90)).flatMap(value => {
    const x = left + toPixel(view, value, 0)[0];
    return [
      line(x, bottom, x, bottom + TICK),
      text(x, bottom + 17, tickText(value), { ...label, 'text-anchor': 'middle' })
    ];
  });
  const up = ticks(limits.y0, limits.y1, Math.max(2, view.height / 60)).flatMap(value => {
    const y = top + toPixel(view, 0, value)[1];
    return [
      line(left - TICK, y, left, y),
      text(left - TICK - 3, y + 4, tickText(value), { ...label, 'text-anchor': 'end' })
    ];
  });
  const [middle, centre] = [left + view.width / 2, top + view.height / 2];
  const name = { fill: greys.text, 'text-anchor': 'middle' };
  return [
    line(left, bottom, right, bottom),
    line(left, top, left, bottom),
    ...across,
    ...up,
    text(middle, bottom + 34, names[0], name),
    text(14, centre, names[1], { ...name, transform: `rotate(-90 14 ${centre})` })
  ];
}

function tickText(value: number): string {
  const size = Math.abs(value);
  return size >= 1e5 || (size > 0 && size < 1e-3) ? value.toExponential(0) : String(value);
}

/** "X_umap", 0 → "umap 1": counted from one, as in papers. */
export function axisName(key: string, column: number): string {
  return `${key.replace(/^X_/, '')} ${column + 1}`;
}
