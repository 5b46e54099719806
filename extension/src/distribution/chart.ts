import { TranslationBundle } from '@jupyterlab/translation';

import { LegendRow } from '../embedding/colouring';
import { plain, sharedCounts } from '../embedding/counts';
import { Greys, LIGHT } from '../embedding/palette';
import { SvgElement, picture, svg, text } from '../embedding/svg';
import { ticks } from '../embedding/view';
import { Distribution, NumberGroup } from './answer';
import { Scale, boxParts, inRest, legendOf, range, scale, shares, violinPath } from './shapes';

export type PlotKind = 'violin' | 'box' | 'bar';

export interface ChartOptions {
  answer: Distribution;
  plot: PlotKind;
  width: number;
  greys: Greys;
  /** Counts below this are hidden, and groups of fewer are not drawn; 0 where the picture stays on the page. */
  least: number;
  trans: TranslationBundle;
}

const [NAMES, COUNTS, AXIS, ROW, TOP] = [150, 84, 46, 34, 44];
const HALF = 13;
const MOST_LETTERS = 60; // of the name of the values

/** The height of a chart without its legend. */
export function chartHeight(answer: Distribution): number {
  return TOP + answer.groups.length * ROW + AXIS;
}

/** One row a group: its name, its values and its count. */
export function chart(options: ChartOptions): SvgElement[] {
  const { answer, width, greys, least, trans } = options;
  const bottom = TOP + answer.groups.length * ROW;
  const at = valueScale(options);
  const counts = sharedCounts(
    answer.groups.map(({ n }) => n),
    least,
    trans
  );
  const marks = answer.groups.flatMap((group, i) => {
    const middle = TOP + (i + 0.5) * ROW;
    return [
      text(NAMES - 8, middle + 4, group.name, { 'text-anchor': 'end', fill: greys.text }, 22),
      text(width - 4, middle + 4, counts[i], { 'text-anchor': 'end', fill: greys.text }),
      ...(group.n < least || group.n === 0 ? [] : row(options, i, at, middle))
    ];
  });
  const means = options.plot === 'bar' && answer.kind === 'number';
  const unit = answer.kind === 'category' ? trans.__('share of cells') : answer.name;
  const name = means ? trans.__('mean of %1', unit) : unit;
  const heading = { fill: greys.text, 'font-size': 11 };
  const middle = (NAMES + width - COUNTS) / 2;
  return [
    text(width - 4, TOP - 10, trans.__('cells'), { ...heading, 'text-anchor': 'end' }),
    text(NAMES - 8, 12, answer.by, { ...heading, 'text-anchor': 'end' }, 22),
    ...valueAxis(at, bottom, greys, answer.kind === 'category'),
    ...marks,
    ...[12, bottom + 36].map(y =>
      text(middle, y, name, { fill: greys.text, 'text-anchor': 'middle' }, MOST_LETTERS)
    )
  ];
}

function valueScale({ answer, plot, width }: ChartOptions): Scale {
  const [low, high] = answer.kind === 'category' ? [0, 1] : range(answer.groups, plot === 'bar');
  return scale(low, high, NAMES, width - COUNTS);
}

function valueAxis(at: Scale, bottom: number, greys: Greys, share: boolean): SvgElement[] {
  const marks = ticks(at.low, at.high, 7).flatMap(value => {
    const x = at(value);
    const shown = share ? `${Math.round(value * 100)} %` : plain(value);
    return [
      svg('line', { x1: x, y1: TOP - 4, x2: x, y2: bottom + 4, stroke: greys.faint }),
      ...[TOP - 10, bottom + 18].map(y =>
        text(x, y, shown, { 'text-anchor': 'middle', 'font-size': 11, fill: greys.text })
      )
    ];
  });
  const line = { x1: at(at.low), y1: bottom, x2: at(at.high), y2: bottom, stroke: greys.line };
  return [...marks, svg('line', line)];
}

function row(options: ChartOptions, i: number, at: Scale, middle: number): SvgElement[] {
  const { answer, plot, greys, least } = options;
  if (answer.kind === 'category') {
    return stacked(answer.groups[i], legendOf(answer.categories, answer.groups), at, middle, least);
  }
  const group = answer.groups[i];
  if (plot === 'bar') {
    const [a, b] = [at(0), at(group.mean ?? 0)];
    const box = { x: Math.min(a, b), width: Math.max(Math.abs(b - a), 1) };
    return [svg('rect', { ...box, y: middle - HALF, height: 2 * HALF, fill: greys.plain })];
  }
  return plot === 'violin' ? violin(group, at, middle, greys) : box(group, at, middle, greys, HALF);
}

