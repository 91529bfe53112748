// Which cells are shown: of one machine, with the ticked values, and with the words in their variant's name. Nothing ticked means all.
(function (report) {
  "use strict";

  const { el, byId, replace } = report.dom;
  const { cells } = report.data;
  const TICKED = ["family", "engine", "axis:precision", "axis:threads", "status", "run"];

  /** The one machine whose cells are shown: figures of different machines are never put together. */
  function machine() {
    const wanted = report.state.get().machine;
    return machines().includes(wanted) ? wanted : machines()[0];
  }

  const machines = () => cells.column("machine")?.words ?? [];

  /** The facets as functions from a row to whether it passes. */
  function tests() {
    const { only } = report.state.get();
    return Object.entries(only).filter(([name]) => cells.column(name) !== undefined).map(([name, values]) => {
      const column = cells.column(name);
      const wanted = new Set(values);
      if (!column.isText) return { name, passes: (row) => wanted.has(column.key(row)) };
      const codes = new Set(column.words.flatMap((word, code) => (wanted.has(word) ? [code] : [])));
      return { name, passes: (row) => codes.has(column.codes[row]) };
    });
  }

  /** True for the codes of variants that have all the words in their name. */
  function named() {
    const words = (report.state.get().text ?? "").toLowerCase().split(/\s+/).filter((word) => word !== "");
    const variants = cells.column("variant")?.words ?? [];
    return variants.map((variant) => words.every((word) => variant.toLowerCase().includes(word)));
  }

  /** The rows that pass, and for each facet how many there are of each value, going by the other facets. */
  function apply() {
    const facets = tests();
    const ofMachine = cells.column("machine");
    const code = ofMachine?.words.indexOf(machine()) ?? -1;
    const [variants, isNamed] = [cells.column("variant"), named()];
    const rows = [];
    const counts = new Map(TICKED.map((name) => [name, new Map()]));
    const counted = TICKED.filter((name) => cells.column(name) !== undefined).map((name) => [name, cells.column(name), counts.get(name)]);
    for (let row = 0; row < cells.rows; row++) {
      if (ofMachine.codes[row] !== code || !isNamed[variants.codes[row]]) continue;
      let [failed, by] = [0, null];
      for (const facet of facets) {
        if (!facet.passes(row)) { failed += 1; by = facet.name; }
      }
      if (failed === 0) rows.push(row);
      if (failed > 1) continue;
      for (const [name, column, count] of counted) {
        if (failed === 1 && by !== name) continue;
        const key = column.isText ? column.codes[row] : column.values[row];
        count.set(key, (count.get(key) ?? 0) + 1);
      }
    }
    return { rows, counts };
  }

  /** Values of a facet in the order of its list: numbers by size, names as they come. */
  function values(name) {
    const column = cells.column(name);
    const raw = column.isText ? column.words.map((word, code) => [word, code]) : [...new Set(column.values)].filter((value) => !Number.isNaN(value)).map((value) => [String(value), value]);
    if (!column.isText) raw.sort((a, b) => a[1] - b[1]);
    const rowOf = (value) => column.values.indexOf(value);
    return raw.map(([word, value]) => ({ value, key: column.isText ? word : column.key(rowOf(value)), word: name === "run" ? report.data.runs[value]?.label ?? word : word }));
  }

  const boxes = [];

  function facet(name) {
    const all = values(name);
    if (all.length < 2) return null;
    const choose = () => {
      const ticked = boxes.filter((box) => box.name === name && box.input.checked).map((box) => box.key);
      report.state.set(report.state.only(name, ticked));
    };
    const items = all.map(({ value, key, word }) => {
      const input = el("input", { type: "checkbox", on: { change: choose } });
      const count = el("span", { class: "count" });
      boxes.push({ name, key, value, input, count });
      return el("label", {}, input, " ", el("span", { class: "word", title: word }, word), " ", count);
    });
    const title = report.columns.label(name);
    return el("fieldset", { "data-facet": name }, el("legend", {}, title), el("div", { class: "choices" }, items));
  }

  /** Makes the form once. */
  function build() {
    const text = el("input", { type: "search", id: "filter-text", autocomplete: "off", spellcheck: "false", on: { input: () => report.state.set({ text: text.value || undefined }, { instead: true }) } });
    const parts = TICKED.filter((name) => cells.column(name) !== undefined).map(facet);
    replace("filters", ...parts.filter((part) => part !== null),
      el("div", { class: "bar" },
        el("label", {}, "Variants with ", text),
        el("span", { id: "only-variant" }),
        el("button", { type: "button", on: { click: () => report.state.set({ only: {}, text: undefined }) } }, "All cells")));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    const choice = byId("machine");
    if (machines().length > 1) {
      const known = new Map(report.data.machines.map((one) => [one.fingerprint, one.cpu_model]));
      choice.append(...machines().map((one) => el("option", { value: one }, `${known.get(one) ?? "not described"} (${one})`)));
      choice.addEventListener("change", () => report.state.set({ machine: choice.value }));
      byId("machine-choice").hidden = false;
    }
  }

  /** Shows state and counts in the form. */
  function show(counts) {
    const { only, text } = report.state.get();
    for (const { name, key, value, input, count } of boxes) {
      input.checked = only[name]?.includes(key) ?? false;
      const of = counts.get(name).get(value) ?? 0;
      count.textContent = String(of);
      input.parentElement.classList.toggle("none", of === 0);
    }
    const field = byId("filter-text");
    if (field !== null && field.value !== (text ?? "")) field.value = text ?? "";
    byId("machine").value = machine();
    const variants = only.variant ?? [];
    const chip = (name) => el("button", { type: "button", on: { click: () => report.state.set(report.state.only("variant", variants.filter((other) => other !== name))) } },
      `only ${report.format.shortened(name, 60)} ×`);
    replace("only-variant", ...variants.map(chip));
  }

  report.filters = { machine, apply, build, show };
})(window.Report ??= {});
