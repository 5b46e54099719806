import React, { useEffect, useRef } from 'react';

import { Boundary } from './boundary';
import { FilterBar } from './filter_bar';
import { ViewerModel, useModel } from './model';
import { Overview } from './overview';
import { Problem } from './problem';
import { Shown } from './shown';
import { TABS, TabName } from './state';
import { AxisTable } from './table';

const EmbeddingTab = React.lazy(async () => ({
  default: (await import('../embedding/embedding_tab')).EmbeddingTab
}));
const DistributionTab = React.lazy(async () => ({
  default: (await import('../distribution/distribution_tab')).DistributionTab
}));

/** One open file: its tabs, the filters that they share, and what is wrong with it. */
export default function Viewer({ model }: { model: ViewerModel }): JSX.Element {
  useModel(model);
  return model.opened ? <Opened model={model} /> : <NotOpened model={model} />;
}

function NotOpened({ model }: { model: ViewerModel }): JSX.Element {
  const { status, trans } = model;
  const again = () => void model.open();
  switch (status.kind) {
    case 'failed':
      return <Problem error={status.error} trans={trans} onRetry={again} />;
    case 'cancelled':
      return (
        <div className="pml-Waiting">
          <p>{trans.__('Opening was cancelled.')}</p>
          <button className="jp-mod-styled pml-Button" onClick={again}>
            {trans.__('Open it')}
          </button>
        </div>
      );
    default:
      return <Opening model={model} />;
  }
}

function Opening({ model }: { model: ViewerModel }): JSX.Element {
  const { status, trans } = model;
  const { done, what } = status.kind === 'opening' ? status : { done: null, what: '' };
  return (
    <div className="pml-Waiting pml-Opening" role="status">
      <label>
        {trans.__('Opening %1 …', model.path)} {what}
        <progress value={done ?? undefined} max={1} />
      </label>
      <button className="jp-mod-styled pml-Button" onClick={() => model.cancel()}>
        {trans.__('Cancel')}
      </button>
    </div>
  );
}

function Opened({ model }: { model: ViewerModel }): JSX.Element {
  const { trans, status } = model;
  const { tab } = model.state.values;
  return (
    <div className="pml-Viewer">
      <Tabs model={model} />
      <FilterBar model={model} />
      {status.kind === 'lost' && (
        <Problem
          error={status.error}
          trans={trans}
          onRetry={() => void model.open()}
          more={trans.__('What was read before is still shown.')}
        />
      )}
      <Panels model={model} tab={tab} />
    </div>
  );
}

/** The tables and the embedding are costly to build and keep their place: they stay once they were shown. */
function Panels({ model, tab }: { model: ViewerModel; tab: TabName }): JSX.Element {
  const visited = useRef(new Set<TabName>());
  visited.current.add(tab);
  const stays = (name: TabName) => name !== 'overview' && name !== 'distribution';
  const waiting = <div className="pml-Waiting">{model.trans.__('Loading …')}</div>;
  return (
    <>
      {TABS.filter(name => name === tab || (visited.current.has(name) && stays(name))).map(name => (
        <div
          key={name}
          className="pml-TabPanel"
          role="tabpanel"
          id={panelId(model, name)}
          aria-labelledby={tabId(model, name)}
          hidden={name !== tab}
        >
          <Boundary trans={model.trans}>
            <React.Suspense fallback={waiting}>
              <Shown.Provider value={name === tab}>
                <Panel name={name} model={model} />
              </Shown.Provider>
            </React.Suspense>
          </Boundary>
        </div>
      ))}
    </>
  );
}

function Panel({ name, model }: { name: TabName; model: ViewerModel }): JSX.Element {
  switch (name) {
    case 'overview':
      return <Overview model={model} />;
    case 'obs':
    case 'var':
      return <AxisTable model={model} axis={name} />;
    case 'embedding':
      return <EmbeddingTab model={model} />;
    case 'distribution':
      return <DistributionTab model={model} />;
  }
}

function Tabs({ model }: { model: ViewerModel }): JSX.Element {
  const { trans, state } = model;
  const list = useRef<HTMLDivElement>(null);
  const moved = useRef(false);
  const labels: Record<TabName, string> = {
    overview: trans.__('Overview'),
    obs: trans.__('Observations'),
    var: trans.__('Variables'),
    embedding: trans.__('Embedding'),
    distribution: trans.__('Distribution')
  };
  const { tab } = state.values;
  useEffect(() => {
    if (moved.current) {
      moved.current = false;
      list.current?.querySelector<HTMLElement>('[aria-selected="true"]')?.focus();
    }
  }, [tab]);
  const onKeyDown = (event: React.KeyboardEvent) => {
    const next = nextTab(tab, event.key);
    if (next) {
      event.preventDefault();
      moved.current = true;
      state.set({ tab: next });
    }
  };
  return (
    <div
      className="pml-Tabs"
      role="tablist"
      aria-label={trans.__('Views of %1', model.structure.name)}
      ref={list}
      onKeyDown={onKeyDown}
    >
      {TABS.map(name => (
        <button
          key={name}
          className="pml-Tab"
          role="tab"
          id={tabId(model, name)}
          aria-selected={name === tab}
          aria-controls={name === tab ? panelId(model, name) : undefined}
          tabIndex={name === tab ? 0 : -1}
          onClick={() => state.set({ tab: name })}
        >
          {labels[name]}
        </button>
      ))}
    </div>
  );
}

/** The tab that a key moves to, in a ring; null for keys that do not move. */
export function nextTab(tab: TabName, key: string): TabName | null {
  const at = TABS.indexOf(tab);
  switch (key) {
    case 'ArrowRight':
      return TABS[(at + 1) % TABS.length];
    case 'ArrowLeft':
      return TABS[(at + TABS.length - 1) % TABS.length];
    case 'Home':
      return TABS[0];
    case 'End':
      return TABS[TABS.length - 1];
    default:
      return null;
  }
}

function tabId(model: ViewerModel, name: TabName): string {
  return `pml-${model.id}-tab-${name}`;
}

function panelId(model: ViewerModel, name: TabName): string {
  return `pml-${model.id}-panel-${name}`;
}
