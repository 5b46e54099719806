import { TranslationBundle } from '@jupyterlab/translation';

import { count } from '../viewer/format';
import { axes } from './axes';
import { ColourMeta, LegendRow, barStops } from './colouring';
import { plain, sharedCount, sharedCounts, sharedPart } from './counts';
import { LIGHT, toHex } from './palette';
import { SvgElement, picture, svg, text } from './svg';
import { View } from './view';

/** Up to this many points stand in an SVG as shapes; more are one image, so that it can be opened. */
export const MOST_SHAPES = 10_000;

export interface Points {
  /** Position in pixels and palette entry, or null where they are too many. */
  shapes: { x: number; y: number; slot: number }[] | null;
  /** A PNG as a data address, where there are no shapes. */
  image: string;
  palette: Uint8Array;
  size: number;
}

export interface PictureOptions {
  title: string;
  lines: string[];
  view: View;
  axisNames: [string, string];
  points: Points;
  legend: PictureLegend;
}

export interface PictureLegend {
  elements: SvgElement[];
  height: number;
}

const [LEFT, TOP, BOTTOM, LEGEND] = [60, 62, 48, 250];
const MOST_ROWS = 40;
const ROW = 17;

/** The embedding as a picture for a paper: points, axes, legend and what is shown, as text. */
export function embeddingPicture(options: PictureOptions): SvgElement {
  const { title, lines, view, axisNames, points, legend } = options;
  const width = LEFT + view.width + LEGEND;
  const height = TOP + Math.max(view.height + BOTTOM, legend.height + 10);
  const most = Math.floor((width - LEFT) / 6.4);
  return picture(width, height, [
    svg('title', {}, title),
    text(LEFT, 22, title, { 'font-size': 15, 'font-weight': 'bold', fill: LIGHT.text }, most),
    ...lines.map((line, i) => text(LEFT, 40 + 15 * i, line, { fill: LIGHT.text }, most)),
    svg('g', { transform: `translate(${LEFT} ${TOP})` }, ...drawn(points, view)),
    ...axes(view, axisNames, LIGHT, LEFT, TOP),
    svg('g', { transform: `translate(${LEFT + view.width + 18} ${TOP})` }, ...legend.elements)
  ]);
}

function drawn({ shapes, image, palette, size }: Points, view: View): SvgElement[] {
  if (!shapes) {
    const { width, height } = view;
    return [svg('image', { href: image, width, height, 'image-rendering': 'auto' })];
  }
  const colour = (slot: number) =>
    toHex([palette[4 * slot], palette[4 * slot + 1], palette[4 * slot + 2]]);
  const layer = (slot: number) => palette[4 * slot + 3];
  return [...shapes]
    .sort((a, b) => layer(a.slot) - layer(b.slot)) // stable: random within a layer
    .map(({ x, y, slot }) =>
      svg('circle', { cx: x.toFixed(1), cy: y.toFixed(1), r: size / 2, fill: colour(slot) })
    );
}

/** The legend of categories, with small counts hidden. */
export function categoryLegend(
  title: string,
  rows: LegendRow[],
  least: number,
  emphasised: number | null,
  trans: TranslationBundle
): PictureLegend {
  const counts = sharedCounts(
    rows.map(row => row.count),
    least,
    trans
  );
  const shown = rows.slice(0, MOST_ROWS);
  const entries = shown.flatMap((row, i) => {
    const y = 16 + i * ROW;
    const faded = emphasised !== null && emphasised !== row.category;
    return [
      svg('rect', {
        x: 0,
        y: y - 9,
        width: 10,
        height: 10,
        fill: faded ? LIGHT.faint : row.colour
      }),
      text(16, y, row.label, { fill: LIGHT.text }, 22),
      text(228, y, counts[i], { 'text-anchor': 'end', fill: LIGHT.text })
    ];
  });
  const end = 16 + shown.length * ROW;
  const notes = [
    ...(rows.length > shown.length
      ? [trans.__('and %1 more', count(rows.length - shown.length))]
      : []),
    ...(rows.some(row => row.shared) ? [trans.__('grey: all less frequent categories')] : []),
    trans.__('Counts are of all cells.')
  ];
  const elements = [heading(title), ...entries, ...noteLines(notes, end + 6)];
  return { elements, height: end + 6 + 15 * notes.length };
}

/** The colour bar, with small counts hidden. */
export function numberLegend(
  title: string,
  meta: ColourMeta & { kind: 'number' },
  least: number,
  trans: TranslationBundle
): PictureLegend {
  if (meta.low === null || meta.high === null) {
    const note = noteLines([trans.__('All values are missing.')], 16);
    return { elements: [heading(title), ...note], height: 30 };
  }
  const stops = barStops();
  const bar = stops.map((colour, i) =>
    svg('stop', { offset: `${(100 * i) / (stops.length - 1)}%`, 'stop-color': colour })
  );
  const clipped = meta.low !== meta.min || meta.high !== meta.max;
  const elements = [
    heading(title),
    svg('defs', {}, svg('linearGradient', { id: 'pm-lab-bar' }, ...bar)),
    svg('rect', { x: 0, y: 10, width: 228, height: 12, fill: 'url(#pm-lab-bar)' }),
    text(0, 36, plain(meta.low), { fill: LIGHT.text }),
    text(228, 36, plain(meta.high), { 'text-anchor': 'end', fill: LIGHT.text }),
    ...noteLines(
      [
        clipped
          ? trans.__('1st to 99th percentile of all cells')
          : trans.__('smallest to largest value'),
        trans.__('missing (grey): %1', sharedCount(meta.n_missing, least))
      ],
      54
    )
  ];
  return { elements, height: 90 };
}

function heading(title: string): SvgElement {
  return text(0, 0, title, { 'font-weight': 'bold', fill: LIGHT.text }, 34);
}

function noteLines(lines: string[], y: number): SvgElement[] {
  return lines.map((line, i) =>
    text(0, y + i * 15, line, { 'font-size': 11, fill: '#555555' }, 42)
  );
}

/** How many points are drawn, and how many of them the filters leave. */
export function drawnLine(
  { drawn, total, sampled }: { drawn: number; total: number; sampled: boolean },
  matching: number | null,
  least: number,
  trans: TranslationBundle
): string {
  const parts = [
    sampled
      ? trans.__('%1 of %2 cells drawn, chosen at random', count(drawn), count(total))
      : trans.__('%1 cells drawn', sharedPart(drawn, total, least, trans))
  ];
  if (!sampled && drawn < total) {
    parts.push(trans.__('the others have no position'));
  }
  if (matching !== null) {
    const part = sharedPart(matching, total, least, trans);
    parts.push(trans.__('%1 match the filters, the others are faint', part));
  }
  return parts.join('; ');
}
