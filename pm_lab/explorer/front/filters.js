// Histograms with a brush and bars with buttons: what filters the cohort.

FIGURES.histogram = function histogram(view, spec) {
  const { edges, everyone, selected } = spec;
  const format = spec.date ? day : number;
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const [height, base] = [118, 98];
  const gap = spec.missing_everyone ? 40 : 4;
  const right = view.width - gap;
  const top = Math.max(1, ...everyone, spec.missing_everyone); // −1: hidden
  const left = Math.max(38, 12 + 6.2 * number(Math.max(...ticks(0, top, 2))).length); // room for the largest
  const x = scale(low, high, left, right);
  const y = scale(0, top, base, 6);
  const range = spec.missing === "only" ? null : spec.range;
  const inside = (limit, otherwise) => Math.max(low, Math.min(high, limit ?? otherwise)); // a filter may lie beyond the data
  const [from, to] = [inside(range?.[0], low), inside(range?.[1], high)];
  const bars = (counts, name, filtered) =>
    counts.length
      ? Array.from(counts, (n, i) => {
          const within = edges[i] >= from - 1e-9 && edges[i + 1] <= to + 1e-9 && spec.missing !== "only";
          if (filtered !== undefined && within !== filtered) return null;
          const [x1, x2] = [x(edges[i]), x(edges[i + 1])];
          return s("rect", { x: x1 + 0.5, width: Math.max(0.7, x2 - x1 - 1), y: y(Math.max(n, 0)), height: base - y(Math.max(n, 0)), class: name });
        })
      : [];
  const drawing = picture(
    view.width, height, `${spec.title}. ${spec.summary}`,
    ...upright(y, 0, top, left, right, null, 2),
    ...bars(everyone, "pm-all"), ...bars(selected, "pm-some", true), ...bars(selected, "pm-faint", false),
    ...axis(view, x, low, high, base, null, format),
    range ? s("rect", { x: x(from), width: x(to) - x(from), y: 4, height: base - 4, class: "pm-brush" }) : null,
  );
  const plot = h("div", { class: "pm-plot" }, drawing);
  view.body.append(plot, rangeInputs(view, spec));
  if (!edges.length || !(high > low)) return;
  brush(view, spec, plot, x, base, from, to, range);
  if (spec.missing_everyone) missingButton(view, spec, plot, right, base, y);
};

const people = (n) => (n < 0 ? "few" : number(n));

function nearest(edges, value) {
  let best = 0;
  for (let i = 1; i < edges.length; i++) if (Math.abs(edges[i] - value) < Math.abs(edges[best] - value)) best = i;
  return best;
}

const GRIP = 6; // pixels round an end of the brush where it is taken hold of

function brush(view, spec, plot, x, base, from, to, range) {
  const { edges } = spec;
  const last = edges.length - 1;
  const send = (low, high, live) => {
    const whole = low <= 0 && high >= last;
    view.tell(
      whole || low >= high
        ? { type: "range", low: null, high: null, missing: null }
        : { type: "range", low: low <= 0 ? null : edges[low], high: high >= last ? null : edges[high], missing: spec.missing === true },
      live,
    );
  };
  const area = h("div", { class: "pm-area", style: `left:${x(edges[0])}px;width:${x(edges[last]) - x(edges[0])}px;height:${base}px` });
  area.addEventListener("pointermove", (event) => {
    const pixel = event.clientX - plot.getBoundingClientRect().left;
    const near = range && [from, to].some((value) => Math.abs(pixel - x(value)) <= GRIP);
    area.style.cursor = near ? "ew-resize" : range && pixel > x(from) && pixel < x(to) ? "grab" : "";
  });
  area.addEventListener("pointerdown", (down) => {
    if (down.button) return;
    down.preventDefault();
    const box = view.root.querySelector(".pm-plot").getBoundingClientRect();
    const at = (event) => nearest(edges, x.value(event.clientX - box.left));
    const start = at(down);
    const held = range ? [nearest(edges, from), nearest(edges, to)] : null;
    const pixel = down.clientX - box.left;
    const away = held ? [from, to].map((value) => Math.abs(pixel - x(value))) : [];
    const end = Math.min(...away) <= GRIP ? (away[0] < away[1] || (away[0] === away[1] && pixel < x(from)) ? 0 : 1) : -1;
    const within = held && pixel > x(from) && pixel < x(to);
    let ends = null;
    const moved = (now) => {
      if (end >= 0) return [held[1 - end], now];
      if (!within) return [start, now];
      const shift = Math.max(-held[0], Math.min(last - held[1], now - start));
      return [held[0] + shift, held[1] + shift];
    };
    const follow = (event) => {
      if (Math.abs(event.clientX - down.clientX) < 4 && !ends) return;
      const now = moved(at(event)).sort((a, b) => a - b);
      if (now[0] === now[1]) return;
      ends = now;
      send(...ends, true);
    };
    const finish = (event) => {
      follows.abort();
      if (ends) send(...ends, false);
      else if (held && !within && end < 0 && event.type === "pointerup") send(0, last, false); // a click beside the brush
    };
    const follows = new AbortController();
    window.addEventListener("pointermove", follow, { signal: follows.signal });
    for (const over of ["pointerup", "pointercancel"]) window.addEventListener(over, finish, { signal: follows.signal });
  });
  const handle = (which, value) =>
    h("div", {
      class: "pm-handle", role: "slider", tabindex: 0, "data-key": which, style: `left:${x(value)}px;height:${base}px`,
      "aria-label": `${spec.title} ${which === "low" ? "from" : "to below"}`, "aria-valuemin": edges[0],
      "aria-valuemax": edges[last], "aria-valuenow": value, "aria-valuetext": (spec.date ? day : number)(value),
      onkeydown: (event) => {
        const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -1e6, End: 1e6 }[event.key];
        if (event.key === "Delete" || event.key === "Escape") send(0, last, false);
        else if (step) {
          const ends = [nearest(edges, from), nearest(edges, to)];
          const i = which === "low" ? 0 : 1;
          ends[i] = Math.max(i ? ends[0] + 1 : 0, Math.min(i ? last : ends[1] - 1, ends[i] + step));
          send(...ends, false);
        } else return;
        event.preventDefault();
        event.stopPropagation();
      },
    });
  plot.append(area, handle("low", from), handle("high", to));
}

