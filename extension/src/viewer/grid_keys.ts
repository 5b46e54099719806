import { clamp } from './scroll';

/** A cell: row -1 is the header, column -1 the names. */
export interface Place {
  row: number;
  column: number;
}

export interface Limits {
  rows: number;
  columns: number;
  /** Rows that a page key moves by. */
  page: number;
}

interface Key {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
}

/** The cell that a key moves to; null for keys that do not move. */
export function moved(place: Place, { key, ctrlKey, metaKey }: Key, limits: Limits): Place | null {
  const far = ctrlKey || metaKey;
  const to = (row: number, column: number): Place => ({
    row: clamp(row, -1, limits.rows - 1),
    column: clamp(column, -1, limits.columns - 1)
  });
  const { row, column } = place;
  switch (key) {
    case 'ArrowDown':
      return to(row + 1, column);
    case 'ArrowUp':
      return to(row - 1, column);
    case 'ArrowRight':
      return to(row, column + 1);
    case 'ArrowLeft':
      return to(row, column - 1);
    case 'PageDown':
      return to(row + limits.page, column);
    case 'PageUp':
      return to(Math.max(0, row - limits.page), column);
    case 'Home':
      return to(far ? 0 : row, -1);
    case 'End':
      return to(far ? limits.rows - 1 : row, limits.columns - 1);
    default:
      return null;
  }
}
