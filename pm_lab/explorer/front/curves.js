// Curves with numbers at risk, intervals, distributions by group, positions within the cohort, events in time.

const colour = (i) => `var(--pm-c${i % 8})`;
const dash = (i) => [null, "7 3", "2 3", "9 3 2 3"][i % 4]; // lines differ without their colours too

FIGURES.curves = function curves(view, spec) {
  const rows = spec.at_risk?.rows ?? [];
  const [left, top, plot] = [rows.length ? 58 : 52, 8, spec.height ?? 230];
  const right = view.width - 14;
  const base = top + plot;
  const height = base + 40 + (rows.length ? 18 + 16 * rows.length : 0);
  const x = scale(0, spec.x_max || 1, left, right);
  const y = scale(0, spec.y_max ?? 1, base, top);
  const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const steps = (times, values) => {
    const points = [];
    for (let i = 0; i < times.length; i++) {
      if (Number.isNaN(values[i])) continue;
      if (points.length) points.push([times[i], points[points.length - 1][1]]);
      points.push([times[i], values[i]]);
    }
    return points;
  };
  const band = ({ time, lower, upper }) => {
    if (!lower) return null;
    const [down, up] = [steps(time, lower), steps(time, upper)];
    return up.length ? path([...up, ...down.reverse()]) + "Z" : null;
  };
  const label = (i) => spec.series[i].colour ?? i;
  const drawing = picture(
    view.width, height, `${spec.title}. ${spec.summary}`,
    ...upright(y, 0, spec.y_max ?? 1, left, right, spec.y_name, 5),
    ...axis(view, x, 0, spec.x_max || 1, base, spec.x_name),
    ...spec.series.map((one, i) => s("path", { d: band(one) ?? "", class: "pm-band", style: `fill:${colour(label(i))}` })),
    ...spec.series.map((one, i) =>
      s("path", { d: path(steps(one.time, one.value)), class: "pm-line", style: `stroke:${colour(label(i))}`, "stroke-dasharray": dash(i) }),
    ),
    ...(rows.length ? [text(left - 48, base + 52, "at risk", { class: "pm-name" })] : []),
    ...rows.flatMap((row, i) => [
      s("rect", { x: left - 48, y: base + 60 + 16 * i, width: 16, height: 4, style: `fill:${colour(label(i))}` }),
      ...row.map((n, j) => text(x(spec.at_risk.times[j]), base + 67 + 16 * i, n, { "text-anchor": "middle" })),
    ]),
  );
  const readout = h("p", { class: "pm-readout", "aria-hidden": "true" });
  const mark = s("line", { y1: top, y2: base, class: "pm-mark", visibility: "hidden" });
  drawing.append(mark);
  drawing.addEventListener("pointermove", (event) => {
    const time = x.value(event.clientX - drawing.getBoundingClientRect().left);
    const inside = time >= 0 && time <= spec.x_max;
    mark.setAttribute("visibility", inside ? "visible" : "hidden");
    for (const side of ["x1", "x2"]) mark.setAttribute(side, x(time));
    const at = ({ time: times, value }) => {
      let i = -1;
      while (i + 1 < times.length && times[i + 1] <= time) i++;
      return i < 0 || time > times[times.length - 1] ? "–" : value[i].toFixed(2);
    };
    readout.textContent = inside ? `${number(Number(time.toPrecision(3)))}: ${spec.series.map((one) => `${one.name} ${at(one)}`).join(" · ")}` : "";
  });
  const key = (one, i) =>
    h("li", {}, s("svg", { width: 26, height: 8, "aria-hidden": "true" }, s("line", { x1: 0, x2: 26, y1: 4, y2: 4, class: "pm-line", style: `stroke:${colour(label(i))}`, "stroke-dasharray": dash(i) })), ` ${one.name}`);
  view.body.append(h("ul", { class: "pm-keys" }, spec.series.map(key)), drawing, readout);
};

