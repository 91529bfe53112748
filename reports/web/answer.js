// The answer: where each variant overtakes the strong baseline, as the frames found it (`reports/src/frames/crossover.rs`), and at what cost.
(function (report) {
  "use strict";

  const { el, replace, stateLink } = report.dom;
  const { cells, crossovers } = report.data;
  const { format } = report;
  const { label } = report.columns;
  /** Variants of a family on its first screen, by standing. */
  const LISTED = new Map(report.data.listed);
  /** Lines of a family that do not pay before all are asked for. */
  const FEW = 6;
  const SHOWN = [["pays", "those that pay"], ["all", "all"], ["not", "those that do not"]];
  const ENGINES = [["fastest", "each family's fastest engine"], ["all", "all engines"]];

  /** Families of which all lines are asked for. */
  const opened = new Set();

  const number = (name, line) => crossovers.number(name, line);
  const text = (name, line) => crossovers.text(name, line) ?? "";
  const size = (value) => (Math.abs(value) >= 10 ? String(Math.round(value)) : format.plain(value));

  const pays = (line) => text("pays", line) === "true";
  const isFarOff = (line) => text("standing", line) === "far-off";

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

  /** In the order of the summary, which `reports/src/frames/standing.rs` settles: within a family engine by engine, the one that it uses first. */
  function ordered(lines) {
    const machine = report.filters.machine();
    const rank = (line) => (report.data.fastest.get(`${machine}/${text("family", line)}`) === text("engine", line) ? 0 : 1);
    return [...lines].sort((a, b) => rank(a) - rank(b) || text("engine", a).localeCompare(text("engine", b)) || number("place", a) - number("place", b));
  }

  /** Of lines in order those of a first screen: one a variant, and so many of each standing. */
  function firsts(lines) {
    const [seen, left] = [new Set(), new Map()];
    return lines.filter((line) => {
      const [of, standing] = [`${text("engine", line)}/${text("variant", line)}`, `${text("engine", line)}/${text("standing", line)}`];
      if (seen.has(of)) return false;
      seen.add(of);
      left.set(standing, (left.get(standing) ?? LISTED.get(text("standing", line)) ?? 0) - 1);
      return left.get(standing) >= 0;
    });
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

  // heading, what stands in it, whether that is a figure, the heading in few words
  const COLUMNS = [
    ["faster", (line) => stateLink(text("words", line), towards(line), { focus: "explore", class: pays(line) ? "pays" : undefined }), false],
    ["variant", variant, false],
    ["engine", (line) => format.shortened(text("engine", line), 40), false],
    ["regime", regime, false],
    ["time over the strong baseline's", ratio, true, "time"],
    ["error", (line) => format.value(number("err_method_rel", line), "error") + (text("own_function", line) === "true" ? " ‡" : ""), true],
    ["memory over the declared baseline's", (line) => format.value(number("declared_ratio", line), "ratio"), true, "memory"],
    ["points", points, true],
    ["strong baseline", (line) => format.shortened(text("against", line), 60), false, "against"],
  ];

  /** The part of the table that is about one family: what pays, then what is faster and far off, or the lines that are asked for. */
  function part([family, lines], wanted, columns) {
    const all = ordered(lines).filter((line) => wanted === "all" || (wanted === "not" ? !pays(line) : pays(line) || isFarOff(line)));
    const open = opened.has(family);
    const told = open ? all : wanted === "pays" ? firsts(all) : all.slice(0, FEW);
    const engines = [...new Set(lines.map((line) => text("engine", line)))];
    const where = engines.length > 3 ? `${engines.length} engines` : engines.map((engine) => format.shortened(engine, 40)).join(", ");
    const toggle = () => { if (open) opened.delete(family); else opened.add(family); show(); };
    const more = open || all.length > told.length ? el("button", { type: "button", class: "link", "aria-expanded": String(open), on: { click: toggle } }, open ? "fewer" : `all ${all.length}${wanted === "pays" ? " that are faster" : ""}`) : null;
    const count = `${format.shortened(family, 60)} on ${where}: ${lines.filter(pays).length} of ${format.counted(lines.length, "curve")} pay${lines.length === 1 ? "s" : ""} `;
    const across = (kind, ...words) => el("tr", {}, el("th", { scope: "rowgroup", colspan: String(columns.length), class: kind }, words));
    const row = (line) => el("tr", {}, columns.map(([heading, of, isFigure, few]) => el("td", { class: isFigure ? "figure" : false, "data-label": few ?? heading }, of(line))));
    const rows = [];
    for (const [at, line] of told.entries()) {
      // What pays stands first and needs no words; what does not is told apart, and why.
      const apart = text("standing", line);
      if (!pays(line) && (at === 0 || text("standing", told[at - 1]) !== apart)) {
        rows.push(across("apart", apart === "far-off" ? "Faster too, but more than 10 % off on these inputs; the smallest error first" : "Not shown to be faster from any size on"));
      }
      rows.push(row(line));
    }
    return el("tbody", {}, across("family", count, more), rows);
  }

  function floors() {
    const { runs } = report.data;
    const all = [...new Set(runs.map((run) => `${format.percent(run.floor)}${run.noise === null ? ", taken where it was not measured" : ""}`))];
    return runs.length === 0 ? "" : `Within the runs' noise floor (${all.join("; ")}) nothing counts as faster or slower. `;
  }

  const ABOUT = "An optimisation pays where its time, with the whole 95 % interval of the ratio, is below that of the strong baseline: the fastest cell that computes the exact result on the same engine, in the same "
    + "precision, with the same threads, and its error is not above 10 %. The crossing is interpolated between measured points as if the curve were straight between them; [..] is how far the intervals of the times and the noise "
    + "leave it open, and nothing is said beyond the last point. First stands what computes the exact result, the largest gain first; then approximations, the smallest error first; then what computes another "
    + "function in the baseline's place; then what is faster too but more than 10 % off. Of a variant in several settings, precisions or numbers of threads the one that comes first in this order is shown, as in summary.md; "
    + "\"all\" shows the others. ‡: the error is the distance from a function of the variant's own. Time, error (relative, against the exact result; on random inputs "
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
      el("p", { class: "bar" }, el("label", {}, "Show ", choice("verdict", SHOWN, wanted)), el("label", {}, "on ", choice("engines", ENGINES, state.engines ?? ENGINES[0][0])), wanted === "pays" ? "one line a variant, as in the summary" : "one line a curve"),
      all.length === 0 ? el("p", {}, "No curve with these filters: no variant of theirs was measured beside a baseline at two sizes or more.")
        : el("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "answer-title" }, el("table", {}, head, all.map((family) => part(family, wanted, columns)))),
      el("details", {}, el("summary", {}, "How to read this"), el("p", {}, ABOUT, floors(), "Emulated cells are not ranked.")));
  }

  /** The variants that a family's first screen tells of, in its order; for the chart, which has colours for a few. */
  function told(family) {
    const lines = families().get(family) ?? [];
    return [...new Set(firsts(ordered(lines).filter((line) => pays(line) || isFarOff(line))).map((line) => text("variant", line)))];
  }

  report.answer = { show, told };
})(window.Report ??= {});
