import { CourseNotebook, DataSet, FetchState, Finding } from './answers';

const STUDY = /^Case study:\s*/;

/** The title without what its section says already, such as "Case study:". */
export function shortTitle(notebook: CourseNotebook): string {
  if (!notebook.case_study) {
    return notebook.title;
  }
  const title = notebook.title.replace(STUDY, '');
  return title.charAt(0).toUpperCase() + title.slice(1);
}

/** The number that a notebook of the course bears in its name; empty where it has none. */
export function numberOf(notebook: CourseNotebook): string {
  return notebook.case_study
    ? ''
    : (/^(\d+)_/.exec(notebook.name)?.[1] ?? '').replace(/^0(?=\d)/, '');
}

/** Runtime, memory and data, as far as the notebook tells them. */
export function needsOf(notebook: CourseNotebook): string {
  return [notebook.runtime, notebook.memory, notebook.data].filter(Boolean).join(' · ');
}

/** Share of a fetch that is done, 0 to 1; null while its size is not known. */
export function shareOf(fetch: FetchState): number | null {
  if (fetch.total_bytes <= 0) {
    return null;
  }
  return Math.min(1, Math.max(0, fetch.done_bytes / fetch.total_bytes));
}

const GRAVITY: Record<Finding['status'], number> = { fail: 0, warn: 1, info: 2, ok: 3 };

/** What is broken first, what is fine last; otherwise in the doctor's order. */
export function byGravity(findings: Finding[]): Finding[] {
  return [...findings].sort((a, b) => GRAVITY[a.status] - GRAVITY[b.status]);
}

/** What must be fetched first: it is said before the notebook is opened. */
export function fetchable(notebook: CourseNotebook, sets: DataSet[]): DataSet[] {
  return sets.filter(set => notebook.missing.includes(set.name) && set.where === 'to fetch');
}
