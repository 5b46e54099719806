import React from 'react';

import { AxisName, Filter } from '../api';
import { axisOf, filterText, subject } from './filters';
import { count } from './format';
import { ViewerModel } from './model';

/** The filters that all tabs share, each with a button that removes it, and what they leave. */
export function FilterBar({ model }: { model: ViewerModel }): JSX.Element {
  const { trans } = model;
  const { filters } = model.state.values;
  return (
    <div className="pml-FilterBar" role="region" aria-label={trans.__('Filters')}>
      <span className="pml-FilterBar-counts" role="status">
        {(['obs', 'var'] as const).map(axis => (
          <Left key={axis} model={model} axis={axis} />
        ))}
      </span>
      {filters.length > 0 && (
        <ul className="pml-FilterList">
          {filters.map(filter => (
            <Chip key={subject(filter)} filter={filter} model={model} />
          ))}
        </ul>
      )}
      {filters.length > 1 && (
        <button className="pml-Link" onClick={() => model.setFilters([])}>
          {trans.__('Remove all')}
        </button>
      )}
    </div>
  );
}

/** "120 of 700 observations". */
function Left({ model, axis }: { model: ViewerModel; axis: AxisName }): JSX.Element {
  const { trans, structure } = model;
  const all = structure[axis].n;
  const n = count(all);
  const left = model.matching(axis);
  const filtered = model.filters(axis).length > 0;
  const shown = left === null ? '…' : count(left);
  const text =
    axis === 'obs'
      ? filtered
        ? trans.__('%1 of %2 observations', shown, n)
        : trans._n('%2 observation', '%2 observations', all, n)
      : filtered
        ? trans.__('%1 of %2 variables', shown, n)
        : trans._n('%2 variable', '%2 variables', all, n);
  return <span className={filtered ? 'pml-Left pml-mod-filtered' : 'pml-Left'}>{text}</span>;
}

function Chip({ filter, model }: { filter: Filter; model: ViewerModel }): JSX.Element {
  const { trans } = model;
  const text = filterText(filter, trans);
  return (
    <li className="pml-Filter" title={text}>
      <span className="pml-Filter-text">
        {axisOf(filter) === 'var' && <em>{trans.__('variables:')} </em>}
        {text}
      </span>
      <button
        className="pml-Filter-remove"
        aria-label={trans.__('Remove filter: %1', text)}
        onClick={() => model.removeFilter(filter)}
      >
        ×
      </button>
    </li>
  );
}
