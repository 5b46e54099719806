import { showErrorMessage } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import React, { useEffect, useRef, useState } from 'react';

import { savePng, saveSvg } from '../embedding/download';
import { valueName } from '../embedding/status';
import { toReact } from '../embedding/svg';
import { Answer, useAnswer } from '../embedding/use_answer';
import { valueQuery } from '../embedding/use_embedding';
import { useGreys } from '../embedding/use_greys';
import { ValueChoice } from '../embedding/value_choice';
import { Waiting } from '../embedding/waiting';
import { sharedPart } from '../embedding/counts';
import { plottable, usualColumn } from '../viewer/choices';
import { count } from '../viewer/format';
import { ViewerModel, useModel } from '../viewer/model';
import { DistributionState } from '../viewer/state';
import { Distribution } from './answer';
import { PlotKind, chart, chartHeight, distributionPicture, explained } from './chart';
import { Key, Numbers } from './numbers';

const MOST_WIDTH = 1100;
const LEAST_WIDTH = 420;
const PICTURE_WIDTH = 900;
const MOST_NAMED = 5;

/** A column or a gene, by the groups of a column. */
export function DistributionTab({ model }: { model: ViewerModel }) {
  useModel(model);
  const state = useChoice(model);
  const filters = model.filters('obs');
  const { value, by } = state;
  const key = value ? JSON.stringify([model.etag, value, by, filters]) : null;
  const answer = useAnswer<Distribution>(key, (signal, onProgress) =>
    model.withProgress(task => {
      const query = { ...valueQuery(value!), by, filters, task };
      return model.request<Distribution>('anndata/distribution', query, { signal });
    }, onProgress)
  );
  const found = answer.value;
  const plot: PlotKind = found?.kind === 'category' ? 'bar' : state.plot;
  return (
    <div className="pml-Distribution">
      <Choices model={model} state={state} answer={found} plot={plot} />
      <Waiting model={model} answers={[answer as Answer<unknown>]} />
      {!value && <p className="pml-Empty">{model.trans.__('Choose a column or a gene.')}</p>}
      {value && found && (
        <Shown model={model} answer={found} plot={plot} title={valueName(value)} />
      )}
    </div>
  );
}

export default DistributionTab;

/** What is chosen; before that the first numbers of the file, by its usual groups. */
function useChoice(model: ViewerModel): DistributionState {
  const state = model.state.values.distribution;
  if (state.value) {
    return state;
  }
  const columns = plottable(model.structure);
  const first = columns.find(({ type }) => type === 'number' || type === 'integer');
  const usual = usualColumn(model.structure, model.settings.defaultColour);
  return {
    ...state,
    value: first ? { kind: 'obs', name: first.name, layer: null } : null,
    by: state.by || usual || ''
  };
}

interface ChoicesProperties {
  model: ViewerModel;
  state: DistributionState;
  answer: Distribution | null;
  plot: PlotKind;
}

