import { TranslationBundle } from '@jupyterlab/translation';
import React, { useEffect, useState } from 'react';

import { AxisName, Column, ColumnSummary, Filter, RequestError, asRequestError } from '../api';
import { bound, subject } from './filters';
import { count, number, typeName } from './format';
import { ViewerModel } from './model';
import { Problem } from './problem';

interface MenuProps {
  model: ViewerModel;
  axis: AxisName;
  column: Column;
  onClose: () => void;
}

/** Sorting, hiding, and a filter on one column, beside what its values are. */
export function ColumnMenu({ model, axis, column, onClose }: MenuProps): JSX.Element {
  const { trans } = model;
  const table = model.state.values.tables[axis];
  const sort = (descending: boolean) => () => {
    model.state.setTable(axis, { sort: column.name, descending });
    onClose();
  };
  const hide = () => {
    model.state.setTable(axis, { hidden: [...table.hidden, column.name] });
    onClose();
  };
  return (
    <div className="pml-Menu">
      <h4>
        {column.name} <span className="pml-Quiet">{typeName(column.type, trans)}</span>
      </h4>
      <div className="pml-Row">
        <button className="pml-Button jp-mod-styled" onClick={sort(false)}>
          {trans.__('Sort up')}
        </button>
        <button className="pml-Button jp-mod-styled" onClick={sort(true)}>
          {trans.__('Sort down')}
        </button>
        <button className="pml-Button jp-mod-styled" onClick={hide}>
          {trans.__('Hide')}
        </button>
      </div>
      <Values model={model} axis={axis} column={column} onClose={onClose} />
    </div>
  );
}

function Values({ model, axis, column, onClose }: MenuProps): JSX.Element {
  const { trans } = model;
  const [summary, setSummary] = useState<ColumnSummary | null>(null);
  const [error, setError] = useState<RequestError | null>(null);
  const [attempt, setAttempt] = useState(0);
  const present = filterOn(model, axis, column.name);
  useEffect(() => {
    const asking = new AbortController();
    const filters = model.filters(axis).filter(one => one !== filterOn(model, axis, column.name));
    const query = { axis, name: column.name, filters };
    setError(null);
    model
      .request<ColumnSummary>('anndata/column', query, { signal: asking.signal })
      .then(setSummary, failure => {
        if (!asking.signal.aborted) {
          setError(asRequestError(failure));
        }
      });
    return () => asking.abort();
  }, [model, axis, column.name, attempt]);
  if (error) {
    return <Problem error={error} trans={trans} onRetry={() => setAttempt(attempt + 1)} />;
  }
  if (!summary) {
    return (
      <p className="pml-Quiet" role="status">
        {trans.__('Counting …')}
      </p>
    );
  }
  const set = (filter: Filter | null) => {
    if (filter) {
      model.setFilter(filter);
    } else if (present) {
      model.removeFilter(present);
    }
    onClose();
  };
  const props = { axis, summary, present, trans, onSet: set };
  if (summary.categories && !(column.type === 'string' && summary.n_more)) {
    return <CategoryFilter {...props} />;
  }
  return summary.categories ? <TextFilter {...props} /> : <RangeFilter {...props} />;
}

function filterOn(model: ViewerModel, axis: AxisName, column: string): Filter | null {
  const wanted = subject({ kind: 'contains', axis, column, text: '' });
  return model.state.values.filters.find(one => subject(one) === wanted) ?? null;
}

interface FilterProps {
  axis: AxisName;
  summary: ColumnSummary;
  present: Filter | null;
  trans: TranslationBundle;
  onSet: (filter: Filter | null) => void;
}

