import React from 'react';

import { percent, plain } from '../embedding/counts';
import { count } from '../viewer/format';
import { ViewerModel } from '../viewer/model';
import { Distribution } from './answer';
import { legendOf } from './shapes';

/** Categories that the table shows as columns. */
const MOST_COLUMNS = 30;

/** The numbers that the chart shows, as a table. */
export function Numbers({ model, answer }: { model: ViewerModel; answer: Distribution }) {
  const trans = model.trans;
  return (
    <details className="pml-Numbers">
      <summary>{trans.__('Table of the numbers')}</summary>
      <div className="pml-Scroll" tabIndex={0} role="region" aria-label={trans.__('Numbers')}>
        {answer.kind === 'number' ? (
          <NumberTable model={model} answer={answer} />
        ) : (
          <CategoryTable model={model} answer={answer} />
        )}
      </div>
    </details>
  );
}

type Of<Kind> = Distribution & { kind: Kind };

function NumberTable({ model, answer }: { model: ViewerModel; answer: Of<'number'> }) {
  const trans = model.trans;
  const columns = ['min', 'q1', 'median', 'mean', 'q3', 'max'] as const;
  const heads = {
    min: trans.__('min'),
    q1: trans.__('1st quartile'),
    median: trans.__('median'),
    mean: trans.__('mean'),
    q3: trans.__('3rd quartile'),
    max: trans.__('max')
  };
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{answer.by || trans.__('Group')}</th>
          <th scope="col">{trans.__('cells')}</th>
          <th scope="col">{trans.__('missing')}</th>
          <th scope="col">{trans.__('zero')}</th>
          {columns.map(name => (
            <th key={name} scope="col">
              {heads[name]}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {answer.groups.map(group => (
          <tr key={group.name}>
            <th scope="row">{group.name}</th>
            <td>{count(group.n)}</td>
            <td>{count(group.n_missing)}</td>
            <td>{percent(group.n_zero, group.n)}</td>
            {columns.map(name => (
              <td key={name}>{group[name] === null ? '' : plain(group[name]!)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function CategoryTable({ model, answer }: { model: ViewerModel; answer: Of<'category'> }) {
  const trans = model.trans;
  const rows = legendOf(answer.categories, answer.groups);
  const shown = rows.slice(0, MOST_COLUMNS);
  return (
    <>
      <table>
        <thead>
          <tr>
            <th scope="col">{answer.by || trans.__('Group')}</th>
            <th scope="col">{trans.__('cells')}</th>
            {shown.map(({ category, label }) => (
              <th key={category} scope="col">
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {answer.groups.map(group => (
            <tr key={group.name}>
              <th scope="row">{group.name}</th>
              <td>{count(group.n)}</td>
              {shown.map(({ category }) => (
                <td key={category}>{count(group.counts[category])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > shown.length && (
        <p className="pml-Note">
          {trans.__('%1 rarer categories are not in the table.', rows.length - shown.length)}
        </p>
      )}
    </>
  );
}

/** What the colours of the bars stand for. */
export function Key({ model, answer }: { model: ViewerModel; answer: Of<'category'> }) {
  const rows = legendOf(answer.categories, answer.groups);
  const shared = rows.filter(row => row.shared).length;
  return (
    <ul className="pml-Key" aria-label={model.trans.__('Colours')}>
      {rows
        .filter(row => !row.shared)
        .map(({ category, label, colour }) => (
          <li key={category}>
            <span className="pml-Chip" style={{ background: colour }} aria-hidden="true" />
            {label}
          </li>
        ))}
      {shared > 0 && (
        <li>
          <span className="pml-Chip pml-mod-rest" aria-hidden="true" />
          {model.trans._n('one rarer category', '%1 rarer categories', shared)}
        </li>
      )}
    </ul>
  );
}