function Choices({ model, state, answer, plot }: ChoicesProperties) {
  const trans = model.trans;
  const set = (change: Partial<DistributionState>) =>
    model.state.set({ distribution: { ...state, ...change } });
  const groups = plottable(model.structure).filter(({ type }) => type !== 'number');
  const kinds: [PlotKind, string][] =
    answer?.kind === 'category'
      ? [['bar', trans.__('bars of shares')]]
      : [
          ['violin', trans.__('violins')],
          ['box', trans.__('boxes')],
          ['bar', trans.__('bars of means')]
        ];
  const save = (format: 'png' | 'svg') =>
    savePicture(model, answer!, plot, format).catch(error =>
      showErrorMessage(trans.__('No picture was saved'), String(error))
    );
  return (
    <div className="pml-Embedding-top">
      <div className="pml-Choices">
        <ValueChoice
          model={model}
          label={trans.__('Values')}
          value={state.value}
          columns={plottable(model.structure)}
          nothing={trans.__('choose …')}
          onChange={value => set({ value })}
        />
        <label className="pml-Field">
          <span>{trans.__('By')}</span>
          <select
            className="jp-mod-styled"
            value={state.by}
            onChange={event => set({ by: event.target.value })}
          >
            <option value="">{trans.__('all cells together')}</option>
            {groups.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label className="pml-Field">
          <span>{trans.__('As')}</span>
          <select
            className="jp-mod-styled"
            value={plot}
            onChange={event => set({ plot: event.target.value as PlotKind })}
          >
            {kinds.map(([kind, name]) => (
              <option key={kind} value={kind}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
      <div className="pml-Tools" role="group" aria-label={trans.__('Save')}>
        {(['png', 'svg'] as const).map(format => (
          <button
            key={format}
            type="button"
            className="jp-mod-styled pml-Button"
            disabled={!answer}
            aria-label={trans.__('Save as %1', format.toUpperCase())}
            onClick={() => void save(format)}
          >
            {format.toUpperCase()}
          </button>
        ))}
      </div>
    </div>
  );
}

interface ShownProperties {
  model: ViewerModel;
  answer: Distribution;
  plot: PlotKind;
  title: string;
}

function Shown({ model, answer, plot, title }: ShownProperties) {
  const trans = model.trans;
  const greys = useGreys();
  const host = useRef<HTMLDivElement>(null);
  const width = useWidth(host);
  const all = answer.groups.reduce((sum, { n }) => sum + n, 0);
  const label = answer.by
    ? trans.__('%1 by %2: %3 groups.', title, answer.by, answer.groups.length)
    : title;
  const elements = chart({ answer, plot, width, greys, least: 0, trans });
  return (
    <>
      <div ref={host} className="pml-Chart" style={{ background: greys.background }}>
        <svg
          role="img"
          aria-label={trans.__('%1 The table below has the numbers.', label)}
          width={width}
          height={chartHeight(answer)}
        >
          {elements.map(toReact)}
        </svg>
      </div>
      {answer.kind === 'category' && <Key model={model} answer={answer} />}
      <p className="pml-Note">
        {trans._n('%2 cell with a value.', '%2 cells with a value.', all, count(all))}{' '}
        {explained(answer, plot, trans)}
      </p>
      <LeftOut model={model} answer={answer} />
      <Numbers model={model} answer={answer} />
    </>
  );
}

/** Groups and rows that are not in the chart. */
function LeftOut({ model, answer }: { model: ViewerModel; answer: Distribution }) {
  const trans = model.trans;
  const { left_out, n_left_out, n_without_group } = answer;
  const named = left_out.slice(0, MOST_NAMED).map(({ name, n }) => `${name} (${count(n)})`);
  const list = named.join(', ') + (n_left_out > named.length ? ', …' : '');
  return (
    <>
      {n_left_out > 0 && (
        <p className="pml-Note">
          {trans._n(
            'One smaller group is left out: ',
            '%1 smaller groups are left out: ',
            n_left_out
          )}
          {list}
        </p>
      )}
      {n_without_group > 0 && (
        <p className="pml-Note">
          {trans.__('%1 cells have no value in %2.', count(n_without_group), answer.by)}
        </p>
      )}
    </>
  );
}

/** The width of the page that the chart may take. */
function useWidth(host: React.RefObject<HTMLDivElement>): number {
  const [width, setWidth] = useState(800);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      if (entry.contentRect.width > 0) {
        setWidth(Math.max(LEAST_WIDTH, Math.min(MOST_WIDTH, Math.floor(entry.contentRect.width))));
      }
    });
    watch.observe(host.current!);
    return () => watch.disconnect();
  }, [host]);
  return width;
}

async function savePicture(
  model: ViewerModel,
  answer: Distribution,
  plot: PlotKind,
  format: 'png' | 'svg'
): Promise<void> {
  const least = model.settings.smallCountThreshold;
  const { trans } = model;
  const what = answer.by ? trans.__('%1 by %2', answer.name, answer.by) : answer.name;
  const title = `${model.structure.name} · ${what}`;
  const all = answer.groups.reduce((sum, { n }) => sum + n, 0);
  const cells = trans.__('%1 cells', sharedPart(all, model.structure.n_obs, least, trans));
  const left = answer.n_left_out
    ? '; ' + trans.__('%1 smaller groups are left out', count(answer.n_left_out))
    : '';
  const small = least ? ' ' + hiddenText(answer, least, trans) : '';
  const lines = [cells + left, explained(answer, plot, trans) + small];
  const options = { answer, plot, width: PICTURE_WIDTH, least, trans };
  const picture = distributionPicture(title, lines, options);
  const name = [model.structure.name, answer.name, answer.by, plot].filter(Boolean).join('_');
  await (format === 'svg' ? saveSvg(picture, name) : savePng(picture, name, trans));
}

/** What a picture that leaves the page does not show. */
function hiddenText(answer: Distribution, least: number, trans: TranslationBundle): string {
  return answer.kind === 'category'
    ? trans.__(
        'Groups and parts of fewer than %1 cells are not drawn; parts are rounded to whole percents.',
        least
      )
    : trans.__('Groups of fewer than %1 cells are not drawn.', least);
}
