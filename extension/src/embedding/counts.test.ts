import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { percent, plain, sharedCount, sharedCounts, sharedPart } from './counts';

const trans = nullTranslator.load('pm_lab');

describe('counts that leave the page', () => {
  it('are hidden where they are small, a true zero like any other', () => {
    expect(sharedCount(9, 10)).toBe('<10');
    expect(sharedCount(0, 10)).toBe('<10');
    expect(sharedCount(1234, 10)).toBe('1,234');
    expect(sharedCount(3, 0)).toBe('3');
  });

  it('cannot be worked out from their total', () => {
    expect(sharedCounts([40, 25, 3], 10, trans)).toEqual(['40', 'hidden', '<10']);
    expect(sharedCounts([40, 25, 6, 7], 10, trans)).toEqual(['40', '25', '<10', '<10']);
    expect(sharedCounts([40, 25, 1, 1], 10, trans)).toEqual(['40', 'hidden', '<10', '<10']);
    expect(sharedCounts([40, 25, 3], 0, trans)).toEqual(['40', '25', '3']);
  });

  it('protect what is left of a total', () => {
    expect(sharedPart(63, 198, 10, trans)).toBe('63 of 198');
    expect(sharedPart(4, 198, 10, trans)).toBe('<10 of 198');
    expect(sharedPart(195, 198, 10, trans)).toBe('>188 of 198');
    expect(sharedPart(198, 198, 10, trans)).toBe('198 of 198');
  });
});

describe('numbers in words', () => {
  it('are short', () => {
    expect(plain(1234567)).toBe('1,234,567');
    expect(plain(0.123456)).toBe('0.1235');
  });

  it('never say none or all of a share where it is not so', () => {
    expect(percent(1, 1_000_000)).toBe('<0.1 %');
    expect(percent(999_999, 1_000_000)).toBe('>99.9 %');
    expect(percent(0, 10)).toBe('0.0 %');
    expect(percent(10, 10)).toBe('100.0 %');
  });
});
