// Elements, scales and numbers shared by all figures. The files of this folder are joined into one module.

const FIGURES = {}; // kind → function (view, spec) that draws into view.body

const escapeAttribute = (name) => (name === "className" ? "class" : name);

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(escapeAttribute(name), value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

const h = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) =>
  put(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const picture = (width, height, name, ...children) =>
  s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name }, ...children);

const text = (x, y, content, attributes) => s("text", { x, y, ...attributes }, String(content));

function scale(low, high, from, to) {
  const span = high - low || 1;
  const place = (value) => from + ((value - low) / span) * (to - from);
  place.value = (pixel) => low + ((pixel - from) / (to - from)) * span;
  return place;
}

function ticks(low, high, most) {
  const rough = (high - low) / Math.max(most, 1);
  if (!(rough > 0)) return [low];
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * ([1, 2, 5, 10].find((m) => m * size >= rough * 0.999) ?? 10);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step)
    found.push(Math.abs(value) < step * 1e-9 ? 0 : value);
  return found;
}

const number = (value) => {
  if (value === null || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return String(Number(value.toPrecision(4)));
};

const day = (value) => new Date(value * 864e5).toISOString().slice(0, 10);

const named = (label) => (String(label).trim() ? label : "(empty)");

// Dates at the start of years or months where the span is long enough: [days since 1970, its name].
function dates(low, high, most) {
  const months = (high - low) / 30.44 / most;
  const step = [1, 3, 6, 12, 24, 60, 120, 240, 600].find((one) => one >= months) ?? 1200;
  if (months < 0.5) return ticks(low, high, most).filter(Number.isInteger).map((value) => [value, day(value)]);
  const first = new Date(low * 864e5);
  const found = [];
  for (let i = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / step) * step; ; i += step) {
    const value = Date.UTC(Math.floor(i / 12), i % 12) / 864e5;
    if (value > high) return found.length ? found : [[low, day(low)]];
    if (value >= low) found.push([value, day(value).slice(0, step % 12 ? 7 : 4)]);
  }
}

function axis(view, place, low, high, y, name, format) {
  const room = place(high) - place(low);
  const found = format === day ? dates(low, high, Math.max(1, room / 80)) : ticks(low, high, Math.max(2, room / 60)).map((value) => [value, number(value)]);
  const marks = found.map(([value, label]) => {
    const half = label.length * 3.2; // a label at the edge is not cut
    return [
      s("line", { x1: place(value), x2: place(value), y1: y, y2: y + 4, class: "pm-axis" }),
      text(Math.max(half, Math.min(view.width - half, place(value))), y + 15, label, { "text-anchor": "middle" }),
    ];
  });
  const middle = (place(low) + place(high)) / 2;
  return [
    s("line", { x1: place(low), x2: place(high), y1: y, y2: y, class: "pm-axis" }),
    marks,
    name ? text(middle, y + 31, name, { "text-anchor": "middle", class: "pm-name" }) : null,
  ].flat(3);
}

function upright(place, low, high, x, right, name, most = 4) {
  const middle = (place(low) + place(high)) / 2;
  return [
    ...ticks(low, high, most).flatMap((value) => [
      s("line", { x1: x, x2: right, y1: place(value), y2: place(value), class: "pm-grid" }),
      text(x - 5, place(value) + 4, number(value), { "text-anchor": "end" }),
    ]),
    name
      ? text(12, middle, name, { "text-anchor": "middle", class: "pm-name", transform: `rotate(-90 12 ${middle})` })
      : null,
  ];
}

// One figure in the page: a heading, its drawing or its table, and what is said of it.
class View {
  constructor(model, element) {
    this.model = model;
    this.seq = 0;
    this.waiting = false;
    this.later = null;
    this.tabled = false;
    this.root = h("div", { class: "pm-figure" });
    element.append(this.root);
  }

  // Tell the kernel. While it is at work, only the newest of the live events is kept.
  tell(event, live = false) {
    if (live && this.waiting) {
      this.later = event;
      return;
    }
    this.later = null;
    this.told = this.spec;
    this.waiting = true;
    this.root.setAttribute("aria-busy", "true");
    this.slow ??= setTimeout(() => this.root.classList.add("pm-working"), 400);
    try {
      this.model.send({ event: { ...event, live }, seq: ++this.seq });
    } catch {
      this.ended(); // the connection is closed
    }
  }

  answered(seq) {
    if (seq < this.seq) return;
    this.rest();
    if (this.later) this.tell(this.later, true);
    else if (this.spec === this.told) this.refused?.();
  }

  rest() {
    this.waiting = false;
    this.root.setAttribute("aria-busy", "false");
    clearTimeout(this.slow);
    this.slow = undefined;
    this.root.classList.remove("pm-working");
  }

  // The kernel is gone: nothing is under way any more, and it is said once, at the top.
  ended() {
    this.later = null;
    this.rest();
    const home = this.root.closest(".pm-explorer");
    if (!home || home.querySelector(".pm-ended")) return;
    const words = "The kernel has ended, and nothing here answers any more. Run the cell again; where there is no cell, load the page again.";
    home.querySelector(".pm-figure").prepend(h("p", { role: "alert", class: "pm-warn pm-ended" }, words));
  }

  draw(spec) {
    const focus = this.root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.spec = spec;
    this.width = Math.max(this.root.clientWidth || 320, 160);
    this.root.className = `pm-figure pm-${spec.kind}`;
    if (spec.name) this.root.dataset.name = spec.name;
    FIGURES[spec.kind].bare ? this.drawBare() : this.drawFramed();
    if (focus) this.root.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
  }

  drawBare() {
    if (!this.body) this.root.replaceChildren((this.body = h("div")));
    FIGURES[this.spec.kind](this, this.spec);
  }

  drawFramed() {
    const { spec } = this;
    this.body = h("div", { class: "pm-body" });
    const toggle = spec.table
      ? h(
          "button",
          {
            type: "button", class: "pm-quiet", "data-key": "table", "aria-pressed": String(this.tabled),
            "aria-label": `${spec.title} as a table`,
            onclick: () => { this.tabled = !this.tabled; this.draw(this.spec); },
          },
          "table",
        )
      : null;
    const head = h("div", { class: "pm-head" }, h("h4", {}, spec.title), h("span", { class: "pm-tools" }, toggle));
    this.tools = head.lastChild;
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", spec.title);
    const said = h("p", { class: spec.say ? "pm-note" : "pm-unseen" }, spec.summary ?? "");
    this.root.replaceChildren(head, this.body, said);
    if (this.tabled && spec.table) this.body.append(plainTable(spec.title, spec.table));
    else FIGURES[spec.kind](this, spec);
  }
}

function plainTable(title, { columns, rows }) {
  const cell = (value) => (typeof value === "number" ? h("td", { class: "pm-right" }, number(value)) : h("td", {}, value ?? "–"));
  return h(
    "div",
    { class: "pm-scroll", tabindex: 0, role: "region", "aria-label": `${title}, table` },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
    ),
  );
}
