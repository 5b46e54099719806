import { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { RequestError } from '../api';

interface ProblemProps {
  error: RequestError;
  trans: TranslationBundle;
  onRetry: () => void;
  more?: string;
  children?: React.ReactNode;
}

/** What is wrong, where, and how to mend it, with a button that tries again. */
export function Problem({ error, trans, onRetry, more, children }: ProblemProps): JSX.Element {
  return (
    <div className="pml-Problem" role="alert">
      <p className="pml-Problem-what">{error.what}</p>
      {error.where && (
        <p>
          {trans.__('Where:')} <code>{error.where}</code>
        </p>
      )}
      {error.mend && <p>{error.mend}</p>}
      {more && <p>{more}</p>}
      <div className="pml-Row">
        <button className="jp-mod-styled pml-Button" onClick={onRetry}>
          {trans.__('Retry')}
        </button>
        {children}
      </div>
    </div>
  );
}
