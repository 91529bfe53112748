// The answer: where each variant overtakes the strong baseline, as the frames found it (`reports/src/frames/crossover.rs`), and at what cost.
(function (report) {
  "use strict";

  const { el, replace, stateLink } = report.dom;
  const { cells, crossovers } = report.data;
  const { format } = report;
  const { label } = report.columns;
  /** Lines of a family before all are asked for. */
  const FEW = 3;
  const SHOWN = [["pays", "those that pay"], ["all", "all"], ["not", "those that do not"]];
  const ENGINES = [["fastest", "each family's fastest engine"], ["all", "all engines"]];

  /** Families of which all lines are asked for. */
  const opened = new Set();

  const number = (name, line) => crossovers.number(name, line);
  const text = (name, line) => crossovers.text(name, line) ?? "";
  const plain = (value) => format.figure(value).replace(/\.0+$/, "");
  const size = (value) => (Math.abs(value) >= 10 ? String(Math.round(value)) : plain(value));

  const pays = (line) => text("pays", line) === "true";

  /** The lines that the filters leave, by family: a line has one machine, family, engine, precision, number of threads and run. */
  function families() {
    const state = report.state.get();
    const words = (state.text ?? "").toLowerCase().split(/\s+/).filter((word) => word !== "");
    const machine = report.filters.machine();
    const anyEngine = state.engines === "all" || state.only.engine !== undefined;
    const passes = (line) => {
      if (text("machine", line) !== machine) return false;
      if (!anyEngine && report.data.fastest.get(`${machine}/${text("family", line)}`) !== text("engine", line)) return false;
      const kept = Object.entries(state.only).every(([name, values]) => crossovers.columns.get(name) === undefined || values.includes(crossovers.key(name, line)));
      return kept && words.every((word) => text("variant", line).toLowerCase().includes(word));
    };
    const by = new Map();
    for (let line = 0; line < crossovers.rows; line++) {
      if (!passes(line)) continue;
      const family = text("family", line);
      if (!by.has(family)) by.set(family, []);
      by.get(family).push(line);
    }
    return by;
  }

  /** Those that pay first, by their error; the others by how near they come. */
  function ordered(lines) {
    const known = (value) => (Number.isNaN(value) ? Infinity : value);
    const key = (line) => (pays(line) ? [0, known(number("err_method_rel", line))] : [1, known(number("ratio", line))]);
    return lines.map((line) => ({ line, key: key(line) })).sort((a, b) => a.key[0] - b.key[0] || a.key[1] - b.key[1] || a.line - b.line).map(({ line }) => line);
  }

  /** The filters that leave the cells of a line, seen over its axis. */
  function towards(line) {
    const only = {};
    for (const name of ["family", "engine", "axis:precision", "axis:threads", "variant", "run"]) {
      const key = crossovers.key(name, line);
      if (key !== "" && (name !== "run" || report.data.runs.length > 1)) only[name] = [key];
    }
    return { only, text: undefined, view: "ratio", x: text("axis", line), y: undefined, colour: undefined, logx: undefined, logy: undefined };
  }

  /** How the cells of a line were run. */
  function regime(line) {
    const known = ["axis:precision", "axis:threads"].filter((name) => crossovers.key(name, line) !== "");
    const where = known.map((name) => (name === "axis:threads" ? format.counted(number(name, line), "thread") : text(name, line)));
    if (report.data.runs.length > 1) where.push(`run ${report.data.runs[number("run", line)]?.label ?? "?"}`);
    return where.join(", ");
  }

  function variant(line) {
    // The precision and the threads stand in a column of their own.
    const parts = text("setting", line).split(", ").filter((part) => part !== "" && !/^(precision|threads) = /.test(part));
    return el("span", {}, el("strong", {}, format.shortened(text("variant", line), 80)), parts.length === 0 ? "" : ` (${format.shortened(parts.join(", "), 80)})`);
  }

  function points(line) {
    const without = number("failed", line) + number("alone", line);
    return `${number("points", line)}${without > 0 ? ` of ${number("points", line) + without}` : ""}`;
  }

  function ratio(line) {
    const shown = format.interval(number("ratio", line), number("ratio_low", line), number("ratio_high", line), "ratio");
    const where = `at ${label(text("axis", line))} = ${size(number("at", line))}`;
    return stateLink(`${shown} ${where}`, { cell: `${number("run", line)}/${text("id", line)}` });
  }

  // heading, what stands in it, whether that is a figure
  const COLUMNS = [
    ["pays", (line) => stateLink(text("words", line), towards(line), { focus: "explore", class: pays(line) ? "pays" : undefined }), false],
    ["variant", variant, false],
    ["engine", (line) => format.shortened(text("engine", line), 40), false],
    ["regime", regime, false],
    ["time over the baseline's", ratio, true],
    ["error", (line) => format.value(number("err_method_rel", line), "error") + (text("own_function", line) === "true" ? " ‡" : ""), true],
    ["memory", (line) => format.value(number("declared_ratio", line), "ratio"), true],
    ["points", points, true],
    ["strong baseline", (line) => format.shortened(text("against", line), 60), false],
  ];

  /** The part of the table that is about one family. */
  function part([family, lines], wanted, columns) {
    const told = ordered(lines).filter((line) => wanted === "all" || pays(line) === (wanted === "pays"));
    const engines = [...new Set(lines.map((line) => text("engine", line)))];
    const where = engines.length > 3 ? `${engines.length} engines` : engines.map((engine) => format.shortened(engine, 40)).join(", ");
    const open = opened.has(family);
    const toggle = () => { if (open) opened.delete(family); else opened.add(family); show(); };
    const more = told.length > FEW ? el("button", { type: "button", class: "link", "aria-expanded": String(open), on: { click: toggle } }, open ? "fewer" : `all ${told.length}`) : null;
    const count = `${format.shortened(family, 60)} on ${where}: ${lines.filter(pays).length} of ${format.counted(lines.length, "curve")} pay `;
    const heading = el("tr", {}, el("th", { scope: "rowgroup", colspan: String(columns.length), class: "family" }, count, more));
    const row = (line) => el("tr", {}, columns.map(([, of, isFigure]) => el("td", { class: isFigure ? "figure" : false }, of(line))));
    return el("tbody", {}, heading, (open ? told : told.slice(0, FEW)).map(row));
  }

  function floors() {
    const all = [...new Set(report.data.runs.map((run) => run.noise?.floor).filter((floor) => floor !== undefined))];
    return all.length === 0 ? "The noise of these runs was not measured. " : `Within the runs' noise floor (${all.map(format.percent).join(", ")}) nothing counts as faster or slower. `;
  }

  const ABOUT = "An optimisation pays where its time, with the whole 95 % interval of the ratio, is below that of the strong baseline: the fastest cell that computes the exact result on the same engine, in the same "
    + "precision, with the same threads, and its error is not above 10 %. The crossing is interpolated between measured points as if the curve were straight between them; [..] is how far the intervals of the times and the noise "
    + "leave it open, and nothing is said beyond the last point. ‡: the error is the distance from a function of the variant's own. Time, error (relative, against the exact result; on random inputs "
    + "an approximation loses more than on a trained model's) and declared memory (over the declared baseline's) are those of the point where it is first faster, else of where it comes nearest. ";

  function show() {
    const state = report.state.get();
    if (crossovers.rows === 0) {
      const why = cells.rows === 0 ? "There are no cells: nothing was finished." : "Nothing can be said: no variant was measured beside a baseline at two sizes or more.";
      replace("answer-body", el("p", {}, why));
      return;
    }
    const wanted = state.verdict ?? "pays";
    const choice = (name, options, value) => {
      const field = el("select", { id: name, on: { change: () => report.state.set({ [name]: field.value === options[0][0] ? undefined : field.value }) } },
        options.map(([key, title]) => el("option", { value: key, selected: key === value }, title)));
      return field;
    };
    const all = [...families()];
    // Where each family has one engine, its heading names it.
    const several = all.some(([, lines]) => lines.some((line) => text("engine", line) !== text("engine", lines[0])));
    const columns = COLUMNS.filter(([heading]) => heading !== "engine" || several);
    const head = el("thead", {}, el("tr", {}, columns.map(([heading, , isFigure]) => el("th", { scope: "col", class: isFigure ? "figure" : false }, heading))));
    replace("answer-body",
      el("p", { class: "bar" }, el("label", {}, "Show ", choice("verdict", SHOWN, wanted)), el("label", {}, "on ", choice("engines", ENGINES, state.engines ?? ENGINES[0][0])), "the smallest error first"),
      all.length === 0 ? el("p", {}, "No curve with these filters: no variant of theirs was measured beside a baseline at two sizes or more.")
        : el("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "answer-title" }, el("table", {}, head, all.map((family) => part(family, wanted, columns)))),
      el("details", {}, el("summary", {}, "How to read this"), el("p", {}, ABOUT, floors(), "Emulated cells are not ranked.")));
  }

  report.answer = { show };
})(window.Report ??= {});
