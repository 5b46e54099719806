import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { legendRows, palette } from './colouring';
import { LIGHT } from './palette';
import { categoryLegend, drawnLine, embeddingPicture } from './picture';
import { toText } from './svg';
import { whole } from './view';

const trans = nullTranslator.load('pm_lab');

const view = whole({ x0: 0, x1: 1, y0: 0, y1: 1 }, 300, 200);
const meta = {
  kind: 'category' as const,
  categories: ['<script>alert("B")</script>', 'T'],
  counts: [4, 90],
  n_missing: 30
};

function exported(least: number): string {
  const rows = legendRows(meta, LIGHT, 'missing');
  return toText(
    embeddingPicture({
      title: 'a & b.h5ad · umap 1 × umap 2',
      lines: [drawnLine({ drawn: 100, total: 124, sampled: true }, null, least, trans)],
      view,
      axisNames: ['umap 1', 'umap 2'],
      points: {
        shapes: [{ x: 1, y: 2, slot: 0 }],
        image: '',
        palette: palette('category', meta.counts, null, LIGHT),
        size: 4
      },
      legend: categoryLegend('cell_type', rows, least, null, trans)
    })
  );
}

describe('an exported picture', () => {
  it('is well-formed whatever the file holds', () => {
    const text = exported(10);
    expect(text).not.toContain('<script');
    expect(text).toContain('a &amp; b.h5ad');
    expect(text.startsWith('<svg xmlns="http://www.w3.org/2000/svg"')).toBe(true);
  });

  it('hides small counts, and what would give them away', () => {
    expect(exported(10)).toContain('&lt;10');
    expect(exported(10)).toContain('hidden'); // the 30 missing ones
    expect(exported(0)).not.toContain('hidden');
    expect(exported(0)).toContain('>4<');
  });

  it('says how many points are drawn', () => {
    expect(exported(10)).toContain('100 of 124 cells drawn, chosen at random');
    expect(drawnLine({ drawn: 124, total: 124, sampled: false }, 120, 10, trans)).toContain(
      '>114 of 124 match the filters'
    );
  });
});