function CategoryFilter({ axis, summary, present, trans, onSet }: FilterProps): JSX.Element {
  const categories = summary.categories ?? [];
  const all = categories.map(({ value }) => value);
  const chosenBefore = present?.kind === 'values' ? present.values : all;
  const [chosen, setChosen] = useState(new Set(chosenBefore));
  const [missing, setMissing] = useState(present?.kind === 'values' ? present.missing : true);
  const [search, setSearch] = useState(present?.kind === 'contains' ? present.text : '');
  const keepContaining = () =>
    onSet({ kind: 'contains', axis, column: summary.name, text: search });
  const shown = categories.filter(({ value }) =>
    value.toLowerCase().includes(search.toLowerCase())
  );
  const choose = (values: string[], on: boolean) => {
    const next = new Set(chosen);
    values.forEach(value => (on ? next.add(value) : next.delete(value)));
    setChosen(next);
  };
  const apply = () => {
    const nothingLeftOut = all.every(value => chosen.has(value));
    if (nothingLeftOut && (missing || summary.n_missing === 0)) {
      return onSet(null);
    }
    const values = [...chosen];
    const kept = missing && summary.n_missing > 0;
    onSet({ kind: 'values', axis, column: summary.name, values, missing: kept });
  };
  const most = Math.max(1, ...categories.map(one => one.count));
  return (
    <>
      <div className="pml-Row">
        <input
          className="jp-mod-styled pml-Input"
          type="search"
          placeholder={trans.__('Search values')}
          aria-label={trans.__('Search values')}
          value={search}
          onChange={event => setSearch(event.target.value)}
        />
        <button
          className="pml-Link"
          onClick={() =>
            choose(
              shown.map(one => one.value),
              true
            )
          }
        >
          {trans.__('All')}
        </button>
        <button
          className="pml-Link"
          onClick={() =>
            choose(
              shown.map(one => one.value),
              false
            )
          }
        >
          {trans.__('None')}
        </button>
      </div>
      <ul className="pml-Values">
        {shown.map(one => (
          <Value
            key={one.value}
            label={one.value || trans.__('(empty)')}
            n={one.count}
            share={one.count / most}
            checked={chosen.has(one.value)}
            onChange={on => choose([one.value], on)}
          />
        ))}
        {summary.n_missing > 0 && (
          <Value
            label={trans.__('(missing)')}
            n={summary.n_missing}
            share={Math.min(1, summary.n_missing / most)}
            checked={missing}
            onChange={setMissing}
          />
        )}
      </ul>
      {!!summary.n_more && (
        <p className="pml-Quiet">
          {trans.__(
            '%1 rarer values are not listed. A choice among those listed leaves them out.',
            count(summary.n_more)
          )}{' '}
          {search && (
            <button className="pml-Link" onClick={keepContaining}>
              {trans.__('Keep all that contain "%1"', search)}
            </button>
          )}
        </p>
      )}
      <Apply trans={trans} present={present} onApply={apply} onSet={onSet} />
    </>
  );
}

interface ValueProps {
  label: string;
  n: number;
  share: number;
  checked: boolean;
  onChange: (on: boolean) => void;
}

function Value({ label, n, share, checked, onChange }: ValueProps): JSX.Element {
  return (
    <li className="pml-Value">
      <span className="pml-Value-bar" style={{ width: `${share * 100}%` }} aria-hidden />
      <label>
        <input
          type="checkbox"
          checked={checked}
          onChange={event => onChange(event.target.checked)}
        />
        <span className="pml-Value-name" title={label}>
          {label}
        </span>
        <span className="pml-Value-count">{count(n)}</span>
      </label>
    </li>
  );
}

function TextFilter({ axis, summary, present, trans, onSet }: FilterProps): JSX.Element {
  const [text, setText] = useState(present?.kind === 'contains' ? present.text : '');
  const apply = () => onSet(text ? { kind: 'contains', axis, column: summary.name, text } : null);
  return (
    <form
      onSubmit={event => {
        event.preventDefault();
        apply();
      }}
    >
      <p className="pml-Quiet">
        {trans.__(
          '%1 different values, %2 missing',
          count(summary.n_unique ?? 0),
          count(summary.n_missing)
        )}
      </p>
      <input
        className="jp-mod-styled pml-Input"
        aria-label={trans.__('Keep rows that contain')}
        placeholder={trans.__('Keep rows that contain')}
        value={text}
        onChange={event => setText(event.target.value)}
      />
      <Apply trans={trans} present={present} onSet={onSet} />
    </form>
  );
}

