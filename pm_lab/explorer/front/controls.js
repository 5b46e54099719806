// Tabs, tables in pages, and a search with completion. Rows come by message, so that no notebook keeps them.

FIGURES.tabs = function tabs(view, spec) {
  const tab = ([key, label], i) =>
    h(
      "button",
      {
        type: "button", role: "tab", "data-key": key, "aria-selected": String(key === spec.chosen), tabindex: key === spec.chosen ? 0 : -1,
        onclick: () => view.tell({ type: "tab", key }),
        onkeydown: (event) => {
          const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
          if (!step) return;
          event.preventDefault();
          event.stopPropagation();
          const next = spec.tabs[(i + step + spec.tabs.length) % spec.tabs.length][0];
          view.root.querySelector(`[data-key="${next}"]`).focus();
          view.tell({ type: "tab", key: next });
        },
      },
      label,
    );
  view.body.className = "pm-tablist";
  view.body.setAttribute("role", "tablist");
  view.body.setAttribute("aria-label", spec.title);
  const home = view.root.closest(".pm-explorer");
  // Another tab was opened from within the panel, which goes: the focus does not go with it.
  const leaves = view.last !== undefined && view.last !== spec.chosen && home?.contains(document.activeElement) && !view.root.contains(document.activeElement);
  view.last = spec.chosen;
  view.body.replaceChildren(...spec.tabs.map(tab));
  const panel = home?.contains(view.root) ? [...home.children].find((one) => one.contains(view.root))?.nextElementSibling : null;
  if (panel) {
    panel.id ||= `pm-${Math.random().toString(36).slice(2)}`;
    put(panel, { role: "tabpanel", "aria-label": spec.tabs.find(([key]) => key === spec.chosen)?.[1] }, []);
    [...view.body.children].forEach((button) => button.setAttribute("aria-controls", panel.id));
  }
  if (leaves) view.body.querySelector('[aria-selected="true"]').focus();
};
FIGURES.tabs.bare = true;

FIGURES.html = function html(view, spec) {
  view.body.innerHTML = spec.html; // escaped in the kernel
  view.root.querySelectorAll("[data-copy]").forEach((button) => {
    button.onclick = () => copy(button, view.root.querySelector(button.dataset.copy));
  });
};

// Where the browser gives no clipboard (a page without https), the text is selected for the keyboard.
async function copy(button, from) {
  const before = (button.dataset.label ??= button.textContent);
  try {
    await navigator.clipboard.writeText(from.textContent);
    button.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(from);
    button.textContent = "selected: press Ctrl+C";
  }
  button.setAttribute("aria-live", "polite");
  setTimeout(() => (button.textContent = before), 4000);
}
FIGURES.html.bare = true;

FIGURES.table = function table(view, spec) {
  const { columns, rows, page, pages, sort, pick } = spec;
  const ask = (changes) => view.tell({ type: "table", page, sort, query: spec.query, ...changes });
  const head = columns.map((name, i) => {
    const order = sort?.[0] === name ? (sort[1] ? "descending" : "ascending") : "none";
    const sign = { descending: " ▾", ascending: " ▴", none: "" }[order];
    return h(
      "th",
      { scope: "col", "aria-sort": order, class: spec.right[i] ? "pm-right" : null },
      h("button", { type: "button", class: "pm-quiet", "data-key": `sort ${i}`, onclick: () => ask({ page: 0, sort: [name, order === "ascending"] }) }, name + sign),
    );
  });
  const cell = (value, i, row) => {
    const shown = value === null ? "–" : value;
    const inside = pick && i === 0 ? h("button", { type: "button", class: "pm-link", "data-key": `row ${row}`, onclick: () => view.tell({ type: "row", row }) }, shown) : shown;
    return h("td", { class: spec.right[i] ? "pm-right" : null }, inside);
  };
  const search = spec.searchable
    ? h("input", {
        type: "search", "data-key": "query", placeholder: "search", "aria-label": `search in ${spec.title}`, value: spec.query ?? "",
        onkeydown: (event) => event.stopPropagation(), onchange: (event) => ask({ page: 0, query: event.target.value }),
      })
    : null;
  if (search) view.tools.prepend(search);
  view.body.append(
    h(
      "div",
      { class: "pm-scroll", tabindex: 0, role: "region", "aria-label": `${spec.title}, table` },
      h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map((row, r) => h("tr", { class: spec.marked?.includes(r) ? "pm-marked" : null }, row.map((value, i) => cell(value, i, r)))))),
    ),
  );
  if (pages > 1)
    view.body.append(
      h(
        "div",
        { class: "pm-pages" },
        h("button", { type: "button", class: "pm-quiet", "data-key": "back", "aria-label": `${spec.title}: previous page`, disabled: page === 0, onclick: () => ask({ page: page - 1 }) }, "‹ back"),
        h("span", {}, ` page ${page + 1} of ${number(pages)} `),
        h("button", { type: "button", class: "pm-quiet", "data-key": "next", "aria-label": `${spec.title}: next page`, disabled: page + 1 >= pages, onclick: () => ask({ page: page + 1 }) }, "next ›"),
      ),
    );
};

// A combobox after the pattern of the ARIA authoring practices, with the list from the kernel.
FIGURES.search = function search(view, spec) {
  if (view.input) return fill(view, spec);
  const id = `pm-${Math.random().toString(36).slice(2)}`;
  view.chosen = -1;
  view.list = h("ul", { role: "listbox", id: `${id}-list`, "aria-label": spec.title, hidden: true });
  view.close = () => { view.list.hidden = true; view.chosen = -1; view.input.setAttribute("aria-expanded", "false"); view.input.removeAttribute("aria-activedescendant"); };
  view.take = (value) => { view.input.value = value; view.asks = false; view.close(); view.tell({ type: "chosen", value }); };
  const ask = () => { view.asks = true; view.tell({ type: "query", query: view.input.value }, true); };
  view.input = h("input", {
    type: "text", id, role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": `${id}-list`, autocomplete: "off", spellcheck: "false",
    placeholder: spec.placeholder, "data-key": "input",
    oninput: () => ask(),
    onblur: () => setTimeout(view.close, 150),
    onkeydown: (event) => {
      event.stopPropagation();
      const options = [...view.list.children];
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (view.list.hidden || !options.length) return ask();
        view.chosen = (view.chosen + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length;
        options.forEach((option, i) => option.setAttribute("aria-selected", String(i === view.chosen)));
        options[view.chosen].scrollIntoView({ block: "nearest" });
        view.input.setAttribute("aria-activedescendant", options[view.chosen].id);
      } else if (event.key === "Enter") {
        event.preventDefault();
        view.take(view.chosen >= 0 ? options[view.chosen].textContent : view.input.value);
      } else if (event.key === "Escape") view.close();
    },
  });
  view.root.replaceChildren((view.body = h("div", { class: "pm-combo" }, h("label", { for: id }, spec.title), view.input, view.list)));
  fill(view, spec);
};
FIGURES.search.bare = true;

function fill(view, spec) {
  if (spec.value !== undefined && spec.value !== null && document.activeElement !== view.input) view.input.value = spec.value;
  if (!spec.options) return;
  view.list.replaceChildren(...spec.options.map((value, i) => h("li", { role: "option", id: `${view.input.id}-${i}`, "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); view.take(value); } }, value)));
  const open = spec.options.length > 0 && view.asks && document.activeElement === view.input; // not after a choice
  view.list.hidden = !open;
  view.chosen = -1;
  view.input.setAttribute("aria-expanded", String(open));
}
