import React, { useState } from 'react';

import { Filter } from '../api';
import { bound } from '../viewer/filters';
import { ViewerModel } from '../viewer/model';
import { Value } from '../viewer/state';
import { ColourMeta } from './colouring';
import { plain } from './counts';

interface Properties {
  model: ViewerModel;
  /** What the points are coloured by. */
  of: Value;
  meta: ColourMeta;
  emphasised: number | null;
}

/** Keep the cells of the emphasised category, or those whose value lies between two numbers. */
export function LegendFilter({ model, of, meta, emphasised }: Properties): JSX.Element | null {
  if (meta.kind === 'number') {
    return <BetweenFilter key={JSON.stringify(of)} model={model} of={of} meta={meta} />;
  }
  if (emphasised === null) {
    return null;
  }
  const values = [meta.categories[emphasised]];
  const filter: Filter = { kind: 'values', axis: 'obs', column: of.name, values, missing: false };
  return (
    <p className="pml-Buttons">
      <button
        type="button"
        className="jp-mod-styled pml-Button"
        onClick={() => model.setFilter(filter)}
      >
        {model.trans.__('Filter to this category')}
      </button>
    </p>
  );
}

function BetweenFilter({
  model,
  of,
  meta
}: {
  model: ViewerModel;
  of: Value;
  meta: ColourMeta & { kind: 'number' };
}): JSX.Element {
  const { trans } = model;
  const [typed, setTyped] = useState({ min: '', max: '' });
  const [min, max] = [bound(typed.min), bound(typed.max)];
  const ends: ['min' | 'max', string, number | null][] = [
    ['min', trans.__('from'), meta.min],
    ['max', trans.__('to'), meta.max]
  ];
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    model.setFilter(betweenFilter(of, min, max));
  };
  return (
    <details className="pml-Rectangle">
      <summary>{trans.__('Filter by value')}</summary>
      <form onSubmit={submit}>
        <div className="pml-Rectangle-fields">
          {ends.map(([name, label, end]) => (
            <label key={name} className="pml-Field">
              <span>{label}</span>
              <input
                className="jp-mod-styled"
                type="number"
                step="any"
                placeholder={end === null ? '' : plain(end)}
                value={typed[name]}
                onChange={event => setTyped({ ...typed, [name]: event.target.value })}
              />
            </label>
          ))}
        </div>
        <button
          type="submit"
          className="jp-mod-styled pml-Button"
          disabled={(min === null && max === null) || (min !== null && max !== null && min > max)}
        >
          {trans.__('Filter')}
        </button>
      </form>
    </details>
  );
}

/** A column's or a gene's values from `min` to `max`; a missing value is in no such range. */
export function betweenFilter(
  { kind, name, layer }: Value,
  min: number | null,
  max: number | null
): Filter {
  return kind === 'gene'
    ? { kind: 'gene', gene: name, layer, min, max }
    : { kind: 'range', axis: 'obs', column: name, min, max, missing: false };
}
