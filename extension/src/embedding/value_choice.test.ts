import { describe, expect, it } from 'vitest';

import { best } from './value_choice';

describe('a typed gene', () => {
  it('is the one that differs by case alone', () => {
    expect(best(' esr1', ['ESR1', 'ESR10'])).toBe('ESR1');
    expect(best('Cd3e', ['CD3E', 'Cd3e'])).toBe('Cd3e');
  });

  it('is the only one that begins so', () => {
    expect(best('esr', ['ESR1'])).toBe('ESR1');
    expect(best('esr', ['ESR1', 'ESR2'])).toBe('esr');
  });

  it('is never one of an older list', () => {
    expect(best('NOSUCH', ['ESR1'])).toBe('NOSUCH');
  });
});
