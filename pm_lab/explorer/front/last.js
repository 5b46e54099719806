// What the small loader in every figure calls; STYLE is put in front of this module.

const TYPES = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array };

function decoded(value, buffers) {
  if (Array.isArray(value)) return value.map((one) => decoded(one, buffers));
  if (value === null || typeof value !== "object") return value;
  if (value.buffer !== undefined) {
    const view = buffers[value.buffer];
    return new TYPES[value.type](view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
  }
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, decoded(one, buffers)]));
}

export function render({ model, el }) {
  const gone = () => el.closest(".jupyter-widgets-disconnected");
  if (gone()) return undefined; // a saved notebook without its kernel: the static summary is shown
  if (!document.getElementById("pm-explorer-style")) document.head.append(h("style", { id: "pm-explorer-style" }, STYLE));
  const view = new View(model, el);
  const receive = (message, buffers) => {
    if (message.draw && (view.spec || !message.kept)) {
      const kept = message.kept ? Object.fromEntries(message.kept.map((name) => [name, view.spec[name]])) : {};
      view.draw({ ...decoded(message.draw, buffers), ...kept });
    }
    if (message.file) save(message.file, buffers[0]);
    if (message.done) view.answered(message.done);
  };
  model.on("msg:custom", receive);
  const lives = () => setTimeout(() => gone() && view.ended());
  model.on("comm_live_update", lives);
  let width = 0;
  const resized = new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    const home = view.root.closest(".pm-explorer");
    if (home && !width) themed.observe(home, { attributes: true, attributeFilter: ["class"] });
    if (view.spec && now && Math.abs(now - width) > 4) view.draw(view.spec);
    width = now;
  });
  resized.observe(view.root);
  const themed = new MutationObserver(() => view.repaint?.());
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  model.send({ event: { type: "ready" }, seq: 0 });
  return () => {
    model.off("msg:custom", receive);
    model.off("comm_live_update", lives);
    resized.disconnect();
    themed.disconnect();
  };
}

function save({ name, type }, content) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
