import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { TranslationBundle, nullTranslator } from '@jupyterlab/translation';

let trans: TranslationBundle = nullTranslator.load('pm_lab');

/** What is said of failures is said in the language of these words from now on. */
export function translateBy(words: TranslationBundle): void {
  trans = words;
}

/** What the server says when it cannot answer: what is wrong, where, and how to mend it. */
export class RequestError extends Error {
  constructor(
    readonly status: number,
    readonly what: string,
    readonly where = '',
    readonly mend = ''
  ) {
    super(where ? `${what} (${where})` : what);
    this.name = 'RequestError';
  }
}

/** Any failure as what, where and mend. */
export function asRequestError(error: unknown): RequestError {
  return error instanceof RequestError ? error : new RequestError(0, String(error));
}

export type Query = Record<string, string | number | boolean | object | null | undefined>;

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'DELETE';
  body?: object;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

export interface Arrays<Meta> {
  meta: Meta;
  arrays: Record<string, NumberArray>;
}

export type NumberArray = Float32Array | Float64Array | Uint8Array | Uint16Array | Uint32Array;

export type ColumnType =
  'number' | 'integer' | 'boolean' | 'category' | 'string' | 'date' | 'unknown';

export interface Column {
  name: string;
  type: ColumnType;
  encoding: string;
  n_categories?: number;
}

export interface Matrix {
  name: string;
  kind: 'csr' | 'csc' | 'dense';
  shape: [number, number];
  dtype: string;
  n_stored: number;
  bytes: number;
  chunks: number[] | null;
  compression: string | null;
  holds: 'counts' | 'log' | 'scaled' | 'unknown';
  how: string;
}

export interface Note {
  what: string;
  where: string;
  mend: string;
}

export interface ArrayEntry {
  name: string;
  kind?: string;
  shape: number[] | null;
  dtype: string;
  bytes: number;
  points?: boolean;
}

export interface UnsEntry extends ArrayEntry {
  /** Of a single number or a short text. */
  value?: string | number | boolean | null;
  children?: UnsEntry[];
}

export interface Axis {
  n: number;
  index: string;
  columns: Column[];
  /** The list of columns ends where a file has very many of them. */
  n_columns: number;
}

/** The answer of `anndata/structure`. */
export interface Structure {
  path: string;
  name: string;
  format: 'h5ad' | 'zarr';
  size: number;
  modified: string;
  etag: string;
  n_obs: number;
  n_vars: number;
  encoding: { type: string; version: string };
  x: Matrix | null;
  layers: Matrix[];
  raw: { n_vars: number; x: Matrix | null } | null;
  obs: Axis;
  var: Axis;
  obsm: ArrayEntry[];
  varm: ArrayEntry[];
  obsp: ArrayEntry[];
  varp: ArrayEntry[];
  uns: UnsEntry[];
  default_embedding: string | null;
  cohort: { is: boolean; why: string };
  warnings: Note[];
  unreadable: { where: string; what: string }[];
}

export type AxisName = 'obs' | 'var';

/** One condition on rows; a list of them is joined by "and". */
export type Filter =
  | {
      kind: 'range';
      axis: AxisName;
      column: string;
      min: number | null;
      max: number | null;
      missing: boolean;
    }
  | { kind: 'values'; axis: AxisName; column: string; values: string[]; missing: boolean }
  | { kind: 'contains'; axis: AxisName; column: string; text: string }
  | { kind: 'gene'; gene: string; layer: string | null; min: number | null; max: number | null }
  | { kind: 'lasso'; key: string; x: number; y: number; polygon: [number, number][] };

export interface TablePage {
  axis: AxisName;
  n_total: number;
  n_matching: number;
  start: number;
  stop: number;
  index: string[];
  positions: number[];
  columns: Record<string, { type: ColumnType; values: (string | number | boolean | null)[] }>;
}

