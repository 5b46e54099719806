import React, { useState } from 'react';

import { AxisName, Column } from '../api';
import { count, typeName } from './format';
import { ViewerModel } from './model';

const MOST_LISTED = 300;

interface ChoiceProps {
  model: ViewerModel;
  axis: AxisName;
  /** Bring a column into view. */
  onGoTo: (column: string) => void;
}

/** Search among the columns of a wide table, show and hide them, go to one. */
export function ColumnChoice({ model, axis, onGoTo }: ChoiceProps): JSX.Element {
  const { trans } = model;
  const [search, setSearch] = useState('');
  const hidden = new Set(model.state.values.tables[axis].hidden);
  const { columns, n_columns } = model.structure[axis];
  const found = columns.filter(({ name }) => name.toLowerCase().includes(search.toLowerCase()));
  const show = (names: string[], on: boolean) => {
    const next = new Set(hidden);
    names.forEach(name => (on ? next.delete(name) : next.add(name)));
    model.state.setTable(axis, { hidden: [...next] });
  };
  const names = found.map(({ name }) => name);
  return (
    <div className="pml-Menu">
      <div className="pml-Row">
        <input
          className="jp-mod-styled pml-Input"
          type="search"
          aria-label={trans.__('Search columns')}
          placeholder={trans.__('Search columns')}
          value={search}
          onChange={event => setSearch(event.target.value)}
        />
        <button className="pml-Link" onClick={() => show(names, true)}>
          {trans.__('Show')}
        </button>
        <button className="pml-Link" onClick={() => show(names, false)}>
          {trans.__('Hide')}
        </button>
      </div>
      <ul className="pml-Values">
        {found.slice(0, MOST_LISTED).map(column => (
          <ColumnItem
            key={column.name}
            column={column}
            shown={!hidden.has(column.name)}
            model={model}
            onShow={on => show([column.name], on)}
            onGoTo={() => onGoTo(column.name)}
          />
        ))}
      </ul>
      <p className="pml-Quiet" role="status">
        {trans.__('%1 of %2 columns', count(found.length), count(n_columns))}
      </p>
    </div>
  );
}

interface ItemProps {
  column: Column;
  shown: boolean;
  model: ViewerModel;
  onShow: (on: boolean) => void;
  onGoTo: () => void;
}

function ColumnItem({ column, shown, model, onShow, onGoTo }: ItemProps): JSX.Element {
  const { trans } = model;
  return (
    <li className="pml-Value">
      <label>
        <input type="checkbox" checked={shown} onChange={event => onShow(event.target.checked)} />
        <span className="pml-Value-name" title={column.name}>
          {column.name}
        </span>
        <span className="pml-Value-count">{typeName(column.type, trans)}</span>
      </label>
      <button
        className="pml-Link"
        disabled={!shown}
        aria-label={trans.__('Go to %1', column.name)}
        onClick={onGoTo}
      >
        {trans.__('Go to')}
      </button>
    </li>
  );
}
