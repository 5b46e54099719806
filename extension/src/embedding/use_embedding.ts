import { useMemo } from 'react';

import { NumberArray } from '../api';
import { ViewerModel } from '../viewer/model';
import { Value } from '../viewer/state';
import {
  ColourMeta,
  categorySlots,
  numberSlots,
  palette as paletteOf,
  withoutLeftOut
} from './colouring';
import { Greys } from './palette';
import { Answer, useAnswer } from './use_answer';
import { limitsOf } from './view';

export interface PointsMeta {
  n_total: number;
  n_shown: number;
  sampled: boolean;
  how: string;
}

export interface Points {
  meta: PointsMeta;
  xy: Float32Array;
  /** Points that have a position. */
  drawn: number;
}

export interface Colours {
  /** Which column or gene; not the chosen one while that is still awaited. */
  of: Value;
  meta: ColourMeta;
  values: NumberArray;
}

export interface Mask {
  n_matching: number;
  mask: NumberArray;
}

/** Where the points are. */
export function usePoints(model: ViewerModel, key: string | null, x: number, y: number) {
  const limit = model.settings.pointLimit;
  const id = key === null ? null : JSON.stringify([model.etag, key, x, y, limit]);
  return useAnswer<Points>(id, async signal => {
    const query = { key, x, y, limit };
    const { meta, arrays } = await model.requestArrays<PointsMeta>('anndata/embedding', query, {
      signal
    });
    const xy = arrays.xy as Float32Array;
    return { meta, xy, drawn: limitsOf(xy).drawn };
  });
}

/** What the points are coloured by: a column, or a gene, whose scan shows its progress. */
export function useColours(model: ViewerModel, value: Value | null): Answer<Colours> {
  const limit = model.settings.pointLimit;
  const id = value === null ? null : JSON.stringify([model.etag, value, limit]);
  return useAnswer<Colours>(id, (signal, onProgress) =>
    model.withProgress(async task => {
      const of = valueQuery(value!);
      const { meta, arrays } = await model.requestArrays<ColourMeta>(
        'anndata/colour',
        { ...of, limit, task },
        { signal }
      );
      return { of: value!, meta, values: arrays.codes ?? arrays.values };
    }, onProgress)
  );
}

/** Which of the points the filters leave. */
export function useMask(model: ViewerModel): Answer<Mask> {
  const limit = model.settings.pointLimit;
  const filters = model.filters('obs');
  const id = filters.length ? JSON.stringify([model.etag, filters, limit]) : null;
  return useAnswer<Mask>(id, (signal, onProgress) =>
    model.withProgress(async task => {
      const query = { axis: 'obs', filters, limit, task };
      const { meta, arrays } = await model.requestArrays<{ n_matching: number }>(
        'anndata/mask',
        query,
        { signal }
      );
      return { n_matching: meta.n_matching, mask: arrays.mask };
    }, onProgress)
  );
}

/** How the routes of the server call a value. */
export function valueQuery(value: Value) {
  return value.kind === 'obs'
    ? { obs: value.name }
    : { gene: value.name, layer: value.layer ?? '' };
}

/** The palette entry of each point, in the order of the file. */
export function useSlots(
  points: Points | null,
  colours: Colours | null,
  mask: Mask | null,
  emphasised: number | null
): Uint8Array | null {
  const n = points ? points.xy.length / 2 : 0;
  const bare = useMemo(() => {
    if (!colours || colours.values.length !== n) {
      return new Uint8Array(n);
    }
    const { meta, values } = colours;
    return meta.kind === 'category'
      ? categorySlots(values, meta.counts, emphasised)
      : numberSlots(values, meta.low ?? 0, meta.high ?? 1);
  }, [n, colours, emphasised]);
  return useMemo(() => {
    const fits = mask !== null && mask.mask.length === n;
    return n ? withoutLeftOut(bare, fits ? mask.mask : null) : null;
  }, [bare, mask, n]);
}

export function usePalette(
  colours: Colours | null,
  emphasised: number | null,
  greys: Greys
): Uint8Array {
  return useMemo(() => paletteFor(colours, emphasised, greys), [colours, emphasised, greys]);
}

export function paletteFor(
  colours: Colours | null,
  emphasised: number | null,
  greys: Greys
): Uint8Array {
  const meta = colours?.meta;
  const counts = meta?.kind === 'category' ? meta.counts : [];
  return paletteOf(meta?.kind ?? 'plain', counts, emphasised, greys);
}
