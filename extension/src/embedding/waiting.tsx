import React from 'react';

import { ViewerModel } from '../viewer/model';
import { Problem } from '../viewer/problem';
import { Answer } from './use_answer';

/** What is awaited, with its progress and a way to give it up, and what failed. */
export function Waiting({ model, answers }: { model: ViewerModel; answers: Answer<unknown>[] }) {
  const trans = model.trans;
  const busy = answers.find(answer => answer.busy);
  const failed = answers.filter(answer => answer.error);
  const cancelled = answers.find(answer => answer.cancelled);
  return (
    <>
      {busy && (
        <div className="pml-Reading">
          <progress aria-label={trans.__('Reading')} value={busy.progress?.done} max={1} />
          <span>{busy.progress?.what || trans.__('Reading …')}</span>
          <button type="button" className="jp-mod-styled pml-Button" onClick={busy.cancel}>
            {trans.__('Cancel')}
          </button>
        </div>
      )}
      {cancelled && !busy && (
        <div className="pml-Reading">
          <span>{trans.__('Cancelled.')}</span>
          <button type="button" className="jp-mod-styled pml-Button" onClick={cancelled.again}>
            {trans.__('Read again')}
          </button>
        </div>
      )}
      {failed.map((answer, i) => (
        <Problem key={i} error={answer.error!} onRetry={answer.again} trans={trans} />
      ))}
    </>
  );
}
