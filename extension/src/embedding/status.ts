import { count } from '../viewer/format';
import { ViewerModel } from '../viewer/model';
import { Value } from '../viewer/state';
import { plain } from './counts';
import { PaintedBy } from './point_plot';
import { Colours, Mask, Points } from './use_embedding';

/** A column or a gene as a heading. */
export function valueName(value: Value): string {
  return value.kind === 'gene' && value.layer ? `${value.name} (${value.layer})` : value.name;
}

/** How many points there are, are drawn, and match the filters. */
export function pointsText(model: ViewerModel, { meta, drawn }: Points, mask: Mask | null): string {
  const trans = model.trans;
  const [total, shown] = [count(meta.n_total), count(meta.n_shown)];
  const parts = [
    meta.sampled
      ? trans.__('%1 of %2 cells drawn, chosen at random; counts are of all cells.', shown, total)
      : trans._n('%2 cell drawn.', 'All %2 cells drawn.', meta.n_total, total)
  ];
  const without = meta.n_shown - drawn;
  if (without > 0) {
    parts.push(trans.__('%1 have no position.', count(without)));
  }
  if (mask) {
    const matching = count(mask.n_matching);
    parts.push(trans.__('%1 match the filters; the others are faint.', matching));
  }
  return parts.join(' ');
}

/** How the points are painted. */
export function paintedText(model: ViewerModel, by: PaintedBy): string {
  const trans = model.trans;
  if (by.kind === 'webgl') {
    return trans.__('Painted by WebGL.');
  }
  return {
    '': '',
    absent: trans.__('Painted by the processor: this browser gives no WebGL.'),
    slow: trans.__('Painted by the processor, which is faster here than WebGL.'),
    lost: trans.__('Painted by the processor: the browser took WebGL away.'),
    chosen: trans.__('Painted by the processor, as the settings say.')
  }[by.why];
}

/** The picture in words. */
export function label(
  model: ViewerModel,
  names: [string, string],
  points: Points | null,
  colours: Colours | null
): string {
  const trans = model.trans;
  if (!points) {
    return trans.__('Embedding');
  }
  const parts = [
    trans.__('%1 cells by %2 and %3.', count(points.meta.n_shown), names[0], names[1])
  ];
  if (colours) {
    const { meta } = colours;
    const name = valueName(colours.of);
    if (meta.kind === 'category') {
      parts.push(trans.__('Coloured by %1, %2 categories.', name, meta.categories.length));
    } else if (meta.low !== null && meta.high !== null) {
      parts.push(trans.__('Coloured by %1, %2 to %3.', name, plain(meta.low), plain(meta.high)));
    }
  }
  parts.push(
    trans.__('Arrow keys move, plus and minus zoom, 0 shows all. The legend has the counts.')
  );
  return parts.join(' ');
}
