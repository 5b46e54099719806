import { ArrayEntry, Column, Structure } from '../api';
import { StateValues, Value } from './state';

/** Columns of obs that colours or groups can be taken from. */
export function plottable(structure: Structure): Column[] {
  return structure.obs.columns.filter(({ type }) => type !== 'date' && type !== 'unknown');
}

/** The first of the usual columns that a file has. */
export function usualColumn(structure: Structure, usual: string[]): string | null {
  const columns = plottable(structure);
  return usual.find(name => columns.some(one => one.name === name)) ?? null;
}

/** What colours the points: what was chosen (a column without a name is none), else the usual column. */
export function colourOf(
  { colour }: StateValues,
  structure: Structure,
  usual: string[]
): Value | null {
  if (colour) {
    return colour.name ? colour : null;
  }
  const name = usualColumn(structure, usual);
  return name === null ? null : { kind: 'obs', name, layer: null };
}

/** Entries of obsm that can be drawn. */
export function embeddingsOf(structure: Structure): ArrayEntry[] {
  return structure.obsm.filter(({ points, shape }) => points && (shape?.[1] ?? 0) >= 2);
}

export interface ChosenEmbedding {
  entry: ArrayEntry;
  x: number;
  y: number;
}

/** The embedding that was chosen, as far as the file still has it, else the usual one. */
export function embeddingOf(
  { embedding }: StateValues,
  structure: Structure
): ChosenEmbedding | null {
  const all = embeddingsOf(structure);
  const called = (key: string | null) => all.find(({ name }) => name === key);
  const usual = called(structure.default_embedding) ?? all[0];
  const entry = called(embedding.key) ?? usual;
  if (!entry) {
    return null;
  }
  const { key, x, y } = embedding;
  const fits = (key === null || key === entry.name) && Math.max(x, y) < entry.shape![1];
  return fits ? { entry, x, y } : { entry, x: 0, y: 1 };
}