function violin(group: NumberGroup, at: Scale, middle: number, greys: Greys): SvgElement[] {
  const d = violinPath(group.density, at, middle, HALF + 1);
  const outline = { d, fill: greys.plain, 'fill-opacity': 0.45, stroke: greys.plain };
  return [...(d ? [svg('path', outline)] : []), ...box(group, at, middle, greys, 3)];
}

function box(
  group: NumberGroup,
  at: Scale,
  middle: number,
  greys: Greys,
  half: number
): SvgElement[] {
  const parts = boxParts(group, at);
  if (!parts) {
    return [];
  }
  const line = (x1: number, x2: number, y1: number, y2: number, width = 1) =>
    svg('line', { x1, x2, y1, y2, stroke: greys.text, 'stroke-width': width });
  const [low, high] = parts.whiskers;
  const slim = half < HALF;
  return [
    line(low, high, middle, middle),
    ...(slim ? [] : [low, high].map(x => line(x, x, middle - 5, middle + 5))),
    svg('rect', {
      ...parts.box,
      y: middle - half,
      height: 2 * half,
      fill: slim ? greys.text : greys.plain,
      stroke: greys.text
    }),
    slim
      ? svg('circle', {
          cx: parts.median,
          cy: middle,
          r: 3,
          fill: greys.background,
          stroke: greys.text
        })
      : line(parts.median, parts.median, middle - half, middle + half, 2)
  ];
}

function stacked(
  group: { n: number; name: string; counts: number[] },
  rows: LegendRow[],
  at: Scale,
  middle: number,
  least: number
): SvgElement[] {
  return shares(group, rows, least).map(({ start, end, colour }) =>
    svg('rect', {
      x: at(start),
      width: at(end) - at(start),
      y: middle - HALF,
      height: 2 * HALF,
      fill: colour
    })
  );
}

/** What the shapes mean, in a sentence. */
export function explained(answer: Distribution, plot: PlotKind, trans: TranslationBundle): string {
  if (answer.kind === 'category') {
    return trans.__('Each bar is all cells of a group that have a value.');
  }
  return {
    violin: trans.__(
      'Each violin is as wide as a row where its values are densest; inside: quartiles, median and whiskers.'
    ),
    box: trans.__(
      'Boxes: quartiles and median. Whiskers: the outermost values within 1.5 interquartile ranges.'
    ),
    bar: trans.__('Bars: means of cells. They show neither spread nor how far patients differ.')
  }[plot];
}

/** The chart as a picture for a paper, on white, with small counts hidden. */
export function distributionPicture(
  title: string,
  lines: string[],
  options: Omit<ChartOptions, 'greys'>
): SvgElement {
  const { answer, width, least, trans } = options;
  const rows = answer.kind === 'category' ? legendOf(answer.categories, answer.groups) : [];
  const key = rows.length ? keyRows(rows, width, least, trans) : { elements: [], height: 0 };
  const head = 34 + 16 * lines.length;
  const height = head + chartHeight(answer) + key.height + 8;
  const most = Math.floor(width / 6.2);
  return picture(width + 24, height, [
    svg('title', {}, title),
    text(12, 22, title, { 'font-size': 15, 'font-weight': 'bold', fill: LIGHT.text }, most),
    ...lines.map((line, i) =>
      text(12, 40 + 16 * i, line, { 'font-size': 11, fill: '#555555' }, most + 20)
    ),
    svg('g', { transform: `translate(12 ${head})` }, ...chart({ ...options, greys: LIGHT })),
    svg('g', { transform: `translate(12 ${head + chartHeight(answer)})` }, ...key.elements)
  ]);
}

const CELL = 190;

function keyRows(rows: LegendRow[], width: number, least: number, trans: TranslationBundle) {
  const own = rows.filter(row => !row.shared);
  const across = Math.max(1, Math.floor(width / CELL));
  const entries = own.map(({ label, colour }) => ({ label, colour }));
  const more = inRest(rows);
  if (more || least) {
    const small = least ? trans.__('counts below %1', least) : '';
    const rest = more ? trans.__('%1 rarer categories', more) : '';
    entries.push({ label: [rest, small].filter(Boolean).join(', '), colour: LIGHT.rest });
  }
  const elements = entries.flatMap(({ label, colour }, i) => {
    const [x, y] = [(i % across) * CELL, 14 + Math.floor(i / across) * 18];
    return [
      svg('rect', { x, y: y - 10, width: 11, height: 11, fill: colour }),
      text(x + 17, y, label, { fill: LIGHT.text }, 28)
    ];
  });
  return { elements, height: Math.ceil(entries.length / across) * 18 + 12 };
}
