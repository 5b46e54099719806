import React, { useState } from 'react';

import { ColumnSummary, Filter, Summary } from '../api';
import { count } from '../viewer/format';
import { ViewerModel } from '../viewer/model';
import { Problem } from '../viewer/problem';
import { withFilter } from '../viewer/filters';
import { percent, plain } from './counts';
import { Limits } from './view';
import { useAnswer } from './use_answer';

export type Lasso = Filter & { kind: 'lasso' };

const MOST_COLUMNS = 6;
const MOST_CATEGORIES = 6;

/** How many cells the lasso holds and of which kind, and the way to filter to them. */
export function Selection({
  model,
  lasso,
  onClear
}: {
  model: ViewerModel;
  lasso: Lasso;
  onClear: () => void;
}) {
  const trans = model.trans;
  const filters = withFilter(model.filters('obs'), lasso);
  const columns = columnsToShow(model);
  const key = JSON.stringify([model.etag, filters, columns]);
  const answer = useAnswer<Summary>(key, signal =>
    model.request<Summary>('anndata/summary', { filters, columns }, { signal })
  );
  const found = answer.value;
  const others = filters.length - 1;
  const inForce = model.filters('obs').some(one => JSON.stringify(one) === JSON.stringify(lasso));
  return (
    <section className="pml-Selection" aria-label={trans.__('Selected cells')}>
      <h3>{trans.__('Selection')}</h3>
      <p role="status" data-selected={answer.busy ? undefined : found?.n_matching}>
        {answer.busy
          ? trans.__('Counting …')
          : found &&
            trans.__(
              '%1 of %2 cells (%3)',
              count(found.n_matching),
              count(found.n_total),
              percent(found.n_matching, found.n_total)
            )}
      </p>
      {others > 0 && (
        <p className="pml-Note">
          {trans._n('within one other filter', 'within %1 other filters', others)}
        </p>
      )}
      {answer.error && <Problem error={answer.error} onRetry={answer.again} trans={trans} />}
      <p className="pml-Buttons">
        <button
          type="button"
          className="jp-mod-styled jp-mod-accept pml-Button"
          disabled={!found?.n_matching || inForce}
          onClick={() => model.setFilter(lasso)}
        >
          {trans.__('Filter to these')}
        </button>
        <button type="button" className="jp-mod-styled pml-Button" onClick={onClear}>
          {trans.__('Clear')}
        </button>
      </p>
      {!answer.busy && found && found.n_matching > 0 && (
        <div className="pml-Selection-columns">
          {found.columns.map(column => (
            <ColumnTable key={column.name} model={model} column={column} />
          ))}
        </div>
      )}
    </section>
  );
}

/** The column that colours the points, then categories, then numbers. */
function columnsToShow(model: ViewerModel): string[] {
  const { colour } = model;
  const columns = model.structure.obs.columns;
  const of = (...types: string[]) =>
    columns.filter(({ type }) => types.includes(type)).map(({ name }) => name);
  const first = colour?.kind === 'obs' ? [colour.name] : [];
  const wanted = [...first, ...of('category', 'boolean'), ...of('number', 'integer')];
  return [...new Set(wanted)].slice(0, MOST_COLUMNS);
}

function ColumnTable({ model, column }: { model: ViewerModel; column: ColumnSummary }) {
  const trans = model.trans;
  const rows: [string, string, string][] = column.categories
    ? column.categories
        .filter(({ count }) => count > 0)
        .slice(0, MOST_CATEGORIES)
        .map(({ value, count: n }) => [value, count(n), percent(n, column.n)])
    : (['min', 'median', 'mean', 'max'] as const)
        .filter(name => typeof column[name] === 'number')
        .map(name => [name, plain(column[name]!), '']);
  const present = column.categories?.filter(({ count }) => count > 0).length ?? 0;
  const more = Math.max(0, present + (column.n_more ?? 0) - MOST_CATEGORIES);
  return (
    <table className="pml-Legend-table">
      <caption>{column.name}</caption>
      <colgroup>
        <col />
        <col className="pml-Column-count" />
        <col className="pml-Column-share" />
      </colgroup>
      <tbody>
        {rows.map(([name, value, share]) => (
          <tr key={name}>
            <th scope="row" title={name}>
              {name}
            </th>
            <td>{value}</td>
            <td>{share}</td>
          </tr>
        ))}
        {column.n_missing > 0 && (
          <tr>
            <th scope="row">{trans.__('missing')}</th>
            <td>{count(column.n_missing)}</td>
            <td />
          </tr>
        )}
        {more > 0 && (
          <tr>
            <th scope="row" colSpan={3}>
              {trans.__('and %1 more', count(more))}
            </th>
          </tr>
        )}
      </tbody>
    </table>
  );
}

/** The lasso for those who use no pointer: a rectangle in numbers. */
export function RectangleForm({
  model,
  seen,
  onSelect
}: {
  model: ViewerModel;
  seen: () => Limits;
  onSelect: (limits: Limits) => void;
}) {
  const trans = model.trans;
  const empty = { x0: '', x1: '', y0: '', y1: '' };
  const [typed, setTyped] = useState<Record<keyof Limits, string>>(empty);
  const names: [keyof Limits, string][] = [
    ['x0', trans.__('x from')],
    ['x1', trans.__('x to')],
    ['y0', trans.__('y from')],
    ['y1', trans.__('y to')]
  ];
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    const limits = { ...seen() };
    for (const [name] of names) {
      if (typed[name] !== '' && Number.isFinite(Number(typed[name]))) {
        limits[name] = Number(typed[name]);
      }
    }
    onSelect(limits);
  };
  return (
    <details className="pml-Rectangle">
      <summary>{trans.__('Select by coordinates')}</summary>
      <form onSubmit={submit}>
        <p className="pml-Note">{trans.__('What is left empty ends where the plot ends.')}</p>
        <div className="pml-Rectangle-fields">
          {names.map(([name, label]) => (
            <label key={name} className="pml-Field">
              <span>{label}</span>
              <input
                className="jp-mod-styled"
                type="number"
                step="any"
                value={typed[name]}
                onChange={event => setTyped({ ...typed, [name]: event.target.value })}
              />
            </label>
          ))}
        </div>
        <button type="submit" className="jp-mod-styled pml-Button">
          {trans.__('Select')}
        </button>
      </form>
    </details>
  );
}
