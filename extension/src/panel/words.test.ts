import { expect, test } from 'vitest';

import { CourseNotebook, DataSet, Finding } from './answers';
import { byGravity, fetchable, needsOf, numberOf, shareOf, shortTitle } from './words';

const notebook: CourseNotebook = {
  name: '01_single_cell',
  title: 'From single cells to patients',
  question: 'Which?',
  runtime: '40 s',
  memory: '1.4 GB',
  data: 'The simulated cohort',
  case_study: false,
  needs: [],
  missing: []
};
const study = {
  ...notebook,
  name: 'case_studies/kang',
  title: 'Case study: the interferon response',
  case_study: true
};

test('a case study is named without what its section says', () => {
  expect(shortTitle(study)).toBe('The interferon response');
  expect(shortTitle(notebook)).toBe('From single cells to patients');
});

test('notebooks of the course bear their number', () => {
  expect(numberOf(notebook)).toBe('1');
  expect(numberOf({ ...notebook, name: '00_welcome' })).toBe('0');
  expect(numberOf({ ...notebook, name: '10_last' })).toBe('10');
  expect(numberOf(study)).toBe('');
});

test('what a notebook does not tell is left out', () => {
  expect(needsOf(notebook)).toBe('40 s · 1.4 GB · The simulated cohort');
  expect(needsOf({ ...notebook, memory: '' })).toBe('40 s · The simulated cohort');
});

test('the share of a fetch stays between 0 and 1', () => {
  const fetch = { state: 'running' as const, done_bytes: 5, total_bytes: 10, error: null };
  expect(shareOf(fetch)).toBe(0.5);
  expect(shareOf({ ...fetch, done_bytes: 11 })).toBe(1);
  expect(shareOf({ ...fetch, done_bytes: -3 })).toBe(0);
  expect(shareOf({ ...fetch, total_bytes: 0 })).toBeNull();
});

test('what is broken comes first, the rest in the order of the doctor', () => {
  const found = ['ok', 'warn', 'fail', 'ok', 'info', 'fail'].map(
    (status, place) => ({ status, check: String(place) }) as Finding
  );
  expect(byGravity(found).map(one => one.check)).toEqual(['2', '5', '1', '4', '0', '3']);
});

test('only data sets that are still to be fetched are offered', () => {
  const sets = [
    { name: 'nki', where: 'to fetch' },
    { name: 'vdx', where: 'cached' },
    { name: 'other', where: 'to fetch' }
  ] as DataSet[];
  expect(fetchable({ ...study, missing: ['nki', 'vdx'] }, sets).map(set => set.name)).toEqual([
    'nki'
  ]);
});
