import { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { size } from '../viewer/format';
import { DataSet } from './answers';
import { PanelModel } from './model';
import { shareOf } from './words';

interface FetchProgressProps {
  set: DataSet;
  model: PanelModel;
  trans: TranslationBundle;
}

/** How far a data set is, and a button that stops it. */
export function FetchProgress({ set, model, trans }: FetchProgressProps): JSX.Element | null {
  const { name, fetch } = set;
  if (!fetch || fetch.state !== 'running') {
    return null;
  }
  const share = shareOf(fetch);
  return (
    <div className="pml-Fetch">
      <progress
        aria-label={trans.__('Fetching %1', name)}
        max={1}
        {...(share === null ? {} : { value: share })}
      />
      <span className="pml-Fetch-bytes">
        {trans.__('%1 of %2', size(Math.max(0, fetch.done_bytes)), size(fetch.total_bytes))}
      </span>
      <button
        className="jp-mod-styled pml-Button"
        aria-label={trans.__('Stop fetching %1', name)}
        onClick={() => void model.cancel(name)}
      >
        {trans.__('Cancel')}
      </button>
    </div>
  );
}
