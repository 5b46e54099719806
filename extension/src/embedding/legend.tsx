import React from 'react';

import { count } from '../viewer/format';
import { ViewerModel } from '../viewer/model';
import { Value } from '../viewer/state';
import { ColourMeta, LegendRow, barStops, legendRows } from './colouring';
import { percent, plain } from './counts';
import { LegendFilter } from './legend_filter';
import { CATEGORY_COLOURS, Greys } from './palette';
import { valueName } from './status';

/** Lines that a list shows; more would make the page slow and nobody reads them. */
const MOST_LINES = 1000;

interface Properties {
  model: ViewerModel;
  /** What the points are coloured by. */
  of: Value;
  meta: ColourMeta;
  greys: Greys;
  emphasised: number | null;
  onEmphasis: (category: number | null) => void;
}

/** What the colours stand for, with counts of all rows. */
export function Legend(properties: Properties) {
  const { model, of, meta, emphasised } = properties;
  return (
    <section className="pml-Legend" aria-label={model.trans.__('Legend')}>
      <h3>{valueName(of)}</h3>
      {meta.kind === 'number' ? (
        <ColourBar {...properties} meta={meta} />
      ) : (
        <Categories {...properties} meta={meta} />
      )}
      <LegendFilter model={model} of={of} meta={meta} emphasised={emphasised} />
    </section>
  );
}

function Categories(properties: Properties & { meta: ColourMeta & { kind: 'category' } }) {
  const { model, meta, greys, emphasised, onEmphasis } = properties;
  const trans = model.trans;
  const rows = legendRows(meta, greys, trans.__('missing'));
  const total = rows.reduce((sum, row) => sum + row.count, 0);
  const shared = rows.filter(row => row.shared).length;
  return (
    <>
      {shared > 0 && (
        <p className="pml-Note">
          {trans.__(
            'The %1 most frequent of %2 categories have a colour; the other %3 share a grey. Choose one to see it alone.',
            CATEGORY_COLOURS.length,
            meta.categories.length,
            shared
          )}
        </p>
      )}
      <table className="pml-Legend-table">
        <caption className="pml-Hidden">{trans.__('Cells by category')}</caption>
        <colgroup>
          <col />
          <col className="pml-Column-count" />
          <col className="pml-Column-share" />
        </colgroup>
        <thead className="pml-Hidden">
          <tr>
            <th scope="col">{trans.__('Category')}</th>
            <th scope="col">{trans.__('Cells')}</th>
            <th scope="col">{trans.__('Share')}</th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, MOST_LINES).map(row => (
            <Line
              key={row.category}
              row={row}
              total={total}
              emphasised={emphasised}
              onEmphasis={onEmphasis}
            />
          ))}
        </tbody>
      </table>
      {rows.length > MOST_LINES && (
        <p className="pml-Note">{trans.__('%1 more are not listed.', rows.length - MOST_LINES)}</p>
      )}
    </>
  );
}

interface LineProperties {
  row: LegendRow;
  total: number;
  emphasised: number | null;
  onEmphasis: (category: number | null) => void;
}

function Line({ row, total, emphasised, onEmphasis }: LineProperties) {
  const on = emphasised === row.category;
  const name = (
    <>
      <span className="pml-Chip" style={{ background: row.colour }} aria-hidden="true" />
      <span className="pml-Legend-name">{row.label}</span>
    </>
  );
  return (
    <tr className={emphasised !== null && !on ? 'pml-mod-faded' : ''}>
      <th scope="row">
        {row.category < 0 ? (
          <span className="pml-Legend-key">{name}</span>
        ) : (
          <button
            type="button"
            className="pml-Legend-key"
            aria-pressed={on}
            title={row.label}
            onClick={() => onEmphasis(on ? null : row.category)}
          >
            {name}
          </button>
        )}
      </th>
      <td>{count(row.count)}</td>
      <td>{percent(row.count, total)}</td>
    </tr>
  );
}

function ColourBar({ model, meta, greys }: Properties & { meta: ColourMeta & { kind: 'number' } }) {
  const trans = model.trans;
  const { low, high, min, max, n_missing, n_zero } = meta;
  const total = model.structure.n_obs;
  if (low === null || high === null || min === null || max === null) {
    return <p className="pml-Note">{trans.__('All %1 values are missing.', total)}</p>;
  }
  return (
    <>
      <div
        className="pml-Bar"
        role="img"
        aria-label={trans.__('Colours from %1 to %2', plain(low), plain(high))}
        style={{ background: `linear-gradient(to right, ${barStops().join(', ')})` }}
      />
      <div className="pml-Bar-ends" aria-hidden="true">
        <span>{plain(low)}</span>
        <span>{plain(high)}</span>
      </div>
      <p className="pml-Note">{limitsText(model, meta)}</p>
      <table className="pml-Legend-table">
        <caption className="pml-Hidden">{trans.__('The values in numbers')}</caption>
        <tbody>
          {[
            [trans.__('smallest'), plain(min)],
            [trans.__('largest'), plain(max)],
            [trans.__('zero'), `${count(n_zero)} (${percent(n_zero, total)})`]
          ].map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{value}</td>
            </tr>
          ))}
          <tr>
            <th scope="row">
              <span className="pml-Legend-key">
                <span
                  className="pml-Chip"
                  style={{ background: greys.missing }}
                  aria-hidden="true"
                />
                {trans.__('missing')}
              </span>
            </th>
            <td>{count(n_missing)}</td>
          </tr>
        </tbody>
      </table>
    </>
  );
}

/** Where the colour bar ends, and why there. */
export function limitsText(model: ViewerModel, meta: ColourMeta & { kind: 'number' }): string {
  return meta.low === meta.min && meta.high === meta.max
    ? model.trans.__('From the smallest to the largest value.')
    : model.trans.__(
        'From the 1st to the 99th percentile of all cells; values beyond have the colour of the end.'
      );
}
