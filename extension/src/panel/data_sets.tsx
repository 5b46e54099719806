import { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { count, size } from '../viewer/format';
import { DataSet, DataSets, Place } from './answers';
import { FetchProgress } from './fetch_progress';
import { PanelModel } from './model';

interface DataSetListProps {
  answer: DataSets;
  model: PanelModel;
  trans: TranslationBundle;
}

/** Every registered data set: what it is, where it is, and a button that fetches it. */
export function DataSetList({ answer, model, trans }: DataSetListProps): JSX.Element {
  return (
    <>
      {answer.offline && (
        <p className="pml-Panel-note">
          {trans.__(
            'PM_LAB_OFFLINE is set: nothing is fetched. Files of a mirror folder are found.'
          )}
        </p>
      )}
      <ul className="pml-List">
        {answer.data_sets.map(set => (
          <li key={set.name}>
            <Row set={set} model={model} trans={trans} offline={answer.offline} />
          </li>
        ))}
      </ul>
    </>
  );
}

interface RowProps {
  set: DataSet;
  offline: boolean;
  model: PanelModel;
  trans: TranslationBundle;
}

function Row({ set, offline, model, trans }: RowProps): JSX.Element {
  const running = set.fetch?.state === 'running';
  const parts = [
    set.n_obs !== null && set.n_vars !== null ? `${count(set.n_obs)} × ${count(set.n_vars)}` : '',
    set.size_mb > 0 ? size(set.size_mb * 1e6) : '',
    set.licence
  ];
  return (
    <div className="pml-DataSet">
      <div className="pml-DataSet-head">
        <code className="pml-DataSet-name">{set.name}</code>
        <span className="pml-Place" data-place={set.where}>
          {placeName(set.where, trans)}
        </span>
        {set.where === 'to fetch' && !running && !offline && (
          <button
            className="jp-mod-styled pml-Button"
            aria-label={trans.__('Fetch %1', set.name)}
            onClick={() => void model.fetch([set.name])}
          >
            {trans.__('Fetch')}
          </button>
        )}
      </div>
      <p title={set.citation}>{set.what}</p>
      <p className="pml-Item-needs">{parts.filter(Boolean).join(' · ')}</p>
      <FetchProgress set={set} model={model} trans={trans} />
      <p role="status" className="pml-DataSet-said">
        {set.fetch?.state === 'cancelled' && set.where === 'to fetch' && trans.__('Stopped.')}
        {set.fetch?.state === 'done' && trans.__('Fetched and verified.')}
      </p>
      {set.fetch?.error && (
        <p role="alert" className="pml-Missing-error">
          {set.fetch.error.what} {set.fetch.error.mend}
        </p>
      )}
    </div>
  );
}

function placeName(place: Place, trans: TranslationBundle): string {
  const names: Record<Place, string> = {
    bundled: trans.__('bundled'),
    cached: trans.__('cached'),
    mirror: trans.__('in the mirror'),
    'to fetch': trans.__('to fetch')
  };
  return names[place];
}
