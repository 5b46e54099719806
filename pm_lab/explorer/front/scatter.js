// Points on a canvas, painted pixel by pixel on the processor: no WebGL, a million points in one pass.

const rgb = (root, name) => {
  const probe = h("i", { style: `color:var(${name});display:none` });
  root.append(probe);
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return (255 << 24) | (b << 16) | (g << 8) | r;
};

FIGURES.scatter = function scatter(view, spec) {
  const held = (view.held ??= { zoom: 1, centre: null, mode: spec.lasso ? "lasso" : "move" });
  const { x, y } = spec;
  const [left, bottom, height] = [46, 40, spec.height ?? 380];
  const [width, plot] = [view.width - left - 6, height - bottom];
  const of = JSON.stringify([spec.points, spec.limits]); // other points are seen whole, the same ones as they were left
  if (held.of !== of) Object.assign(held, { of, zoom: 1, centre: null });
  const [xl, xh, yl, yh] = spec.limits;
  held.centre ??= [(xl + xh) / 2, (yl + yh) / 2];
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const canvas = h("canvas", {
    width: width * ratio, height: plot * ratio, style: `width:${width}px;height:${plot}px`, tabindex: 0, "data-key": "canvas", role: "img",
    "aria-label": `${spec.title}. ${spec.summary} Arrow keys move, plus and minus zoom, 0 shows all.`,
  });
  const frame = h("div", { class: "pm-plot pm-points", style: `height:${height}px` }, canvas);
  canvas.style.left = `${left}px`;
  const over = s("svg", { class: "pm-over", width: view.width, height, "aria-hidden": "true" });
  frame.append(over);
  let scales;

  const paint = () => {
    const [rx, ry] = [(xh - xl) / 2 / held.zoom, (yh - yl) / 2 / held.zoom];
    const [cx, cy] = held.centre;
    scales = [scale(cx - rx, cx + rx, 0, width), scale(cy - ry, cy + ry, plot, 0)];
    paintPoints(canvas, view, spec, scales, ratio);
    over.replaceChildren(
      ...axis(view, scale(cx - rx, cx + rx, left, left + width), cx - rx, cx + rx, plot, spec.x_name),
      ...upright(scales[1], cy - ry, cy + ry, left, left, spec.y_name, 5).filter(Boolean),
      ...rings(spec, scales, left, width, plot),
    );
    over.querySelectorAll(".pm-grid").forEach((line) => line.remove());
    if (spec.polygon?.length) over.append(outline(spec.polygon.map(([a, b]) => [left + scales[0](a), scales[1](b)]), true));
  };
  let asked = 0;
  const repaint = () => { cancelAnimationFrame(asked); asked = requestAnimationFrame(paint); };
  const zoom = (factor, [px, py] = [width / 2, plot / 2]) => {
    const at = [scales[0].value(px), scales[1].value(py)];
    held.zoom = Math.max(0.5, Math.min(200, held.zoom * factor));
    held.centre = held.centre.map((c, i) => at[i] + (c - at[i]) / factor);
    repaint();
  };
  const reset = () => { Object.assign(held, { zoom: 1, centre: [(xl + xh) / 2, (yl + yh) / 2] }); repaint(); };
  const shift = (dx, dy) => {
    held.centre = [held.centre[0] - (dx / width) * ((xh - xl) / held.zoom), held.centre[1] + (dy / plot) * ((yh - yl) / held.zoom)];
    repaint();
  };
  canvas.addEventListener("keydown", (event) => {
    const act = {
      ArrowLeft: () => shift(40, 0), ArrowRight: () => shift(-40, 0), ArrowUp: () => shift(0, 40), ArrowDown: () => shift(0, -40),
      "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: reset,
    }[event.key];
    if (!act) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page still scrolls
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, [event.offsetX, event.offsetY]);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (down) => {
    if (down.button) return;
    const box = canvas.getBoundingClientRect();
    const place = (event) => [event.clientX - box.left, event.clientY - box.top];
    const trail = [place(down)];
    const follow = (event) => {
      const now = place(event);
      const [before] = trail.slice(-1);
      if (Math.hypot(now[0] - before[0], now[1] - before[1]) < 4) return;
      trail.push(now);
      if (held.mode === "move") shift(now[0] - before[0], now[1] - before[1]);
      else {
        over.querySelector(".pm-lasso.pm-new")?.remove();
        over.append(outline(trail.map(([a, b]) => [a + left, b]), false));
      }
    };
    const finish = (event) => {
      follows.abort();
      if (event.type === "pointercancel") return repaint();
      if (trail.length < 3) return pick(view, spec, scales, trail[0]);
      if (held.mode === "lasso") view.tell({ type: "lasso", polygon: trail.map(([a, b]) => [scales[0].value(a), scales[1].value(b)]) });
    };
    const follows = new AbortController();
    window.addEventListener("pointermove", follow, { signal: follows.signal });
    for (const over of ["pointerup", "pointercancel"]) window.addEventListener(over, finish, { signal: follows.signal });
  });
  const button = (label, name, act, pressed) =>
    h("button", { type: "button", class: "pm-quiet", "data-key": name, "aria-label": `${spec.title}: ${name}`, "aria-pressed": pressed, onclick: act }, label);
  const modes = spec.lasso
    ? ["lasso", "move"].map((mode) => button(mode, mode, () => { held.mode = mode; view.draw(view.spec); }, String(held.mode === mode)))
    : [];
  view.tools.append(...modes, button("+", "zoom in", () => zoom(1.4)), button("−", "zoom out", () => zoom(1 / 1.4)), button("all", "show all", reset));
  view.body.append(frame, legend(spec));
  if (spec.lasso) view.body.append(corners(view, spec));
  view.repaint = repaint;
  paint();
};

