import { showErrorMessage } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import React, { useEffect, useRef, useState } from 'react';

import { ChosenEmbedding, embeddingOf } from '../viewer/choices';
import { ViewerModel, useModel } from '../viewer/model';
import { axisName } from './axes';
import { legendRows } from './colouring';
import { savePng, saveSvg } from './download';
import { Mode } from './gestures';
import { Legend } from './legend';
import { LIGHT } from './palette';
import {
  MOST_SHAPES,
  PictureLegend,
  categoryLegend,
  drawnLine,
  embeddingPicture,
  numberLegend
} from './picture';
import { Plot } from './plot';
import { PaintedBy, PointPlot } from './point_plot';
import { Point, rectangle, simplified } from './polygon';
import { Lasso, RectangleForm, Selection } from './selection';
import { label, paintedText, pointsText, valueName } from './status';
import { Choices, Tools } from './toolbar';
import { Answer } from './use_answer';
import {
  Colours,
  Mask,
  Points,
  paletteFor,
  useColours,
  useMask,
  usePalette,
  usePoints,
  useSlots
} from './use_embedding';
import { useGreys } from './use_greys';
import { Limits } from './view';
import { Waiting } from './waiting';

/** Points of one embedding, coloured by a column or a gene. */
export function EmbeddingTab({ model }: { model: ViewerModel }) {
  useModel(model);
  const chosen = embeddingOf(model.state.values, model.structure);
  if (!chosen) {
    return (
      <p className="pml-Empty">
        {model.trans.__(
          'This file has no embedding: no entry of obsm with two columns of numbers or more.'
        )}
      </p>
    );
  }
  return <Embedding model={model} chosen={chosen} />;
}

export default EmbeddingTab;

function Embedding({ model, chosen }: { model: ViewerModel; chosen: ChosenEmbedding }) {
  const { entry: embedding, x, y } = chosen;
  const { colour } = model;
  const points = usePoints(model, embedding.name, x, y);
  const colours = useColours(model, colour);
  const mask = useMask(model);
  const { emphasised, emphasise } = useEmphasis(colours.value);
  const greys = useGreys();
  const slots = useSlots(points.value, colours.value, mask.value, emphasised);
  const palette = usePalette(colours.value, emphasised, greys);
  const [mode, setMode] = useState<Mode>('move');
  const [by, setBy] = useState<PaintedBy | null>(null);
  const plot = useRef<PointPlot | null>(null);
  const { lasso, outlined, select, clear } = useLasso(model, embedding.name, x, y);
  const names: [string, string] = [axisName(embedding.name, x), axisName(embedding.name, y)];
  const save = (format: 'png' | 'svg') => {
    const shown = { points, colours, mask, emphasised, names };
    savePicture(format, model, plot.current!, shown).catch(error =>
      showErrorMessage(model.trans.__('No picture was saved'), String(error))
    );
  };
  return (
    <div className="pml-Embedding">
      <div className="pml-Embedding-top">
        <Choices
          model={model}
          chosen={chosen}
          colour={colour}
          onColour={value =>
            model.state.set({ colour: value ?? { kind: 'obs', name: '', layer: null } })
          }
        />
        <Tools model={model} mode={mode} onMode={setMode} plot={plot} onSave={save} />
      </div>
      <Waiting model={model} answers={[points, colours, mask]} />
      <div className="pml-Embedding-main">
        <Plot
          xy={points.value?.xy ?? null}
          slots={slots}
          palette={palette}
          greys={greys}
          mode={mode}
          painting={model.settings.painting ?? 'auto'}
          axisNames={names}
          label={label(model, names, points.value, colours.value)}
          polygon={outlined?.polygon ?? null}
          onLasso={select}
          onPaintedBy={setBy}
          plot={plot}
        />
        <aside className="pml-Embedding-side" aria-label={model.trans.__('Legend and selection')}>
          {lasso && <Selection model={model} lasso={lasso} onClear={clear} />}
          {colours.value && (
            <Legend
              model={model}
              of={colours.value.of}
              meta={colours.value.meta}
              greys={greys}
              emphasised={emphasised}
              onEmphasis={emphasise}
            />
          )}
          <RectangleForm
            model={model}
            seen={() => plot.current!.limits}
            onSelect={({ x0, x1, y0, y1 }: Limits) => select(rectangle(x0, x1, y0, y1), 0)}
          />
        </aside>
      </div>
      <p className="pml-PlotStatus" role="status">
        {points.value && pointsText(model, points.value, mask.value)} {by && paintedText(model, by)}
      </p>
    </div>
  );
}

/** The category that is seen alone. It is one of the colours it was chosen in: others have other categories. */
function useEmphasis(colours: Colours | null) {
  const [chosen, setChosen] = useState<{ of: Colours; category: number } | null>(null);
  const emphasised = colours && chosen?.of === colours ? chosen.category : null;
  const emphasise = (category: number | null) =>
    setChosen(colours && category !== null ? { of: colours, category } : null);
  return { emphasised, emphasise };
}

/** The lasso that is drawn on this embedding, as the filter that it would be; before one is drawn, the filter. */
function useLasso(model: ViewerModel, key: string, x: number, y: number) {
  const [lasso, setLasso] = useState<Lasso | null>(null);
  useEffect(() => setLasso(null), [model.etag, key, x, y]);
  const select = (polygon: Point[], tolerance: number) =>
    setLasso({ kind: 'lasso', key, x, y, polygon: simplified(polygon, tolerance) });
  const inForce = model
    .filters('obs')
    .find(one => one.kind === 'lasso' && one.key === key && one.x === x && one.y === y);
  const outlined = lasso ?? (inForce as Lasso | undefined) ?? null;
  return { lasso, outlined, select, clear: () => setLasso(null) };
}

interface Shown {
  points: Answer<Points>;
  colours: Answer<Colours>;
  mask: Answer<Mask>;
  emphasised: number | null;
  names: [string, string];
}

async function savePicture(
  format: 'png' | 'svg',
  model: ViewerModel,
  plot: PointPlot,
  shown: Shown
): Promise<void> {
  const { points, colours, mask, emphasised, names } = shown;
  if (!points.value) {
    return;
  }
  const least = model.settings.smallCountThreshold;
  const palette = paletteFor(colours.value, emphasised, LIGHT);
  const shapes = plot.shapes(MOST_SHAPES);
  const image = shapes ? '' : plot.image(palette, LIGHT.background, 2);
  const { n_total: total, sampled } = points.value.meta;
  const drawn = { drawn: points.value.drawn, total, sampled };
  const what = colours.value ? valueName(colours.value.of) : '';
  const picture = embeddingPicture({
    title: [model.structure.name, names.join(' × '), what].filter(Boolean).join(' · '),
    lines: [drawnLine(drawn, mask.value?.n_matching ?? null, least, model.trans)],
    view: plot.view,
    axisNames: names,
    points: { shapes, image, palette, size: plot.pointSize() },
    legend: legend(colours.value, what, least, emphasised, model.trans)
  });
  const name = [model.structure.name, ...names, what].filter(Boolean).join('_');
  if (format === 'svg') {
    saveSvg(picture, name);
  } else {
    await savePng(picture, name, model.trans);
  }
}

function legend(
  colours: Colours | null,
  title: string,
  least: number,
  emphasised: number | null,
  trans: TranslationBundle
): PictureLegend {
  if (!colours) {
    return { elements: [], height: 0 };
  }
  const { meta } = colours;
  return meta.kind === 'number'
    ? numberLegend(title, meta, least, trans)
    : categoryLegend(title, legendRows(meta, LIGHT, trans.__('missing')), least, emphasised, trans);
}