function RangeFilter({ axis, summary, present, trans, onSet }: FilterProps): JSX.Element {
  const before = present?.kind === 'range' ? present : null;
  const [least, setLeast] = useState(before?.min?.toString() ?? '');
  const [most, setMost] = useState(before?.max?.toString() ?? '');
  const [missing, setMissing] = useState(before ? before.missing : true);
  const min = bound(least);
  const max = bound(most);
  const wrong =
    Number.isNaN(min) || Number.isNaN(max) || (min !== null && max !== null && min > max);
  const apply = () => {
    if (wrong) {
      return;
    }
    const kept = missing && summary.n_missing > 0;
    const nothingLeftOut = min === null && max === null && (kept || summary.n_missing === 0);
    onSet(
      nothingLeftOut ? null : { kind: 'range', axis, column: summary.name, min, max, missing: kept }
    );
  };
  return (
    <form
      onSubmit={event => {
        event.preventDefault();
        apply();
      }}
    >
      <Histogram summary={summary} min={min} max={max} trans={trans} />
      <div className="pml-Row">
        <input
          className="jp-mod-styled pml-Input"
          inputMode="decimal"
          aria-label={trans.__('From')}
          placeholder={summary.min == null ? trans.__('From') : number(summary.min)}
          value={least}
          onChange={event => setLeast(event.target.value)}
        />
        <span aria-hidden>–</span>
        <input
          className="jp-mod-styled pml-Input"
          inputMode="decimal"
          aria-label={trans.__('To')}
          placeholder={summary.max == null ? trans.__('To') : number(summary.max)}
          value={most}
          onChange={event => setMost(event.target.value)}
        />
      </div>
      {wrong && (
        <p role="alert" className="pml-Wrong">
          {trans.__('Give two numbers, the smaller first, or leave one empty.')}
        </p>
      )}
      {summary.n_missing > 0 && (
        <label className="pml-Row">
          <input
            type="checkbox"
            checked={missing}
            onChange={event => setMissing(event.target.checked)}
          />
          {trans.__('Keep the %1 missing', count(summary.n_missing))}
        </label>
      )}
      <Apply trans={trans} present={present} onSet={onSet} />
    </form>
  );
}

const WIDTH = 260;
const HEIGHT = 60;

function Histogram({
  summary,
  min,
  max,
  trans
}: {
  summary: ColumnSummary;
  min: number | null;
  max: number | null;
  trans: TranslationBundle;
}): JSX.Element {
  const { histogram } = summary;
  if (!histogram || summary.min == null || summary.max == null) {
    return <p className="pml-Quiet">{trans.__('No numbers.')}</p>;
  }
  const said = trans.__(
    'from %1 to %2, mean %3, median %4',
    number(summary.min),
    number(summary.max),
    number(summary.mean ?? NaN),
    number(summary.median ?? NaN)
  );
  const most = Math.max(1, ...histogram.counts);
  const width = WIDTH / histogram.counts.length;
  const inside = (i: number) =>
    (min === null || histogram.edges[i + 1] >= min) && (max === null || histogram.edges[i] <= max);
  return (
    <figure className="pml-Histogram">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={trans.__('Histogram, %1', said)}
      >
        {histogram.counts.map((n, i) => (
          <rect
            key={i}
            className={inside(i) ? 'pml-HistogramBar' : 'pml-HistogramBar pml-mod-out'}
            x={i * width}
            width={Math.max(width - 1, 0.5)}
            y={HEIGHT - (HEIGHT * n) / most}
            height={(HEIGHT * n) / most}
          >
            <title>
              {`${number(histogram.edges[i])} – ${number(histogram.edges[i + 1])}: ${count(n)}`}
            </title>
          </rect>
        ))}
      </svg>
      <figcaption className="pml-Quiet">{said}</figcaption>
    </figure>
  );
}

/** Without `onApply` the button submits the form around it, as Enter does. */
function Apply({
  trans,
  present,
  onApply,
  onSet
}: {
  trans: TranslationBundle;
  present: Filter | null;
  onApply?: () => void;
  onSet: (filter: null) => void;
}): JSX.Element {
  return (
    <div className="pml-Row pml-Apply">
      <button
        type={onApply ? 'button' : 'submit'}
        className="jp-mod-styled jp-mod-accept pml-Button"
        onClick={onApply}
      >
        {trans.__('Apply filter')}
      </button>
      {present && (
        <button type="button" className="jp-mod-styled pml-Button" onClick={() => onSet(null)}>
          {trans.__('Remove filter')}
        </button>
      )}
    </div>
  );
}
