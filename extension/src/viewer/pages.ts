import { ISignal, Signal } from '@lumino/signaling';

import { RequestError, TablePage, asRequestError } from '../api';

export const PAGE_ROWS = 200;
export const PAGE_COLUMNS = 30;

const MOST_PAGES = 80;
const WAIT = 40;

export type Cell = string | number | boolean | null;

export type AskPage = (
  start: number,
  stop: number,
  columns: string[],
  signal: AbortSignal
) => Promise<TablePage>;

export interface Range {
  firstRow: number;
  endRow: number;
  firstColumn: number;
  endColumn: number;
}

/** The pages, as [page of rows, block of columns], that a range of cells lies on. */
export function pagesOf(range: Range, nColumns: number): [number, number][] {
  const lastBlock = Math.max(0, Math.ceil(nColumns / PAGE_COLUMNS) - 1);
  const blocks = between(range.firstColumn, range.endColumn, PAGE_COLUMNS).filter(
    block => block <= lastBlock
  );
  return between(range.firstRow, range.endRow, PAGE_ROWS).flatMap(page =>
    blocks.map(block => [page, block] as [number, number])
  );
}

function between(first: number, end: number, step: number): number[] {
  const from = Math.floor(Math.max(0, first) / step);
  const to = Math.max(from, Math.ceil(end / step) - 1);
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** The pages of one table as it is sorted and filtered: those that are seen are asked for, few are kept. */
export class Pages {
  constructor(
    private _columns: string[],
    private _ask: AskPage
  ) {}

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Rows that the filters leave; null before the first answer. */
  get nMatching(): number | null {
    return this._nMatching;
  }

  get error(): RequestError | null {
    return this._error;
  }

  /** Ask for what is seen, after a moment; what is not seen any more is not waited for. */
  want(range: Range): void {
    this._wanted = pagesOf(range, this._columns.length);
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => this._fetch(), this._nMatching === null ? 0 : WAIT);
  }

  /** Try again after an error. */
  retry(): void {
    this._error = null;
    this._fetch();
  }

  /** undefined while it is not here. */
  name(row: number): string | undefined {
    const page = Math.floor(row / PAGE_ROWS);
    for (const block of this._blocks(page)) {
      return block.index[row - block.start];
    }
    return undefined;
  }

  /** undefined while it is not here, null where it is missing. */
  value(row: number, column: number): Cell | undefined {
    const block = Math.floor(column / PAGE_COLUMNS);
    const page = this._pages.get(keyOf(Math.floor(row / PAGE_ROWS), block));
    return page?.columns[this._columns[column]]?.values[row - page.start];
  }

  dispose(): void {
    window.clearTimeout(this._timer);
    this._asking.forEach(asking => asking.abort());
    this._asking.clear();
    Signal.clearData(this);
  }

  private *_blocks(page: number): Iterable<TablePage> {
    const n = Math.max(1, Math.ceil(this._columns.length / PAGE_COLUMNS));
    for (let block = 0; block < n; block++) {
      const found = this._pages.get(keyOf(page, block));
      if (found) {
        yield found;
      }
    }
  }

  private _fetch(): void {
    const wanted = this._wanted.filter(([page]) => this._exists(page));
    const keys = new Set(wanted.map(([page, block]) => keyOf(page, block)));
    for (const [key, asking] of this._asking) {
      if (!keys.has(key)) {
        asking.abort();
        this._asking.delete(key);
      }
    }
    for (const [page, block] of wanted) {
      const key = keyOf(page, block);
      const known = this._pages.get(key);
      if (known) {
        // The order of a Map is that of insertion: what was seen last is dropped last.
        this._pages.delete(key);
        this._pages.set(key, known);
      } else if (!this._asking.has(key)) {
        void this._get(page, block);
      }
    }
  }

  private _exists(page: number): boolean {
    return page === 0 || this._nMatching === null || page * PAGE_ROWS < this._nMatching;
  }

  private async _get(page: number, block: number): Promise<void> {
    const key = keyOf(page, block);
    const asking = new AbortController();
    this._asking.set(key, asking);
    const columns = this._columns.slice(block * PAGE_COLUMNS, (block + 1) * PAGE_COLUMNS);
    try {
      const start = page * PAGE_ROWS;
      const answer = await this._ask(start, start + PAGE_ROWS, columns, asking.signal);
      this._nMatching = answer.n_matching;
      this._error = null;
      this._pages.set(key, answer);
      for (const oldest of this._pages.keys()) {
        if (this._pages.size <= MOST_PAGES) {
          break;
        }
        this._pages.delete(oldest);
      }
    } catch (error) {
      if (asking.signal.aborted) {
        return;
      }
      this._error = asRequestError(error);
    }
    if (this._asking.get(key) === asking) {
      this._asking.delete(key);
    }
    this._changed.emit();
  }

  private _pages = new Map<string, TablePage>();
  private _asking = new Map<string, AbortController>();
  private _wanted: [number, number][] = [];
  private _nMatching: number | null = null;
  private _error: RequestError | null = null;
  private _timer = 0;
  private _changed = new Signal<this, void>(this);
}

function keyOf(page: number, block: number): string {
  return `${page}:${block}`;
}
