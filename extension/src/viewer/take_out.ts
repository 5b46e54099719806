import { Clipboard, Dialog, showDialog } from '@jupyterlab/apputils';
import { ServerConnection } from '@jupyterlab/services';
import { Widget } from '@lumino/widgets';

import { AxisName, Note, RequestError, TablePage, address } from '../api';
import { cell } from './format';
import { ViewerModel } from './model';

export const MOST_COPIED = 20_000;

const PAGE = 2_000;
const COLUMNS = 200;

/** What one export may hold, and how long the server lets an address be. */
const MOST_EXPORTED = 2_000;
const LONGEST = 60_000;

/** The query of a table as it is sorted and filtered. */
export function tableQuery(model: ViewerModel, axis: AxisName) {
  const { sort, descending } = model.state.values.tables[axis];
  return { axis, sort, descending: descending ? 1 : 0, filters: model.filters(axis) };
}

/** Put the rows from `first` to `end` (exclusive) on the clipboard, tab-separated; returns how many. */
export async function copyRows(
  model: ViewerModel,
  axis: AxisName,
  columns: string[],
  first: number,
  end: number
): Promise<number> {
  const blocks: string[][] = [];
  for (let at = 0; at < Math.max(columns.length, 1); at += COLUMNS) {
    blocks.push(columns.slice(at, at + COLUMNS));
  }
  const { index } = model.structure[axis];
  const head = index === '_index' ? '' : index; // as in the export
  const lines = [[head, ...columns].map(text).join('\t')];
  for (let start = first; start < end; start += PAGE) {
    const stop = Math.min(end, start + PAGE);
    const pages = await Promise.all(
      blocks.map(names =>
        model.request<TablePage>('anndata/table', {
          ...tableQuery(model, axis),
          start,
          stop,
          columns: names
        })
      )
    );
    lines.push(...rowsAsText(pages, columns));
  }
  Clipboard.copyToSystem(lines.join('\n') + '\n');
  return lines.length - 1;
}

/** The rows of pages that differ in their columns, tab-separated. */
export function rowsAsText(pages: TablePage[], columns: string[]): string[] {
  const values = columns.map(
    name => pages.find(page => name in page.columns)!.columns[name].values
  );
  return pages[0].index.map((name, i) =>
    [text(name), ...values.map(column => text(cell(column[i])))].join('\t')
  );
}

function text(value: string): string {
  return value.replace(/[\t\r\n]+/g, ' ');
}

/** Let the browser save the rows and columns that are shown as CSV; asks first where columns look like identifiers. */
export async function exportRows(
  model: ViewerModel,
  axis: AxisName,
  columns: string[]
): Promise<boolean> {
  const { trans } = model;
  if (axis === 'obs') {
    const all = model.structure.obs.columns.map(({ name }) => name);
    const notes = identifierNotes(await model.slowWarningsSettled(), columns, all);
    if (notes.length > 0 && !(await confirmExport(model, notes))) {
      return false;
    }
  }
  const query = {
    path: model.path,
    etag: model.etag,
    ...tableQuery(model, axis),
    columns: columns.length === model.structure[axis].n_columns ? null : columns
  };
  const href = address(ServerConnection.makeSettings().baseUrl, 'anndata/export', query);
  if (columns.length > MOST_EXPORTED || href.length > LONGEST) {
    throw new RequestError(
      0,
      trans.__('These are too many columns for one export.'),
      '',
      trans.__('Hide some of them, or open the file in a notebook.')
    );
  }
  // The browser would save an error as a file: ask for one row first.
  await model.request('anndata/table', { ...query, start: 0, stop: 1, columns: [] });
  const link = document.createElement('a');
  link.href = href;
  link.download = '';
  document.body.appendChild(link);
  link.click();
  link.remove();
  return true;
}

/** The warnings about what is exported: its columns, and the names of the rows, which are no column. */
export function identifierNotes(warnings: Note[], exported: string[], all: string[]): Note[] {
  return warnings.filter(({ where }) => {
    const column = where.startsWith('obs/') ? where.slice('obs/'.length) : null;
    return column !== null && (exported.includes(column) || !all.includes(column));
  });
}

async function confirmExport(model: ViewerModel, notes: Note[]): Promise<boolean> {
  const { trans } = model;
  const body = document.createElement('div');
  const list = document.createElement('ul');
  for (const note of notes) {
    const item = document.createElement('li');
    item.textContent = note.what;
    list.appendChild(item);
  }
  body.append(
    trans.__('These columns may identify a person. Hide them to leave them out of the file.'),
    list
  );
  const { button } = await showDialog({
    title: trans.__('Export columns that may identify patients?'),
    body: new Widget({ node: body }),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: trans.__('Export') })
    ],
    defaultButton: 0
  });
  return button.accept;
}
