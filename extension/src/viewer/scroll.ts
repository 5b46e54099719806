/**
 * Scrolling over more rows than a browser's element can be high.
 *
 * Chromium cuts an element at about 33 million pixels, Firefox at about 17 million. Above `MOST_PIXELS` the
 * scroll bar is scaled: its ends are still the first and the last row, a wheel still moves by rows.
 */
export const MOST_PIXELS = 15_000_000;

export interface Scale {
  n: number;
  rowHeight: number;
  /** Height of the part of the rows that is seen. */
  viewHeight: number;
}

export function isScaled({ n, rowHeight }: Scale): boolean {
  return n * rowHeight > MOST_PIXELS;
}

/** The height of the element that is scrolled. */
export function scrollHeight({ n, rowHeight }: Scale): number {
  return Math.min(n * rowHeight, MOST_PIXELS);
}

/** The last position: with it, the last row is at the bottom. */
export function lastPosition({ n, rowHeight, viewHeight }: Scale): number {
  return Math.max(0, n - viewHeight / rowHeight);
}

/** The row at the top, with the part of it that is above the view, for a place of the scroll bar. */
export function positionAt(scrollTop: number, scale: Scale): number {
  const room = scrollHeight(scale) - scale.viewHeight;
  return room <= 0 ? 0 : clamp(scrollTop / room, 0, 1) * lastPosition(scale);
}

/** The place of the scroll bar for a row at the top. */
export function scrollTopOf(position: number, scale: Scale): number {
  const last = lastPosition(scale);
  const room = scrollHeight(scale) - scale.viewHeight;
  return last <= 0 ? 0 : (clamp(position, 0, last) / last) * room;
}

/** The position nearest to the present one at which a row is wholly seen. */
export function positionToSee(row: number, position: number, scale: Scale): number {
  const seen = scale.viewHeight / scale.rowHeight;
  if (row < position) {
    return row;
  }
  return row + 1 > position + seen ? clamp(row + 1 - seen, 0, lastPosition(scale)) : position;
}

/** First and end (exclusive) of the columns that are seen, for their left edges and widths. */
export function columnsSeen(
  edges: number[],
  scrollLeft: number,
  viewWidth: number
): [number, number] {
  const n = edges.length - 1;
  let first = 0;
  while (first < n - 1 && edges[first + 1] <= scrollLeft) {
    first += 1;
  }
  let end = first;
  while (end < n && edges[end] < scrollLeft + viewWidth) {
    end += 1;
  }
  return [first, end];
}

export function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), Math.max(least, most));
}