function missingButton(view, spec, plot, right, base, y) {
  const pressed = spec.missing === "only" || spec.missing === true || (!spec.range && spec.missing === null);
  const bar = (n, name) => h("i", { class: name, style: `height:${Math.max(base - y(Math.max(n, 0)), n ? 1 : 0)}px` });
  plot.append(
    h(
      "button",
      {
        type: "button", class: "pm-missing", style: `left:${right + 8}px;height:${base + 18}px`, "data-key": "missing",
        "aria-pressed": String(pressed), title: "missing",
        "aria-label": `${spec.title} missing: ${people(spec.missing_selected)} of ${people(spec.missing_everyone)}`,
        onclick: () => view.tell({ type: "missing" }),
      },
      h("span", { class: "pm-stack", style: `height:${base}px` }, bar(spec.missing_everyone, "pm-all"), bar(spec.missing_selected, pressed ? "pm-some" : "pm-faint")),
      "none",
    ),
  );
}

function rangeInputs(view, spec) {
  const shown = (value) => (value === null || value === undefined ? "" : spec.date ? day(value) : String(Number(value.toPrecision(6))));
  const [low, high] = spec.range ?? [null, null];
  const value = (input) => (input.value === "" ? null : spec.date ? Date.parse(input.value) / 864e5 : Number(input.value));
  const make = (label, now, key) =>
    h("input", {
      type: spec.date ? "date" : "number", step: "any", value: shown(now), "data-key": key, "aria-label": `${spec.title} ${label}`, placeholder: "any",
      onkeydown: (event) => event.stopPropagation(),
      onchange: () => view.tell({ type: "range", low: value(inputs[0]), high: value(inputs[1]), missing: spec.missing === true }),
    });
  const inputs = [make("at least", low, "from"), make("below", high, "to")];
  view.refused = () => inputs.forEach((input, i) => { input.value = shown(spec.range?.[i]); }); // what was not taken does not stay
  return h("div", { class: "pm-range" }, h("span", {}, "≥ "), inputs[0], h("span", {}, " < "), inputs[1], clearButton(view, spec));
}

function clearButton(view, spec) {
  if (!spec.filtered) return null;
  return h(
    "button",
    { type: "button", class: "pm-quiet", "data-key": "clear", "aria-label": `clear the filter of ${spec.title}`, onclick: () => view.tell({ type: "clear" }) },
    "clear",
  );
}

FIGURES.bars = function bars(view, spec) {
  const alone = spec.together ? spec.everyone.slice(0, -1) : spec.everyone; // the others together may be most
  const top = Math.max(1, ...alone, spec.missing_everyone);
  const chosen = new Set(spec.chosen);
  const open = !spec.filtered;
  const row = (label, everyone, selected, pressed, event) => {
    const width = (n) => `width:${event ? (100 * Math.max(n, 0)) / top : 0}%`;
    return h(
      "li",
      {},
      h(
        "button",
        {
          type: "button", class: "pm-bar", "data-key": `bar ${label}`, "aria-pressed": String(pressed), disabled: !event,
          "aria-label": `${named(label)}: ${people(selected)} of ${people(everyone)}`, onclick: () => view.tell(event),
        },
        h("span", { class: "pm-label", title: label }, named(label)),
        h(
          "span",
          { class: "pm-track" },
          h("i", { class: "pm-all", style: width(everyone) }),
          h("i", { class: open || pressed ? "pm-some" : "pm-faint", style: width(selected) }),
        ),
        h("span", { class: "pm-count" }, selected === everyone ? people(everyone) : `${people(selected)} / ${people(everyone)}`),
      ),
    );
  };
  const rows = spec.labels.map((label, i) =>
    row(label, spec.everyone[i], spec.selected[i], chosen.has(label), spec.together && i === spec.labels.length - 1 ? null : { type: "category", value: label }),
  );
  if (spec.missing_everyone) rows.push(row("missing", spec.missing_everyone, spec.missing_selected, Boolean(spec.missing), { type: "missing" }));
  view.body.append(h("ul", { class: "pm-bars" }, rows));
  if (spec.filtered) view.body.append(h("div", { class: "pm-range" }, clearButton(view, spec)));
};
