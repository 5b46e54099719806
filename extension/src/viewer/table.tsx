import { showErrorMessage } from '@jupyterlab/apputils';
import React, { useEffect, useMemo, useRef, useState } from 'react';

import { AxisName, Column, TablePage, asRequestError } from '../api';
import { ColumnChoice } from './column_choice';
import { count } from './format';
import { Grid, GridHandle, Selection } from './grid';
import { ViewerModel, useModel } from './model';
import { Pages } from './pages';
import { Popover } from './popover';
import { Problem } from './problem';
import { useWhileShown } from './shown';
import { MOST_COPIED, copyRows, exportRows, tableQuery } from './take_out';

const SEARCH_AFTER = 300;

/** The rows of obs or var: searched, sorted, filtered, copied and exported. */
export function AxisTable({ model, axis }: { model: ViewerModel; axis: AxisName }): JSX.Element {
  useModel(model);
  const { hidden } = model.state.values.tables[axis];
  const { columns: all } = model.structure[axis];
  const columns = useWhileShown(
    useMemo(() => all.filter(({ name }) => !hidden.includes(name)), [all, hidden])
  );
  const pages = usePages(model, axis, columns);
  const [selection, setSelection] = useState<Selection | null>(null);
  useEffect(() => setSelection(null), [pages]);
  const grid = useRef<GridHandle>(null);
  const copy = () => void copyShown(model, axis, columns, grid.current!.seen(), selection, setSaid);
  const [said, setSaid] = useState('');
  return (
    <div className="pml-AxisTable">
      <TableBar
        model={model}
        axis={axis}
        columns={columns}
        selection={selection}
        onCopy={copy}
        onGoTo={name => grid.current?.goTo(columns.findIndex(one => one.name === name))}
        said={said}
        onSaid={setSaid}
      />
      {pages.error && <TableProblem model={model} axis={axis} pages={pages} />}
      <Grid
        ref={grid}
        model={model}
        axis={axis}
        columns={columns}
        pages={pages}
        selection={selection}
        onSelect={setSelection}
        onCopy={copy}
      />
    </div>
  );
}

/** The pages of the table as it is now; a change of order, filters, columns or file begins anew. */
function usePages(model: ViewerModel, axis: AxisName, columns: Column[]): Pages {
  const query = useWhileShown(JSON.stringify([tableQuery(model, axis), model.etag, model.path]));
  const pages = useMemo(() => {
    const asked = tableQuery(model, axis);
    return new Pages(
      columns.map(({ name }) => name),
      (start, stop, names, signal) =>
        model.request<TablePage>(
          'anndata/table',
          { ...asked, start, stop, columns: names },
          { signal }
        )
    );
  }, [model, axis, columns, query]);
  const [, again] = useState(0);
  useEffect(() => {
    const update = () => again(n => n + 1);
    pages.changed.connect(update);
    return () => pages.dispose();
  }, [pages]);
  return pages;
}

function TableProblem({
  model,
  axis,
  pages
}: {
  model: ViewerModel;
  axis: AxisName;
  pages: Pages;
}): JSX.Element {
  const { trans } = model;
  const plain = () => {
    model.state.setTable(axis, { sort: '', descending: false });
    model.setFilters([]);
  };
  return (
    <Problem error={pages.error!} trans={trans} onRetry={() => pages.retry()}>
      <button className="jp-mod-styled pml-Button" onClick={plain}>
        {trans.__('Remove filters and sorting')}
      </button>
    </Problem>
  );
}

async function copyShown(
  model: ViewerModel,
  axis: AxisName,
  columns: Column[],
  seen: Selection,
  selection: Selection | null,
  say: (text: string) => void
): Promise<void> {
  const { trans } = model;
  const { first, end } = selection ?? seen;
  const stop = Math.min(end, first + MOST_COPIED);
  try {
    const names = columns.map(({ name }) => name);
    const n = await copyRows(model, axis, names, first, stop);
    say(
      stop < end
        ? trans.__(
            'Copied the first %1 of %2 rows. Export takes all.',
            count(n),
            count(end - first)
          )
        : trans._n('Copied %2 row.', 'Copied %2 rows.', n, count(n))
    );
  } catch (error) {
    void showErrorMessage(trans.__('Nothing was copied'), asRequestError(error).message);
  }
}

interface BarProps {
  model: ViewerModel;
  axis: AxisName;
  columns: Column[];
  selection: Selection | null;
  onCopy: () => void;
  onGoTo: (column: string) => void;
  said: string;
  onSaid: (text: string) => void;
}

function TableBar(props: BarProps): JSX.Element {
  const { model, axis, columns, selection, onCopy, onGoTo, said, onSaid } = props;
  const { trans } = model;
  const [choosing, setChoosing] = useState(false);
  const save = async () => {
    try {
      const names = columns.map(({ name }) => name);
      onSaid((await exportRows(model, axis, names)) ? trans.__('The export began.') : '');
    } catch (error) {
      const { message, mend } = asRequestError(error);
      void showErrorMessage(trans.__('Nothing was exported'), `${message} ${mend}`.trim());
    }
  };
  const { columns: all, n_columns } = model.structure[axis];
  const listed = all.length;
  const hidden = listed - columns.length;
  const selected = selection ? selection.end - selection.first : 0;
  return (
    <div className="pml-TableBar">
      <NameSearch model={model} axis={axis} />
      <span className="pml-Anchor">
        <button
          className="jp-mod-styled pml-Button"
          aria-haspopup="dialog"
          aria-expanded={choosing}
          onClick={() => setChoosing(!choosing)}
        >
          {hidden ? trans.__('Columns (%1 hidden)', count(hidden)) : trans.__('Columns')}
        </button>
        {choosing && (
          <Popover label={trans.__('Columns')} left={0} top={30} onClose={() => setChoosing(false)}>
            <ColumnChoice model={model} axis={axis} onGoTo={onGoTo} />
          </Popover>
        )}
      </span>
      <button className="jp-mod-styled pml-Button" onClick={onCopy}>
        {selected
          ? trans._n('Copy %2 row', 'Copy %2 rows', selected, count(selected))
          : trans.__('Copy visible rows')}
      </button>
      <button
        className="jp-mod-styled pml-Button"
        title={trans.__('All rows that the filters leave, with the columns that are shown')}
        onClick={() => void save()}
      >
        {trans.__('Export CSV')}
      </button>
      {listed < n_columns && (
        <span className="pml-Quiet">
          {trans.__('Only the first %1 of %2 columns.', count(listed), count(n_columns))}
        </span>
      )}
      <span className="pml-Quiet" role="status">
        {said}
      </span>
    </div>
  );
}

/** The search among names is the filter "name contains". */
function NameSearch({ model, axis }: { model: ViewerModel; axis: AxisName }): JSX.Element {
  const { trans } = model;
  const present = model.filters(axis).find(one => one.kind === 'contains' && one.column === '');
  const text = present?.kind === 'contains' ? present.text : '';
  const [typed, setTyped] = useState(text);
  const timer = useRef(0);
  useEffect(() => setTyped(text), [text]);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  const onChange = (next: string) => {
    setTyped(next);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      const filter = { kind: 'contains', axis, column: '', text: next } as const;
      if (next) {
        model.setFilter(filter);
      } else {
        model.removeFilter(filter);
      }
    }, SEARCH_AFTER);
  };
  const label =
    axis === 'obs' ? trans.__('Search observation names') : trans.__('Search variable names');
  return (
    <input
      className="jp-mod-styled pml-Input"
      type="search"
      aria-label={label}
      placeholder={label}
      value={typed}
      onChange={event => onChange(event.target.value)}
    />
  );
}
