// The questions that the chart answers with one click, and what it shows when only a part of them was changed.
(function (report) {
  "use strict";

  const { cells } = report.data;
  const { choices, varies } = report.columns;
  const has = (name) => cells.column(name) !== undefined;
  const first = (names) => names.find((name) => has(name) && varies(name)) ?? names.find(has);

  /** The axes that things are swept over: the length first, then whatever has most values. */
  function sizes() {
    const isNumber = (name) => !cells.column(name).isText && !["axis:seed", "axis:threads", "axis:pattern_seed"].includes(name);
    const count = (name) => new Set(cells.column(name).values).size;
    const known = ["axis:n", "axis:n_kv"].filter(has);
    const others = choices.axes.filter((name) => isNumber(name) && !known.includes(name)).sort((a, b) => count(b) - count(a));
    return [...known, ...others];
  }

  /** The axis of the method that is swept most: rank, sparsity, ... */
  function parameter() {
    const count = (name) => (new Set(cells.column(name).values).size > 3 ? cells.column(name).values.filter((value) => !Number.isNaN(value)).length : 0);
    const all = sizes().filter((name) => report.data.parameters.includes(name)).sort((a, b) => count(b) - count(a));
    return all[0] ?? first(sizes());
  }

  /** What goes best with this axis in a heatmap: the size with the most fields, if there are three by three; else the variants. */
  function partner(name) {
    if (cells.column(name)?.isText ?? true) return "engine";
    const values = cells.column(name).values;
    const spread = (other) => {
      const column = cells.column(other).values;
      const both = Array.from(values.keys()).filter((row) => !Number.isNaN(values[row]) && !Number.isNaN(column[row]));
      const [across, up] = [values, column].map((of) => new Set(both.map((row) => of[row])).size);
      return across > 2 && up > 2 ? new Set(both.map((row) => `${values[row]}/${column[row]}`)).size : 0;
    };
    const best = sizes().filter((other) => other !== name).map((other) => [spread(other), other]).sort(([a], [b]) => b - a)[0];
    return best !== undefined && best[0] >= 9 ? best[1] : "variant";
  }

  function all() {
    const size = first(sizes()) ?? "variant";
    const ratio = first(["strong_ratio", "ratio"]) ?? "median_ns";
    const colour = first(["variant", "engine"]) ?? "variant";
    return [
      { id: "ratio", title: "Ratio to the strong baseline", x: size, y: ratio, colour, logx: true, logy: true, curves: true },
      { id: "pareto", title: "Time against error", x: "err_method_rel", y: "median_ns", colour, logx: true, logy: true, pareto: true },
      { id: "memory", title: "Memory", x: size, y: "declared_bytes", colour, logx: true, logy: true, curves: true },
      { id: "share", title: "Share of the ceiling", x: size, y: "share", colour: first(["engine", "variant"]), logx: true, logy: true, curves: true },
      { id: "roofline", title: "Roofline", x: "intensity", y: "gflops", colour: first(["engine", "variant"]), logx: true, logy: true, roofline: true },
      { id: "error", title: `Error over ${report.columns.label(parameter() ?? size)}`, x: parameter() ?? size, y: "err_method_rel", colour, logx: true, logy: true, curves: true },
      { id: "heatmap", title: "Heatmap", x: size, y: partner(size), value: ratio, colour, heatmap: true },
    ].filter((view) => has(view.x) && has(view.y));
  }

  const views = all();

  /** More variants than there are colours tell nothing: then families, or engines, are told apart. */
  function colourOf(wanted, rows, first) {
    // Those of the answer have the colours.
    if (wanted === "variant" && first.length > 0) return wanted;
    const column = cells.column(wanted);
    const count = (name) => new Set(rows.map((row) => cells.key(name, row))).size;
    if (wanted !== "variant" || new Set(rows.map((row) => column.codes[row])).size <= 9) return wanted;
    return ["family", "engine"].find((name) => count(name) > 1) ?? wanted;
  }

  /** The view of these rows that is shown: a preset, and whatever was changed of it. Null where no two columns have values. */
  function current(rows, first = []) {
    const state = report.state.get();
    const preset = views.find((view) => view.id === state.view) ?? views[0];
    if (preset === undefined) return null;
    const named = (name) => (state[name] !== undefined && has(state[name]) ? state[name] : preset[name]);
    const flag = (name) => (state[name] === undefined ? preset[name] ?? false : state[name] === "1");
    const view = { ...preset, x: named("x"), y: named("y"), colour: state.colour === undefined ? colourOf(preset.colour, rows, first) : named("colour"), first, value: named("value"), logx: flag("logx"), logy: flag("logy") };
    // Ceilings belong to operations a byte and a second, and nowhere else.
    return { ...view, roofline: preset.roofline && view.x === "intensity" && view.y === "gflops" };
  }

  /** The families in one picture are smears: untouched, the chart has one family on its fastest engine, in one precision, with the fewest threads. */
  function narrowed(rows) {
    const state = report.state.get();
    const touched = ["view", "x", "y", "colour", "value", "logx", "logy", "text"].some((name) => state[name] !== undefined) || Object.keys(state.only).length > 0;
    const families = new Set(rows.map((row) => cells.key("family", row)));
    if (touched || views.length === 0 || families.size < 2) return null;
    const counts = (name, of) => of.reduce((by, row) => by.set(cells.key(name, row), (by.get(cells.key(name, row)) ?? 0) + 1), new Map());
    const most = (name, of) => [...counts(name, of)].sort((a, b) => b[1] - a[1])[0][0];
    const family = families.has("attention") ? "attention" : most("family", rows);
    const only = { family: [family] };
    let left = rows.filter((row) => cells.key("family", row) === family);
    const keep = (name, value) => {
      if (cells.column(name) === undefined || !counts(name, left).has(value) || counts(name, left).size < 2) return;
      only[name] = [value];
      left = left.filter((row) => cells.key(name, row) === value);
    };
    keep("engine", report.data.fastest.get(`${report.filters.machine()}/${family}`));
    keep("axis:precision", counts("axis:precision", left).has("f32") ? "f32" : most("axis:precision", left));
    keep("axis:threads", [...counts("axis:threads", left).keys()].sort((a, b) => Number(a) - Number(b))[0]);
    return { rows: left, only, words: Object.values(only).flat().map((value, at) => (Object.keys(only)[at] === "axis:threads" ? report.format.counted(Number(value), "thread") : value)) };
  }

  report.presets = { views, current, narrowed };
})(window.Report ??= {});