FIGURES.intervals = function intervals(view, spec) {
  const { rows } = spec;
  const left = Math.min(view.width * 0.42, 240);
  const longest = Math.max(6, ...rows.map((row) => (row.note ?? "").length));
  const side = Math.min(view.width * 0.4, longest * 6.2 + 16);
  const right = view.width - side;
  const step = 22;
  const base = 6 + step * rows.length;
  const ends = rows.flatMap((row) => [row.lower, row.upper, row.value]).concat(spec.reference ?? []).filter(Number.isFinite);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const pad = (high - low || 1) * 0.04;
  const x = scale(low - pad, high + pad, left, right);
  const drawing = picture(
    view.width, base + 38, `${spec.title}. ${spec.summary}`,
    Number.isFinite(spec.reference) ? s("line", { x1: x(spec.reference), x2: x(spec.reference), y1: 2, y2: base, class: "pm-grid" }) : null,
    ...rows.flatMap((row, i) => {
      const y = 6 + step * (i + 0.5);
      const known = Number.isFinite(row.value);
      return [
        text(left - 8, y + 4, row.label.length > 34 ? `${row.label.slice(0, 33)}…` : row.label, { "text-anchor": "end" }),
        Number.isFinite(row.lower) ? s("line", { x1: x(row.lower), x2: x(row.upper), y1: y, y2: y, class: "pm-line", style: `stroke:${colour(row.colour ?? 4)}` }) : null,
        known ? s("circle", { cx: x(row.value), cy: y, r: 4.5, style: `fill:${colour(row.colour ?? 4)}` }) : null,
        text(right + 8, y + 4, row.note ?? (known ? number(row.value) : "–")),
      ];
    }),
    ...axis(view, x, low - pad, high + pad, base, spec.x_name),
  );
  view.body.append(rows.length ? drawing : h("p", {}, spec.summary));
};

FIGURES.boxes = function boxes(view, spec) {
  const left = Math.min(view.width * 0.34, 190);
  const right = view.width - 70;
  const step = 46;
  const base = 4 + step * spec.groups.length;
  const [low, high] = spec.range;
  const x = scale(low, high, left, right);
  const drawing = picture(
    view.width, base + 38, `${spec.title}. ${spec.summary}`,
    ...spec.groups.flatMap((group, i) => {
      const y = 4 + step * (i + 0.5);
      const [min, q1, middle, q3, max] = group.quantiles;
      const dots = Array.from(group.values ?? [], (value, j) =>
        s("circle", { cx: x(value), cy: y - 15 + ((j * 7919) % 30), r: 1.8, class: "pm-dot", style: `fill:${colour(group.colour ?? 4)}` }),
      );
      return [
        text(left - 8, y + 4, group.name.length > 24 ? `${group.name.slice(0, 23)}…` : group.name, { "text-anchor": "end" }),
        ...dots,
        s("line", { x1: x(min), x2: x(max), y1: y, y2: y, class: "pm-whisker" }),
        s("rect", { x: x(q1), width: Math.max(1, x(q3) - x(q1)), y: y - 11, height: 22, class: "pm-box" }),
        s("line", { x1: x(middle), x2: x(middle), y1: y - 11, y2: y + 11, class: "pm-median" }),
        text(right + 8, y + 4, `n = ${group.n}`),
      ];
    }),
    Number.isFinite(spec.mark) ? s("line", { x1: x(spec.mark), x2: x(spec.mark), y1: 0, y2: base, class: "pm-mark" }) : null,
    ...axis(view, x, low, high, base, spec.x_name),
  );
  view.body.append(drawing);
};

FIGURES.positions = function positions(view, spec) {
  const row = ({ label, value, percentile }) =>
    h(
      "li",
      {},
      h("span", { class: "pm-label", title: label }, label),
      h("span", { class: "pm-value" }, value),
      percentile === null ? h("span") : h("span", { class: "pm-track pm-scale" }, h("b", { style: `left:${percentile}%` })),
      h("span", { class: "pm-count" }, percentile === null ? "" : number(Math.round(percentile))),
    );
  view.body.append(h("ul", { class: "pm-positions" }, spec.rows.map(row)), h("p", { class: "pm-note" }, spec.scale_note ?? ""));
};

FIGURES.timeline = function timeline(view, spec) {
  const left = Math.min(view.width * 0.36, 200);
  const right = view.width - 60;
  const base = 8 + 24 * spec.rows.length;
  const only = spec.to - spec.from < 1e-6 ? 1 : 0; // a single day has no length of its own
  const [from, to] = [spec.from - only, spec.to + only];
  const x = scale(from, to, left, right);
  view.body.append(
    picture(
      view.width, base + 38, `${spec.title}. ${spec.summary}`,
      ...spec.rows.flatMap((row, i) => {
        const y = 8 + 24 * (i + 0.5);
        return [
          text(left - 10, y + 4, row.label, { "text-anchor": "end" }),
          Number.isFinite(row.end) ? s("line", { x1: x(row.start), x2: x(row.end), y1: y, y2: y, class: "pm-line", style: `stroke:${colour(row.colour)}` }) : null,
          row.open
            ? s("circle", { cx: x(row.end ?? row.start), cy: y, r: 5, class: "pm-open", style: `stroke:${colour(row.colour)}` })
            : s("circle", { cx: x(row.end ?? row.start), cy: y, r: 5, style: `fill:${colour(row.colour)}` }),
          text(x(row.end ?? row.start) + 9, y + 4, row.note ?? ""),
        ];
      }),
      ...axis(view, x, from, to, base, spec.x_name),
    ),
  );
};
