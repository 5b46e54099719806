import { TranslationBundle } from '@jupyterlab/translation';
import React, { useState } from 'react';

import { size } from '../viewer/format';
import { CourseNotebook } from './answers';
import { FetchProgress } from './fetch_progress';
import { PanelModel } from './model';
import { fetchable, needsOf, numberOf, shortTitle } from './words';

interface CourseProps {
  notebooks: CourseNotebook[];
  model: PanelModel;
  trans: TranslationBundle;
  openNotebook: (name: string) => Promise<unknown>;
}

/** One line a notebook; it opens as a working copy in the folder that the file browser shows. */
export function Course({ notebooks, ...rest }: CourseProps): JSX.Element {
  return (
    <ul className="pml-List">
      {notebooks.map(notebook => (
        <li key={notebook.name}>
          <Notebook notebook={notebook} {...rest} />
        </li>
      ))}
    </ul>
  );
}

interface NotebookProps extends Omit<CourseProps, 'notebooks'> {
  notebook: CourseNotebook;
}

function Notebook({ notebook, model, trans, openNotebook }: NotebookProps): JSX.Element {
  const [opening, setOpening] = useState(false);
  const open = async () => {
    setOpening(true);
    try {
      await openNotebook(notebook.name);
    } finally {
      setOpening(false);
    }
  };
  const number = numberOf(notebook);
  return (
    <>
      <button
        className="pml-Item"
        disabled={opening}
        onClick={() => void open()}
        title={`${notebook.question}\n${needsOf(notebook)}\n${trans.__(
          'Opens a working copy in the present folder.'
        )}`}
      >
        <span className="pml-Item-title">
          {number && <span className="pml-Item-number">{number}</span>}
          {shortTitle(notebook)}
        </span>
        <span className="pml-Item-question">{notebook.question}</span>
        <span className="pml-Item-needs">{needsOf(notebook)}</span>
      </button>
      <Missing notebook={notebook} model={model} trans={trans} />
    </>
  );
}

/** The data sets that a notebook needs and this machine lacks, with a button that fetches them. */
function Missing({
  notebook,
  model,
  trans
}: Pick<NotebookProps, 'notebook' | 'model' | 'trans'>): JSX.Element | null {
  const absent = fetchable(notebook, model.sets);
  if (absent.length === 0) {
    return null;
  }
  const running = absent.filter(set => set.fetch?.state === 'running');
  const waiting = absent.filter(set => set.fetch?.state !== 'running');
  const bytes = waiting.reduce((sum, set) => sum + set.size_mb * 1e6, 0);
  return (
    <div className="pml-Missing">
      <p>{trans.__('Not on this machine yet: %1', absent.map(set => set.name).join(', '))}</p>
      {running.map(set => (
        <FetchProgress key={set.name} set={set} model={model} trans={trans} />
      ))}
      {waiting.length > 0 && (
        <button
          className="jp-mod-styled pml-Button"
          aria-label={trans.__('Fetch the data of %1', shortTitle(notebook))}
          onClick={() => void model.fetch(waiting.map(set => set.name))}
        >
          {trans.__('Fetch %1', size(bytes))}
        </button>
      )}
      {waiting.map(({ name, fetch }) =>
        fetch?.error ? (
          <p key={name} role="alert" className="pml-Missing-error">
            {fetch.error.what} {fetch.error.mend}
          </p>
        ) : null
      )}
    </div>
  );
}
