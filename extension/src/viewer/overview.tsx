import { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { ArrayEntry, Matrix, Note, UnsEntry } from '../api';
import { count, moment, shape, size } from './format';
import { ViewerModel, useModel } from './model';

/** What a file holds, and what to look out for. */
export function Overview({ model }: { model: ViewerModel }): JSX.Element {
  useModel(model);
  const { structure, trans } = model;
  const of = structure.cohort.is
    ? trans.__('%1 patients × %2 genes', count(structure.n_obs), count(structure.n_vars))
    : trans.__('%1 cells × %2 genes', count(structure.n_obs), count(structure.n_vars));
  return (
    <div className="pml-Overview" tabIndex={-1}>
      <header className="pml-Overview-head">
        <h2>{of}</h2>
        <FileFacts model={model} />
      </header>
      <Warnings model={model} />
      <Matrices model={model} />
      <div className="pml-Overview-columns">
        <ColumnsOf model={model} axis="obs" title={trans.__('Columns of observations (obs)')} />
        <ColumnsOf model={model} axis="var" title={trans.__('Columns of variables (var)')} />
      </div>
      <div className="pml-Overview-columns">
        {(['obsm', 'varm', 'obsp', 'varp'] as const).map(name => (
          <Arrays key={name} name={name} entries={structure[name]} trans={trans} />
        ))}
      </div>
      <Uns entries={structure.uns} trans={trans} />
    </div>
  );
}

function FileFacts({ model }: { model: ViewerModel }): JSX.Element {
  const { structure, trans } = model;
  const { type, version } = structure.encoding;
  const facts: [string, string][] = [
    [trans.__('File'), structure.path],
    [trans.__('Size on disk'), size(structure.size)],
    [trans.__('Changed'), moment(structure.modified)],
    [
      trans.__('Encoding'),
      type
        ? `${structure.format}, ${type} ${version}`
        : trans.__('%1, no version', structure.format)
    ],
    [trans.__('Patients as rows'), structure.cohort.why]
  ];
  return (
    <dl className="pml-Facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Warnings({ model }: { model: ViewerModel }): JSX.Element {
  const { structure, slowWarnings, trans } = model;
  const notes: Note[] = [...structure.warnings, ...(slowWarnings ?? [])];
  const { unreadable } = structure;
  return (
    <section className="pml-Part" aria-label={trans.__('Warnings')}>
      <h3>
        {trans.__('Warnings')} {slowWarnings && <span className="pml-Count">{notes.length}</span>}
      </h3>
      <ul className="pml-Warnings">
        {notes.map((note, i) => (
          <NoteItem key={i} note={note} />
        ))}
      </ul>
      <p className="pml-Quiet" role="status">
        {slowWarnings === null
          ? trans.__('Looking for duplicate names and identifier-like columns …')
          : notes.length === 0 && trans.__('Nothing to warn of.')}
      </p>
      {unreadable.length > 0 && (
        <>
          <h3>
            {trans.__('Parts that cannot be read')}{' '}
            <span className="pml-Count">{unreadable.length}</span>
          </h3>
          <ul className="pml-Warnings">
            {unreadable.map(({ where, what }) => (
              <NoteItem key={where} note={{ where, what, mend: '' }} />
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function NoteItem({ note }: { note: Note }): JSX.Element {
  return (
    <li className="pml-Warning">
      <code className="pml-Warning-where">{note.where}</code>
      <span>
        {note.what} {note.mend && <span className="pml-Quiet">{note.mend}</span>}
      </span>
    </li>
  );
}

function Matrices({ model }: { model: ViewerModel }): JSX.Element {
  const { structure, trans } = model;
  const matrices = [structure.x, ...structure.layers, structure.raw?.x ?? null].filter(
    (matrix): matrix is Matrix => matrix !== null
  );
  return (
    <section className="pml-Part">
      <h3>{trans.__('X and layers')}</h3>
      {!structure.x && <p className="pml-Quiet">{trans.__('There is no X.')}</p>}
      {matrices.length > 0 && (
        <table className="pml-Table">
          <thead>
            <tr>
              <th scope="col">{trans.__('Name')}</th>
              <th scope="col">{trans.__('Holds')}</th>
              <th scope="col">{trans.__('How judged')}</th>
              <th scope="col">{trans.__('Shape')}</th>
              <th scope="col">{trans.__('Stored as')}</th>
              <th scope="col">{trans.__('In memory')}</th>
            </tr>
          </thead>
          <tbody>
            {matrices.map(matrix => (
              <MatrixRow key={matrix.name} matrix={matrix} trans={trans} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function MatrixRow({ matrix, trans }: { matrix: Matrix; trans: TranslationBundle }): JSX.Element {
  const holds = {
    counts: trans.__('raw counts'),
    log: trans.__('log values'),
    scaled: trans.__('scaled values'),
    unknown: trans.__('not clear')
  }[matrix.holds];
  const cells = matrix.shape[0] * matrix.shape[1];
  const filled =
    matrix.kind !== 'dense' && cells > 0
      ? trans.__('%1 % of values are not zero', ((100 * matrix.n_stored) / cells).toPrecision(2))
      : '';
  const chunks = matrix.chunks ? trans.__('chunks of %1', shape(matrix.chunks)) : '';
  const stored = [matrix.kind, matrix.dtype, matrix.compression ?? '', chunks, filled];
  return (
    <tr>
      <th scope="row">{matrix.name}</th>
      <td>
        <span className={`pml-Holds pml-mod-${matrix.holds}`}>{holds}</span>
      </td>
      <td className="pml-Quiet pml-Wide">{matrix.how}</td>
      <td>{shape(matrix.shape)}</td>
      <td>{stored.filter(Boolean).join(', ')}</td>
      <td>{size(matrix.bytes)}</td>
    </tr>
  );
}

const COLUMNS_LISTED = 60;

function ColumnsOf({
  model,
  axis,
  title
}: {
  model: ViewerModel;
  axis: 'obs' | 'var';
  title: string;
}): JSX.Element {
  const { trans } = model;
  const { columns, n_columns } = model.structure[axis];
  const more = n_columns - Math.min(columns.length, COLUMNS_LISTED);
  return (
    <section className="pml-Part">
      <h3>
        {title} <span className="pml-Count">{count(n_columns)}</span>
      </h3>
      <p className="pml-Names">
        {columns.slice(0, COLUMNS_LISTED).map(column => (
          <code key={column.name} title={column.encoding}>
            {column.name}
          </code>
        ))}
        {more > 0 && <span className="pml-Quiet">{trans.__('and %1 more', count(more))}</span>}
      </p>
      <button className="pml-Link" onClick={() => model.state.set({ tab: axis })}>
        {axis === 'obs' ? trans.__('Show observations') : trans.__('Show variables')}
      </button>
    </section>
  );
}

function Arrays({
  name,
  entries,
  trans
}: {
  name: 'obsm' | 'varm' | 'obsp' | 'varp';
  entries: ArrayEntry[];
  trans: TranslationBundle;
}): JSX.Element | null {
  if (entries.length === 0) {
    return null;
  }
  const meaning = {
    obsm: trans.__('of observations'),
    varm: trans.__('of variables'),
    obsp: trans.__('between observations'),
    varp: trans.__('between variables')
  }[name];
  return (
    <section className="pml-Part">
      <h3>
        {name} <span className="pml-Quiet">{meaning}</span>
      </h3>
      <table className="pml-Table">
        <thead>
          <tr>
            <th scope="col">{trans.__('Name')}</th>
            <th scope="col">{trans.__('Shape')}</th>
            <th scope="col">{trans.__('Type')}</th>
            <th scope="col">{trans.__('In memory')}</th>
          </tr>
        </thead>
        <tbody>
          {entries.map(entry => (
            <tr key={entry.name}>
              <th scope="row">{entry.name}</th>
              <td>{shape(entry.shape)}</td>
              <td>{[...new Set([entry.kind, entry.dtype])].filter(Boolean).join(', ')}</td>
              <td>{size(entry.bytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Uns({ entries, trans }: { entries: UnsEntry[]; trans: TranslationBundle }): JSX.Element {
  return (
    <section className="pml-Part">
      <h3>
        uns <span className="pml-Quiet">{trans.__('unstructured')}</span>
      </h3>
      {entries.length === 0 && <p className="pml-Quiet">{trans.__('Empty.')}</p>}
      <UnsTree entries={entries} trans={trans} />
    </section>
  );
}

function UnsTree({ entries, trans }: { entries: UnsEntry[]; trans: TranslationBundle }) {
  return (
    <ul className="pml-Tree">
      {entries.map(entry => (
        <li key={entry.name}>
          {entry.children?.length ? (
            <details>
              <summary>
                <code>{entry.name}</code>{' '}
                <span className="pml-Quiet">{trans.__('%1 entries', entry.children.length)}</span>
              </summary>
              <UnsTree entries={entry.children} trans={trans} />
            </details>
          ) : (
            <>
              <code>{entry.name}</code> <span className="pml-Quiet">{unsText(entry)}</span>
            </>
          )}
        </li>
      ))}
    </ul>
  );
}

function unsText(entry: UnsEntry): string {
  if (entry.value !== undefined && entry.value !== null) {
    return String(entry.value);
  }
  const parts = [entry.kind ?? '', shape(entry.shape), entry.dtype ?? ''];
  return [...parts, entry.bytes ? size(entry.bytes) : ''].filter(Boolean).join(', ');
}
