import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import type { Filter, Structure } from '../api';
import { colourOf, embeddingOf } from './choices';
import { bound, filterText, filtersOf, withFilter } from './filters';
import { ViewerState, emptyState } from './state';

const trans = nullTranslator.load('pm_lab');
const age: Filter = {
  kind: 'range',
  axis: 'obs',
  column: 'age',
  min: 40,
  max: null,
  missing: true
};
const types: Filter = {
  kind: 'values',
  axis: 'obs',
  column: 'cell_type',
  values: ['a', 'b', 'c', 'd', 'e'],
  missing: false
};
const lasso: Filter = { kind: 'lasso', key: 'X_umap', x: 0, y: 1, polygon: [] };
const genes: Filter = { kind: 'contains', axis: 'var', column: '', text: 'CD' };

describe('filters', () => {
  it('about the same thing replace each other, in their place', () => {
    const younger = { ...age, min: null, max: 39 };
    expect(withFilter([age, lasso], younger)).toEqual([younger, lasso]);
    expect(withFilter([age], types)).toEqual([age, types]);
  });

  it('choose rows of one axis', () => {
    expect(filtersOf([age, genes, lasso], 'obs')).toEqual([age, lasso]);
    expect(filtersOf([age, genes, lasso], 'var')).toEqual([genes]);
  });

  it('are said in words', () => {
    expect(filterText(age, trans)).toBe('age ≥ 40 or missing');
    expect(filterText(types, trans)).toBe('cell_type: a, b, c and 2 more');
    expect(filterText(lasso, trans)).toBe('inside the lasso on X_umap');
    expect(filterText({ ...age, min: null, missing: false }, trans)).toBe('age is not missing');
  });

  it('are typed as numbers or left empty', () => {
    expect([bound(' '), bound('1e3'), bound('x')]).toEqual([null, 1000, NaN]);
  });
});

describe('a remembered view', () => {
  it('comes back as it was', () => {
    const state = new ViewerState();
    state.set({ tab: 'var', filters: [age, lasso] });
    state.setTable('obs', { sort: 'age', descending: true });
    const again = new ViewerState(JSON.parse(JSON.stringify(state.toJSON())));
    expect(again.values).toEqual(state.values);
  });

  it('is empty where what was kept makes no sense', () => {
    const saved = {
      tab: 'nowhere',
      filters: [{ kind: 'bad' }, age, null],
      tables: { obs: { sort: 3, hidden: 'all' } },
      embedding: [],
      colour: { kind: 'obs' }
    };
    expect(new ViewerState(saved).values).toEqual({ ...emptyState(), filters: [age] });
    expect(new ViewerState('text').values).toEqual(emptyState());
  });
});

describe('what is shown before anything was chosen', () => {
  const structure = {
    obs: {
      columns: [
        { name: 'day', type: 'date', encoding: '' },
        { name: 'leiden', type: 'category', encoding: '' }
      ]
    },
    obsm: [
      { name: 'scores', points: false, shape: [3, 5], dtype: '', bytes: 0 },
      { name: 'X_pca', points: true, shape: [3, 4], dtype: '', bytes: 0 },
      { name: 'X_umap', points: true, shape: [3, 2], dtype: '', bytes: 0 }
    ],
    default_embedding: 'X_umap'
  } as unknown as Structure;
  const usual = ['day', 'cell_type', 'leiden'];
  const values = emptyState();

  it('is the first usual column that can be drawn', () => {
    expect(colourOf(values, structure, usual)).toEqual({
      kind: 'obs',
      name: 'leiden',
      layer: null
    });
    expect(colourOf(values, structure, ['x'])).toBeNull();
  });

  it('gives way to a choice, also to that of nothing', () => {
    const gene = { kind: 'gene' as const, name: 'CD3E', layer: null };
    expect(colourOf({ ...values, colour: gene }, structure, usual)).toBe(gene);
    const nothing = { kind: 'obs' as const, name: '', layer: null };
    expect(colourOf({ ...values, colour: nothing }, structure, usual)).toBeNull();
  });

  it('is the usual embedding, also where the chosen one is gone or has become narrower', () => {
    const shown = (key: string | null, x: number, y: number) => {
      const found = embeddingOf({ ...values, embedding: { key, x, y } }, structure)!;
      return [found.entry.name, found.x, found.y];
    };
    expect(shown(null, 0, 1)).toEqual(['X_umap', 0, 1]);
    expect(shown('X_pca', 2, 3)).toEqual(['X_pca', 2, 3]);
    expect(shown('X_gone', 2, 3)).toEqual(['X_umap', 0, 1]);
    expect(shown('X_umap', 2, 3)).toEqual(['X_umap', 0, 1]);
    expect(embeddingOf(values, { ...structure, obsm: [] })).toBeNull();
  });
});
