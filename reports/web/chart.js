// The chart: makes what `marks` and `heatmap` describe, its controls, its tooltip, and its keyboard.
(function (report) {
  "use strict";

  const { el, byId, replace, say, stateLink } = report.dom;
  const { cells } = report.data;
  const { label, choices, withInterval, shown, setting } = report.columns;

  let chart;
  let placed = [];
  let at = -1;
  let current = null;

  /** What the tooltip and the screen reader tell of a cell. */
  function lines(row) {
    const figures = ["median_ns", "strong_ratio", "ratio", "declared_bytes", "err_method_rel", "share"].filter((name) => cells.column(name) !== undefined);
    const status = cells.text("status", row);
    return [
      `${cells.text("variant", row)} on ${cells.text("engine", row)}${status === "ok" ? "" : ` (${status})`}`,
      setting(row),
      ...figures.map((name) => `${label(name)}: ${withInterval(name, row)}`),
      `samples: ${shown("samples", row)}`,
    ];
  }

  function tip(row, field) {
    const some = field !== undefined && field.rows.length > 1;
    const text = some ? [`${report.format.counted(field.rows.length, "cell")}, median ${report.format.value(field.middle, report.columns.unit(current.value))}`, "Open the first of them:", ...lines(row)] : lines(row);
    return el("div", { class: "tip" }, text.filter((line) => line !== "").map((line, order) => el(order === 0 ? "strong" : "span", {}, report.format.shortened(line, 160))));
  }

  const open = (row) => report.state.set({ cell: `${cells.number("run", row)}/${cells.text("id", row)}` });

  const frame = () => ({
    animation: false, backgroundColor: report.theme.colour("page"), textStyle: { color: report.theme.colour("text") },
    grid: { left: 78, right: 24, top: 46, bottom: 52 },
    tooltip: {
      trigger: "item", confine: true, enterable: false, transitionDuration: 0, backgroundColor: report.theme.colour("card"), borderColor: report.theme.colour("faint"),
      textStyle: { color: report.theme.colour("text") }, formatter: (params) => (params.data?.field ? tip(params.data.field.rows[0], params.data.field) : Array.isArray(params.data) && params.data.length === 3 && params.seriesType === "scatter" ? tip(params.data[2]) : ""),
    },
  });

  /** As `theme.SHAPES`, for the key. */
  const MARKS = { circle: "●", rect: "■", triangle: "▲", diamond: "◆", roundRect: "▬", pin: "◉", arrow: "▴" };

  /** The key above the chart; a press takes a group out of the chart, another brings it back. The library's own cuts off names where the page is narrow. */
  function key(sets) {
    const one = ({ name, colour, shape }) => {
      const mark = el("span", { "aria-hidden": "true" }, `${MARKS[shape]} `);
      mark.style.color = colour;
      const toggle = () => {
        chart.dispatchAction({ type: "legendToggleSelect", name });
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      };
      const button = el("button", { type: "button", "aria-pressed": "true", on: { click: toggle } }, mark, report.format.shortened(name.slice(1), 40));
      return button;
    };
    replace("key", ...sets.map(one));
  }

  /** Draws these rows; `part` says what was left out of those that the filters leave. */
  function draw(view, rows, part = null) {
    current = view;
    byId("chart").hidden = view === null;
    if (view === null) return;
    const made = view.heatmap ? report.heatmap.option(view, rows) : report.marks.option(view, rows);
    const own = frame();
    const narrow = byId("chart").clientWidth < 500;
    if (narrow) own.grid = { ...own.grid, left: 66, right: 10 };
    if (!view.heatmap) own.grid = { ...own.grid, top: 16 };
    key(view.heatmap ? [] : made.sets);
    if (narrow) made.option.yAxis.nameGap = 50;
    chart ??= begin();
    chart.setOption({ ...own, ...made.option, ...(view.heatmap ? {} : { legend: { show: false, data: made.sets.map(({ name }) => ({ name })) } }) }, { notMerge: true });
    placed = [...made.placed].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    at = -1;
    const what = view.heatmap ? `${label(view.value)} over ${label(view.x)} and ${label(view.y)}` : `${label(view.y)} over ${label(view.x)}, by ${label(view.colour)}`;
    const count = view.heatmap ? report.format.counted(placed.length, "field") : report.format.counted(placed.length, "cell");
    byId("chart").setAttribute("aria-label", `Chart: ${what}, ${count}`);
    // What the chart leaves out on its own is told with the way to all of it.
    const all = part === null ? [] : [`To begin with only ${part.words.join(", ")}${view.first.length > 0 ? "; colours: the variants of the answer" : ""}. `, stateLink("All that the filters leave", { view: view.id }), ". "];
    replace("chart-note", ...all, `${what}: ${count}. ${made.notes.map((note) => `${note[0].toUpperCase()}${note.slice(1)}.`).join(" ")}`);
  }

  /** A chart that is as large as its element. */
  function canvas(element) {
    const made = echarts.init(element, null, { renderer: "canvas" });
    new ResizeObserver(() => { if (!made.isDisposed()) made.resize(); }).observe(element);
    return made;
  }

  function begin() {
    const made = canvas(byId("chart"));
    made.on("click", ({ data }) => {
      const row = data?.field?.rows[0] ?? (Array.isArray(data) ? data[2] : undefined);
      if (row !== undefined) open(row);
    });
    return made;
  }

  /** Goes to the point that far from the present one. */
  function step(by) {
    if (placed.length === 0) return;
    at = at < 0 ? (by > 0 ? 0 : placed.length - 1) : (at + by + placed.length) % placed.length;
    const [x, y, row, field] = placed[at];
    const [left, top] = chart.convertToPixel({ xAxisIndex: 0, yAxisIndex: 0 }, [x, y]);
    const box = byId("chart-cursor") ?? byId("chart").appendChild(el("div", { id: "chart-cursor", class: "cursor" }));
    box.style.left = `${left}px`;
    box.style.top = `${top}px`;
    box.replaceChildren(tip(row, field));
    box.classList.toggle("left", left > byId("chart").clientWidth / 2);
    say(`${at + 1} of ${placed.length}: ${lines(row).filter((line) => line !== "").join(", ")}`);
  }

  function leave() {
    byId("chart-cursor")?.remove();
    at = -1;
  }

  function pressed(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20 };
    if (event.key in steps) step(steps[event.key]);
    else if (event.key === "Home") { at = -1; step(1); } else if (event.key === "End") { at = -1; step(-1); } else if (event.key === "Escape") leave();
    else if ((event.key === "Enter" || event.key === " ") && at >= 0) open(placed[at][2]);
    else return;
    event.preventDefault();
  }

  function select(name, title, groups) {
    const group = ([heading, names]) => el("optgroup", { label: heading }, names.map((one) => el("option", { value: one }, label(one))));
    const field = el("select", { id: `axis-${name}`, on: { change: () => report.state.set({ [name]: field.value }) } }, groups.filter(([, names]) => names.length > 0).map(group));
    return el("label", { id: `label-${name}` }, `${title} `, field);
  }

  function tick(name, title) {
    const field = el("input", { type: "checkbox", id: `axis-${name}`, on: { change: () => report.state.set({ [name]: field.checked ? "1" : "0" }) } });
    return el("label", { id: `label-${name}` }, field, ` ${title}`);
  }

  /** Makes presets and controls once. */
  function build() {
    if (report.presets.views.length === 0) {
      byId("chart").hidden = byId("chart-help").hidden = true;
      return;
    }
    const clear = { x: undefined, y: undefined, colour: undefined, value: undefined, logx: undefined, logy: undefined };
    const preset = (view) => el("button", { type: "button", "data-view": view.id, on: { click: () => report.state.set({ ...clear, view: view.id }) } }, view.title);
    replace("presets", ...report.presets.views.map(preset));
    const any = [["axes", choices.axes], ["figures", choices.figures], ["names", choices.texts]];
    const few = [["names", [...choices.texts, ...["run"].filter((name) => cells.column(name) !== undefined)]], ["axes", choices.axes]];
    replace("axes", select("x", "Across", any), select("y", "Up", any), select("colour", "Colour", few), select("value", "Field", [["figures", choices.figures]]), tick("logx", "log across"), tick("logy", "log up"));
    byId("axes").addEventListener("submit", (event) => event.preventDefault());
    byId("chart").addEventListener("keydown", pressed);
    byId("chart").addEventListener("blur", leave);
  }

  /** Shows the state in the controls. */
  function show(view) {
    if (view === null) return;
    for (const button of byId("presets").children) button.setAttribute("aria-pressed", String(button.dataset.view === view.id));
    for (const name of ["x", "y", "colour", "value"]) if (view[name] !== undefined) byId(`axis-${name}`).value = view[name];
    for (const name of ["logx", "logy"]) byId(`axis-${name}`).checked = view[name];
    for (const name of ["colour", "logx", "logy"]) byId(`label-${name}`).hidden = view.heatmap ?? false;
    byId("label-value").hidden = !(view.heatmap ?? false);
  }

  report.chart = { canvas, build, show, draw, placed: () => placed, instance: () => chart };
})(window.Report ??= {});
