import { describe, expect, it, vi } from 'vitest';

import type { TablePage } from '../api';
import { PAGE_COLUMNS, PAGE_ROWS, Pages, Range, pagesOf } from './pages';

vi.stubGlobal('window', globalThis);

interface Asked {
  start: number;
  columns: string[];
  signal: AbortSignal;
  answer: (n: number) => void;
  refuse: (error: unknown) => void;
}

/** A server that answers when it is told to, with the row's number in every column. */
function server() {
  const asked: Asked[] = [];
  const ask = (start: number, stop: number, columns: string[], signal: AbortSignal) =>
    new Promise<TablePage>((resolve, refuse) => {
      const answer = (n: number) => {
        const rows = Array.from(
          { length: Math.max(0, Math.min(stop, n) - start) },
          (_, i) => start + i
        );
        const values = Object.fromEntries(
          columns.map(name => [name, { type: 'integer' as const, values: rows }])
        );
        const index = rows.map(row => `row ${row}`);
        resolve({
          ...{ axis: 'obs', n_total: n, n_matching: n, start, stop: start + rows.length },
          ...{ index, positions: rows, columns: values }
        });
      };
      signal.addEventListener('abort', () => refuse(new Error('aborted')));
      asked.push({ start, columns, signal, answer, refuse });
    });
  return { asked, ask };
}

const names = Array.from({ length: 70 }, (_, i) => `c${i}`);
const rows = (firstRow: number, endRow: number): Range => ({
  firstRow,
  endRow,
  firstColumn: 0,
  endColumn: 3
});

describe('the pages of a table', () => {
  it('are those that the seen cells lie on', () => {
    expect(pagesOf(rows(0, 10), 70)).toEqual([[0, 0]]);
    expect(pagesOf(rows(PAGE_ROWS - 1, PAGE_ROWS + 1), 70)).toEqual([
      [0, 0],
      [1, 0]
    ]);
    const wide = { firstRow: 0, endRow: 1, firstColumn: PAGE_COLUMNS - 1, endColumn: 70 };
    expect(pagesOf(wide, 70).map(([, block]) => block)).toEqual([0, 1, 2]);
    expect(pagesOf({ ...wide, firstColumn: 0, endColumn: 1 }, 0)).toEqual([[0, 0]]);
  });

  it('are asked for once, and give their cells', async () => {
    const { asked, ask } = server();
    const pages = new Pages(names, ask);
    expect(pages.nMatching).toBeNull();
    pages.want(rows(0, 10));
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    expect(asked[0].columns).toEqual(names.slice(0, PAGE_COLUMNS));
    asked[0].answer(1000);
    await vi.waitFor(() => expect(pages.nMatching).toBe(1000));
    expect([pages.name(7), pages.value(7, 2), pages.value(7, 40)]).toEqual(['row 7', 7, undefined]);
    pages.want(rows(2, 12));
    await new Promise(resolve => setTimeout(resolve, 80));
    expect(asked).toHaveLength(1);
  });

  it('are not waited for once they are out of view', async () => {
    const { asked, ask } = server();
    const pages = new Pages(names, ask);
    pages.want(rows(0, 10));
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    asked[0].answer(100_000);
    await vi.waitFor(() => expect(pages.nMatching).toBe(100_000));
    pages.want(rows(2000, 2010));
    await vi.waitFor(() => expect(asked).toHaveLength(2));
    pages.want(rows(50_000, 50_010));
    await vi.waitFor(() => expect(asked).toHaveLength(3));
    expect(asked[1].signal.aborted).toBe(true);
    expect(pages.error).toBeNull();
  });

  it('say what the server refused, until it is asked again', async () => {
    const { asked, ask } = server();
    const pages = new Pages(names, ask);
    pages.want(rows(0, 10));
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    asked[0].refuse(new Error('no such column'));
    await vi.waitFor(() => expect(pages.error?.what).toContain('no such column'));
    pages.retry();
    asked[1].answer(5);
    await vi.waitFor(() => expect(pages.nMatching).toBe(5));
    expect(pages.error).toBeNull();
  });
});
