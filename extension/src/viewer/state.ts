import { ISignal, Signal } from '@lumino/signaling';
import { JSONObject } from '@lumino/coreutils';

import { AxisName, Filter } from '../api';

export type TabName = 'overview' | 'obs' | 'var' | 'embedding' | 'distribution';

export const TABS: readonly TabName[] = ['overview', 'obs', 'var', 'embedding', 'distribution'];

/** The names of the rows, where a column's name is expected for sorting. */
export const INDEX = ':index';

/** A column of obs, or the values of a gene in a layer (null is X). */
export interface Value {
  kind: 'obs' | 'gene';
  name: string;
  layer: string | null;
}

export interface TableState {
  /** '' is the order of the file, ':index' the names. */
  sort: string;
  descending: boolean;
  /** Columns that are hidden; new columns of a changed file are shown. */
  hidden: string[];
}

export interface EmbeddingState {
  key: string | null;
  x: number;
  y: number;
}

export interface DistributionState {
  value: Value | null;
  /** A category column of obs; '' is one group. */
  by: string;
  plot: 'violin' | 'box' | 'bar';
}

/** What is remembered of a view: plain JSON, one per file. */
export interface StateValues {
  tab: TabName;
  filters: Filter[];
  tables: Record<AxisName, TableState>;
  embedding: EmbeddingState;
  colour: Value | null;
  distribution: DistributionState;
}

export function emptyState(): StateValues {
  return {
    tab: 'overview',
    filters: [],
    tables: {
      obs: { sort: '', descending: false, hidden: [] },
      var: { sort: '', descending: false, hidden: [] }
    },
    embedding: { key: null, x: 0, y: 1 },
    colour: null,
    distribution: { value: null, by: '', plot: 'violin' }
  };
}

/** The state of one view. Every change goes through `set`, which tells whoever listens. */
export class ViewerState {
  constructor(saved: unknown = null) {
    this._values = restored(saved);
  }

  get values(): StateValues {
    return this._values;
  }

  get changed(): ISignal<this, Partial<StateValues>> {
    return this._changed;
  }

  set(change: Partial<StateValues>): void {
    this._values = { ...this._values, ...change };
    this._changed.emit(change);
  }

  setTable(axis: AxisName, change: Partial<TableState>): void {
    const tables = this._values.tables;
    this.set({ tables: { ...tables, [axis]: { ...tables[axis], ...change } } });
  }

  toJSON(): JSONObject {
    return this._values as unknown as JSONObject;
  }

  private _values: StateValues;
  private _changed = new Signal<this, Partial<StateValues>>(this);
}

/** What was saved, where it has the shape expected; what is off falls back to the empty state. */
function restored(saved: unknown): StateValues {
  const empty = emptyState();
  if (!isObject(saved)) {
    return empty;
  }
  const tables = isObject(saved.tables) ? saved.tables : {};
  return {
    tab: TABS.includes(saved.tab as TabName) ? (saved.tab as TabName) : empty.tab,
    filters: Array.isArray(saved.filters) ? saved.filters.filter(isFilter) : [],
    tables: {
      obs: alike(empty.tables.obs, tables.obs),
      var: alike(empty.tables.var, tables.var)
    },
    embedding: alike(empty.embedding, saved.embedding),
    colour: isValue(saved.colour) ? saved.colour : null,
    distribution: {
      ...alike(empty.distribution, saved.distribution),
      value:
        isObject(saved.distribution) && isValue(saved.distribution.value)
          ? saved.distribution.value
          : null
    }
  };
}

/** `model` with those fields of `saved` whose type is the same. */
function alike<T extends object>(model: T, saved: unknown): T {
  const result = { ...model } as Record<string, unknown>;
  if (isObject(saved)) {
    for (const [name, value] of Object.entries(model)) {
      const given = saved[name];
      const same = value === null ? typeof given === 'string' : typeof given === typeof value;
      if (same && Array.isArray(given) === Array.isArray(value)) {
        result[name] = given;
      }
    }
  }
  return result as T;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isValue(value: unknown): value is Value {
  return (
    isObject(value) &&
    (value.kind === 'obs' || value.kind === 'gene') &&
    typeof value.name === 'string'
  );
}

function isFilter(value: unknown): value is Filter {
  if (!isObject(value)) {
    return false;
  }
  switch (value.kind) {
    case 'range':
    case 'contains':
      return typeof value.column === 'string';
    case 'values':
      return typeof value.column === 'string' && Array.isArray(value.values);
    case 'gene':
      return typeof value.gene === 'string';
    case 'lasso':
      return typeof value.key === 'string' && Array.isArray(value.polygon);
    default:
      return false;
  }
}
