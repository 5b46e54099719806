/** The answer of `course`. */
export interface CourseNotebook {
  name: string;
  title: string;
  question: string;
  runtime: string;
  memory: string;
  data: string;
  case_study: boolean;
  needs: string[];
  missing: string[];
}

export interface FetchState {
  state: 'idle' | 'running' | 'done' | 'failed' | 'cancelled';
  done_bytes: number;
  total_bytes: number;
  error: { what: string; where: string; mend: string } | null;
}

export type Place = 'bundled' | 'cached' | 'mirror' | 'to fetch';

/** A row of the answer of `data-sets`. */
export interface DataSet {
  name: string;
  what: string;
  n_obs: number | null;
  n_vars: number | null;
  licence: string;
  citation: string;
  size_mb: number;
  where: Place;
  reader: boolean;
  fetch: FetchState | null;
}

export interface DataSets {
  offline: boolean;
  data_sets: DataSet[];
}

export interface Finding {
  check: string;
  status: 'ok' | 'info' | 'warn' | 'fail';
  finding: string;
  mend: string;
}

/** The answer of `doctor`. */
export interface Health {
  ok: boolean;
  findings: Finding[];
}

export const SECTIONS = ['course', 'case-studies', 'data-sets', 'health'] as const;

export type SectionName = (typeof SECTIONS)[number];
