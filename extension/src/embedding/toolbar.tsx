import React from 'react';

import { ChosenEmbedding, embeddingsOf, plottable } from '../viewer/choices';
import { ViewerModel } from '../viewer/model';
import { Value } from '../viewer/state';
import { Mode } from './gestures';
import { PointPlot } from './point_plot';
import { ValueChoice } from './value_choice';

const MOST_AXES = 200;

interface Properties {
  model: ViewerModel;
  chosen: ChosenEmbedding;
  colour: Value | null;
  onColour: (colour: Value | null) => void;
}

/** Which embedding, which of its columns, and what colours it. */
export function Choices({ model, chosen, colour, onColour }: Properties) {
  const trans = model.trans;
  const { entry: embedding, x, y } = chosen;
  const n = Math.min(embedding.shape?.[1] ?? 2, MOST_AXES);
  const columns = Array.from({ length: n }, (_, i) => i);
  const axis = (label: string, value: number, set: (value: number) => void) => (
    <label className="pml-Field">
      <span>{label}</span>
      <select
        className="jp-mod-styled"
        value={value}
        onChange={event => set(Number(event.target.value))}
      >
        {columns.map(i => (
          <option key={i} value={i}>
            {i + 1}
          </option>
        ))}
      </select>
    </label>
  );
  const set = (change: Partial<{ key: string; x: number; y: number }>) =>
    model.state.set({
      embedding: { key: embedding.name, x, y, ...change }
    });
  return (
    <div className="pml-Choices">
      <label className="pml-Field">
        <span>{trans.__('Embedding')}</span>
        <select
          className="jp-mod-styled"
          value={embedding.name}
          onChange={event => set({ key: event.target.value, x: 0, y: 1 })}
        >
          {embeddingsOf(model.structure).map(({ name, shape }) => (
            <option key={name} value={name}>
              {`${name} (${shape?.[1] ?? '?'})`}
            </option>
          ))}
        </select>
      </label>
      {n > 2 && axis(trans.__('across'), x, value => set({ x: value }))}
      {n > 2 && axis(trans.__('up'), y, value => set({ y: value }))}
      <ValueChoice
        model={model}
        label={trans.__('Colour')}
        value={colour}
        columns={plottable(model.structure)}
        nothing={trans.__('nothing')}
        onChange={onColour}
      />
    </div>
  );
}

/** Move or lasso, zoom, and save as a picture. */
export function Tools({
  model,
  mode,
  onMode,
  plot,
  onSave
}: {
  model: ViewerModel;
  mode: Mode;
  onMode: (mode: Mode) => void;
  plot: React.MutableRefObject<PointPlot | null>;
  onSave: (format: 'png' | 'svg') => void;
}) {
  const trans = model.trans;
  const button = (text: string, label: string, act: () => void, pressed?: boolean) => (
    <button
      type="button"
      className="jp-mod-styled pml-Button"
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      onClick={act}
    >
      {text}
    </button>
  );
  return (
    <div className="pml-Tools" role="group" aria-label={trans.__('Plot')}>
      <span className="pml-ButtonGroup">
        {button(
          trans.__('Move'),
          trans.__('Move: dragging moves the plot'),
          () => onMode('move'),
          mode === 'move'
        )}
        {button(
          trans.__('Lasso'),
          trans.__('Lasso: dragging selects cells'),
          () => onMode('lasso'),
          mode === 'lasso'
        )}
      </span>
      <span className="pml-ButtonGroup">
        {button('+', trans.__('Zoom in'), () => plot.current?.zoom(1.4))}
        {button('−', trans.__('Zoom out'), () => plot.current?.zoom(1 / 1.4))}
        {button(trans.__('All'), trans.__('Show all points'), () => plot.current?.reset())}
      </span>
      <span className="pml-ButtonGroup">
        {button('PNG', trans.__('Save as PNG'), () => onSave('png'))}
        {button('SVG', trans.__('Save as SVG'), () => onSave('svg'))}
      </span>
    </div>
  );
}