function paintPoints(canvas, view, spec, [sx, sy], ratio) {
  const started = performance.now();
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const { x, y, codes, mask } = spec;
  const [w, hgt] = [canvas.width, canvas.height];
  const n = mask ? mask.reduce((sum, one) => sum + one, 0) : x.length;
  const sizeOf = (many) => Math.max(1, Math.round((many > 2e5 ? 1 : many > 2e4 ? 1.5 : many > 2e3 ? 3 : 6) * ratio));
  const sizes = [sizeOf(x.length), Math.max(sizeOf(x.length), Math.min(sizeOf(n), 4 * ratio + (x.length > 2e3 ? 0 : 2 * ratio)))];
  const faint = rgb(view.root, "--pm-rest");
  const palette = spec.palette.map((name) => rgb(view.root, name));
  const [ax, ay] = [(sx(1) - sx(0)) * ratio, (sy(1) - sy(0)) * ratio];
  for (let pass = mask ? 0 : 1; pass < 2; pass++) {
    const size = sizes[pass]; // few points among many are drawn larger
    const corner = size > 3 ? 1 : 0; // larger points are rounded
    const [bx, by] = [sx(0) * ratio - size / 2, sy(0) * ratio - size / 2];
    for (let i = 0; i < x.length; i++) {
      if (mask && mask[i] !== pass) continue;
      const px = (x[i] * ax + bx) | 0;
      const py = (y[i] * ay + by) | 0;
      if (!(px >= 0 && py >= 0 && px + size < w && py + size < hgt)) continue;
      const paint = pass ? palette[codes ? codes[i] : 0] : faint;
      for (let dy = 0; dy < size; dy++) {
        const trim = corner && (dy === 0 || dy === size - 1) ? 1 : 0;
        const row = (py + dy) * w + px;
        for (let dx = trim; dx < size - trim; dx++) pixels[row + dx] = paint;
      }
    }
  }
  context.putImageData(image, 0, 0);
  view.root.dataset.redraw = (performance.now() - started).toFixed(1);
}

const outline = (points, kept) =>
  s("path", { d: `${points.map((p, i) => `${i ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`).join("")}Z`, class: `pm-lasso ${kept ? "" : "pm-new"}` });

// Rings within the plot, and their labels as far as there is room: right, left, above or below, over no other.
function rings(spec, [sx, sy], left, width, plot) {
  const seen = (spec.rings ?? [])
    .map(({ i, label }) => ({ x: sx(spec.x[i]), y: sy(spec.y[i]), label }))
    .filter(({ x, y }) => x >= 0 && x <= width && y >= 0 && y <= plot);
  const taken = seen.map(({ x, y }) => [x - 7, y - 7, x + 7, y + 7]);
  const free = ([a, b, c, d], of) => a >= 0 && c <= width && b >= 0 && d <= plot && !of.some((box) => a < box[2] && c > box[0] && b < box[3] && d > box[1]);
  const labels = seen.filter(({ label }) => label).map(({ x, y, label }) => {
    const wide = label.length * 7 + 2;
    const places = [[x + 8, y - 7], [x - 8 - wide, y - 7], [x - wide / 2, y - 22], [x - wide / 2, y + 8], [x + 8, y - 20], [x + 8, y + 6], [x - 8 - wide, y - 20], [x - 8 - wide, y + 6]];
    const boxes = places.map(([a, b]) => [a, b, a + wide, b + 14]);
    const box = boxes.find((one) => free(one, taken)) ?? boxes.find((one) => free(one, taken.slice(seen.length))); // better over a ring than none
    if (!box) return null; // the table names it
    taken.push(box);
    return text(left + box[0] + 1, box[1] + 11, label, { class: "pm-tag" });
  });
  return [...seen.map(({ x, y }) => s("circle", { cx: left + x, cy: y, r: 7, class: "pm-ring" })), ...labels.filter(Boolean)];
}

function pick(view, spec, [sx, sy], [px, py]) {
  let [best, near] = [-1, 144];
  for (let i = 0; i < spec.x.length; i++) {
    const away = (sx(spec.x[i]) - px) ** 2 + (sy(spec.y[i]) - py) ** 2;
    if (away < near) [best, near] = [i, away];
  }
  if (best >= 0 && spec.pick) view.tell({ type: "pick", index: best });
}

const legend = (spec) =>
  h("ul", { class: "pm-keys" }, (spec.labels ?? []).map((label, i) => h("li", {}, h("i", { class: "pm-chip", style: `background:var(${spec.palette[i]})` }), ` ${label}`)));

// The lasso for those who use no pointer: the corners of a rectangle.
function corners(view, spec) {
  const input = (label) => h("input", { type: "number", step: "any", "aria-label": `${spec.title}: ${label}`, placeholder: label, onkeydown: (event) => event.stopPropagation() });
  const fields = ["x from", "x to", "y from", "y to"].map(input);
  const send = () => {
    const [a, b, c, d] = fields.map((field, i) => (field.value === "" ? spec.limits[i] : Number(field.value)));
    view.tell({ type: "lasso", polygon: [[a, c], [b, c], [b, d], [a, d]] });
  };
  return h("details", { class: "pm-corners" }, h("summary", {}, "Select by coordinates"), h("div", { class: "pm-range" }, fields, h("button", { type: "button", class: "pm-quiet", onclick: send }, "select")));
}
