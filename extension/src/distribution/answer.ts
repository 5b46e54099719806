/** What `anndata/distribution` says of one group of numbers; null where there are no values. */
export interface NumberGroup {
  name: string;
  n: number;
  n_missing: number;
  n_zero: number;
  min: number | null;
  q1: number | null;
  median: number | null;
  q3: number | null;
  max: number | null;
  mean: number | null;
  whisker_low: number | null;
  whisker_high: number | null;
  density: { x: number[]; y: number[] };
}

export interface CategoryGroup {
  name: string;
  n: number;
  n_missing?: number;
  counts: number[];
}

export interface LeftOut {
  name: string;
  n: number;
}

export type Distribution = {
  name: string;
  by: string;
  /** The first of the groups that are too many to be drawn. */
  left_out: LeftOut[];
  n_left_out: number;
  /** Rows without a value in the column that makes the groups. */
  n_without_group: number;
} & (
  | { kind: 'number'; groups: NumberGroup[] }
  | { kind: 'category'; categories: string[]; groups: CategoryGroup[] }
);