export interface ColumnSummary {
  name: string;
  type: ColumnType;
  n: number;
  n_missing: number;
  n_unique?: number;
  categories?: { value: string; count: number }[];
  n_more?: number;
  min?: number;
  max?: number;
  mean?: number;
  median?: number;
  histogram?: { edges: number[]; counts: number[] };
}

export interface Summary {
  n_matching: number;
  n_total: number;
  columns: ColumnSummary[];
}

/** Ask the server half of pm_lab for JSON; null where it answers that nothing changed. */
export async function request<T>(
  route: string,
  query: Query = {},
  options: RequestOptions = {},
  settings = ServerConnection.makeSettings()
): Promise<T> {
  const response = await send(route, query, options, settings);
  if (response.status === 304) {
    return null as T;
  }
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (options.signal?.aborted) {
      throw error;
    }
    // Such as the page of a hub that asks to sign in again.
    throw new RequestError(
      response.status,
      trans.__('The answer does not come from pm_lab.'),
      '',
      trans.__('Reload the page: a new sign-in may be needed.')
    );
  }
}

/** Ask for arrays: a JSON header and the values behind it, in one binary answer. */
export async function requestArrays<Meta>(
  route: string,
  query: Query = {},
  options: RequestOptions = {},
  settings = ServerConnection.makeSettings()
): Promise<Arrays<Meta>> {
  const response = await send(route, query, options, settings);
  return unpack<Meta>(await response.arrayBuffer());
}

/** The address of a route with its query; objects travel as JSON, null and undefined are left out. */
export function address(baseUrl: string, route: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) {
      parameters.set(name, typeof value === 'object' ? JSON.stringify(value) : String(value));
    }
  }
  const text = parameters.toString();
  return URLExt.join(baseUrl, 'pm-lab', route) + (text ? `?${text}` : '');
}

async function send(
  route: string,
  query: Query,
  options: RequestOptions,
  settings: ServerConnection.ISettings
): Promise<Response> {
  const init: RequestInit = { method: options.method ?? 'GET', signal: options.signal };
  if (options.body) {
    init.body = JSON.stringify(options.body);
  }
  if (options.headers) {
    init.headers = options.headers;
  }
  const url = address(settings.baseUrl, route, query);
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, init, settings);
  } catch (error) {
    if (options.signal?.aborted) {
      throw error;
    }
    throw new RequestError(
      0,
      trans.__('The server does not answer.'),
      '',
      trans.__('Is JupyterLab still running?')
    );
  }
  if (!response.ok && response.status !== 304) {
    throw await problem(response);
  }
  return response;
}

async function problem(response: Response): Promise<RequestError> {
  let said: { what?: string; where?: string; mend?: string; message?: string } = {};
  try {
    said = await response.json();
  } catch {
    // An answer from elsewhere, such as a proxy: its status is all that is known.
  }
  if (response.status === 404 && !said.what) {
    return new RequestError(
      404,
      trans.__('The server half of pm_lab is not running.'),
      '',
      trans.__('Run pm-lab doctor in the environment that JupyterLab runs in.')
    );
  }
  const what = said.what ?? said.message ?? trans.__('The server answered %1.', response.status);
  return new RequestError(response.status, what, said.where ?? '', said.mend ?? '');
}

const KINDS = {
  float32: Float32Array,
  float64: Float64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array
};

interface Header {
  arrays: { name: string; dtype: keyof typeof KINDS; shape: number[]; offset: number }[];
}

/** Read a binary answer without copying its values. */
export function unpack<Meta>(buffer: ArrayBuffer): Arrays<Meta> {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))) as Header;
  const start = 4 + length;
  const arrays: Record<string, NumberArray> = {};
  for (const one of header.arrays) {
    const size = one.shape.reduce((product, n) => product * n, 1);
    arrays[one.name] = new KINDS[one.dtype](buffer, start + one.offset, size);
  }
  return { meta: header as unknown as Meta, arrays };
}
