import React, { useEffect, useRef, useState } from 'react';

import { MARGINS, axes } from './axes';
import { Mode, listen } from './gestures';
import { Greys } from './palette';
import { PaintedBy, Painting, PointPlot } from './point_plot';
import { Point } from './polygon';
import { toReact } from './svg';
import { View, toPixel, toValue } from './view';

interface Properties {
  xy: Float32Array | null;
  slots: Uint8Array | null;
  palette: Uint8Array;
  greys: Greys;
  mode: Mode;
  painting: Painting;
  axisNames: [string, string];
  /** What the picture shows, for who does not see it. */
  label: string;
  /** The lasso that is chosen, in values. */
  polygon: Point[] | null;
  onLasso: (polygon: Point[], tolerance: number) => void;
  onPaintedBy: (by: PaintedBy) => void;
  plot: React.MutableRefObject<PointPlot | null>;
}

/** The points, their axes and the lasso. */
export function Plot(properties: Properties) {
  const { xy, slots, palette, greys, mode, painting, axisNames, label, polygon, plot } = properties;
  const host = useRef<HTMLDivElement>(null);
  const present = useRef(properties);
  present.current = properties;
  const [view, setView] = useState<View | null>(null);
  const [trail, setTrail] = useState<Point[] | null>(null);

  useEffect(() => {
    const own = new PointPlot(host.current!, present.current.painting, {
      onView: setView,
      onPaintedBy: by => present.current.onPaintedBy(by)
    });
    plot.current = own;
    const off = listen(host.current!, own, {
      mode: () => present.current.mode,
      onTrail: setTrail,
      onLasso: pixels => {
        const corners = pixels.map(([px, py]) => toValue(own.view, px, py));
        present.current.onLasso(corners, 0.7 / Math.max(own.view.kx, own.view.ky));
      }
    });
    return () => {
      off();
      own.dispose();
      plot.current = null;
    };
  }, []);
  useEffect(() => plot.current?.setPainting(painting), [painting]);
  useEffect(() => {
    if (xy) {
      plot.current?.setPoints(xy);
    }
  }, [xy]);
  useEffect(() => {
    if (slots) {
      plot.current?.setColours(slots, palette, greys.background);
    }
  }, [xy, slots, palette, greys]);

  const { left, top, right, bottom } = MARGINS;
  return (
    <div className="pml-Plot" style={{ background: greys.background }}>
      <div
        ref={host}
        className={`pml-Points pml-mod-${mode}`}
        style={{ left, top, right, bottom }}
        role="img"
        tabIndex={0}
        aria-label={label}
      />
      {view && view.width > 0 && (
        <svg className="pml-Over" aria-hidden="true">
          {axes(view, axisNames, greys).map(toReact)}
          {polygon &&
            outline(
              polygon.map(([x, y]) => toPixel(view, x, y)),
              'chosen'
            )}
          {trail && outline(trail, 'drawn')}
        </svg>
      )}
    </div>
  );
}

function outline(corners: Point[], state: 'chosen' | 'drawn') {
  const { left, top } = MARGINS;
  return (
    <path
      className={`pml-Lasso pml-mod-${state}`}
      d={`M${corners.map(([x, y]) => `${(x + left).toFixed(1)} ${(y + top).toFixed(1)}`).join('L')}Z`}
    />
  );
}
