// One cell: every column, its samples in the order in which they were taken, and the command that runs it again.
(function (report) {
  "use strict";

  const { el, byId, replace, stateLink } = report.dom;
  const { cells, samples, rowOf, axes, runs } = report.data;
  const { label, shown, withInterval, ends } = report.columns;

  let chart;

  /** A word of a command line. */
  const quoted = (word) => (/^[\w\/.,:=+@%-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

  /** A value as it is typed: a whole number of a column that has fractions too is right for either kind of axis. */
  const typed = (name, row) => (cells.column(name).isText ? cells.text(name, row) : String(cells.number(name, row)));

  /** The command, or why there is none. An empty value cannot be written in one; it is the default where an axis may have it. */
  function command(row) {
    const names = ["variant", "engine", ...axes].filter((name) => cells.key(name, row) !== "");
    if (names.some((name) => cells.column(name).isText && cells.column(name).isChanged(row))) {
      return { why: "A name of this cell has characters that no command should carry: cells.csv has it as it was recorded." };
    }
    return { words: ["crossover cell", ...names.map((name) => quoted(`${name.replace(/^axis:/, "")}=${typed(name, row)}`))].join(" ") };
  }

  function commandPart(row) {
    const { words, why } = command(row);
    if (words === undefined) return el("p", {}, why);
    return el("div", {}, el("p", {}, "Run this cell again, in the foreground (an engine of another worker needs a definition that names it):"), el("pre", { id: "detail-command" }, words));
  }

  /** The figures that one looks for first. */
  const HEAD = ["status", "median_ns", "strong_ratio", "ratio", "declared_bytes", "allocator_peak_bytes", "high_water_bytes", "err_method_rel", "err_impl_rel", "share", "gflops", "gbytes", "samples", "rejected"];
  /** Columns that name another cell of the run. */
  const OTHERS = ["base:id", "strong:id", "beside_id", "dominated_by", "rivalled_by"];
  const ENDS = new Set([...cells.columns.keys()].flatMap((name) => ends(name) ?? []));

  function pairs(names, row) {
    const list = names.filter((name) => cells.column(name) !== undefined && cells.text(name, row) !== null);
    return el("dl", {}, list.map((name) => el("div", {}, el("dt", {}, label(name)), el("dd", {}, value(name, row)))));
  }

  function value(name, row) {
    const other = rowOf.get(`${cells.number("run", row)}/${cells.text(name, row)}`);
    if (OTHERS.includes(name) && other !== undefined) {
      return stateLink(`${cells.text("variant", other)} on ${cells.text("engine", other)}${other === row ? " (this cell)" : ""}`, { cell: `${cells.number("run", row)}/${cells.text(name, row)}` }, { focus: "detail" });
    }
    return ends(name) === undefined ? shown(name, row) : withInterval(name, row);
  }

  function samplePart(row) {
    if (samples === null) return el("p", {}, "Samples are left out of this page, since there are too many cells: they are in samples.parquet of the run's folder.");
    const own = samples.cells[row];
    if (own === null || own[0] === 0) return el("p", {}, "There are no samples of this cell.");
    const [taken, ...times] = own;
    const rejected = times.filter((time) => time < 0).length;
    const thinned = taken > times.length ? ` ${times.length} of ${taken} samples, evenly picked (at most ${samples.most} a cell); all are in samples.parquet of the run's folder.` : ` All ${report.format.counted(taken, "sample")}.`;
    const refused = rejected > 0 ? ` Hollow: ${rejected} rejected for a gap or stolen time.` : "";
    return el("figure", {}, el("div", { id: "samples", role: "img", "aria-label": `Times of ${times.length} samples, from ${report.format.time(Math.min(...times.map(Math.abs)))} to ${report.format.time(Math.max(...times.map(Math.abs)))}` }),
      el("figcaption", { class: "note", id: "samples-note" }, `Time of a call, sample by sample in the order in which they were taken; the line is the median, the band its 95 % interval.${thinned}${refused}`));
  }

  function drawSamples(row) {
    chart?.dispose();
    chart = undefined;
    if (byId("samples") === null) return;
    const [taken, ...times] = samples.cells[row];
    const at = (order) => Math.floor((order * taken) / times.length) + 1;
    const points = times.map((time, order) => ({ value: [at(order), Math.abs(time)], itemStyle: time < 0 ? { color: "transparent", borderColor: report.theme.palette()[1], borderWidth: 1 } : undefined }));
    const [middle, low, high] = ["median_ns", "ci_low_ns", "ci_high_ns"].map((name) => cells.number(name, row));
    const text = report.theme.colour("text");
    const line = { color: text, width: 1, type: "solid" };
    chart = report.chart.canvas(byId("samples"));
    chart.setOption({
      animation: false, backgroundColor: report.theme.colour("page"), grid: { left: 78, right: 24, top: 12, bottom: 44 },
      xAxis: { type: "value", name: "sample", nameLocation: "middle", nameGap: 26, min: 1, max: Math.max(taken, 2), axisLabel: { color: text }, nameTextStyle: { color: text }, splitLine: { show: false } },
      yAxis: { type: "value", scale: true, axisLabel: { color: text, formatter: report.format.time }, splitLine: { lineStyle: { color: report.theme.colour("line") } } },
      tooltip: { trigger: "item", confine: true, formatter: ({ value }) => el("span", {}, `sample ${value[0]}: ${report.format.time(value[1])}`) },
      series: [{
        type: "scatter", data: points, symbolSize: 6, itemStyle: { color: report.theme.palette()[0] },
        markLine: Number.isFinite(middle) ? { silent: true, symbol: "none", label: { show: false }, lineStyle: line, data: [{ yAxis: middle }] } : undefined,
        markArea: Number.isFinite(low) && Number.isFinite(high) ? { silent: true, itemStyle: { color: report.theme.colour("band") }, data: [[{ yAxis: low }, { yAxis: high }]] } : undefined,
      }],
    });
  }

  /** The chosen row; undefined where none is chosen, null where the report has no such cell. */
  function chosen() {
    const { cell } = report.state.get();
    return cell === undefined ? undefined : rowOf.get(cell) ?? null;
  }

  function close() {
    const { cell } = report.state.get();
    report.state.set({ cell: undefined });
    const link = [...document.querySelectorAll("[data-cell]")].find((one) => one.dataset.cell === cell);
    (link ?? byId("chart")).focus();
  }

  /** Shows the chosen cell; `go` takes the reader there. */
  function show(go) {
    const row = chosen();
    const part = byId("detail");
    part.hidden = row === undefined;
    if (row === undefined) {
      chart?.dispose();
      chart = undefined;
      return;
    }
    const closer = el("button", { type: "button", id: "detail-close", on: { click: close } }, "Close");
    if (row === null) {
      replace("detail-title", "No such cell");
      replace("detail-body", el("p", {}, "This report has no cell of that name."), closer);
    } else {
      replace("detail-title", `${cells.text("variant", row)} on ${cells.text("engine", row)}`);
      const taken = new Set([...HEAD, ...axes, ...ENDS, ...OTHERS, "variant", "engine", "reason", "stderr_tail", "strong:variant", "base:variant", "base:engine"]);
      const rest = [...cells.columns.keys()].filter((name) => !taken.has(name));
      const reason = ["reason", "stderr_tail"].map((name) => [name, cells.text(name, row)]).filter(([, text]) => text !== null);
      replace("detail-body", closer,
        ...reason.map(([name, text]) => el("div", {}, el("strong", {}, name === "reason" ? "Reason" : "Last lines of the worker's stderr"), el("pre", {}, text))),
        el("h3", {}, "Figures"), pairs([...HEAD, ...OTHERS], row),
        el("h3", {}, "Problem and parameters"), pairs(axes, row),
        el("h3", {}, "Samples"), samplePart(row), commandPart(row),
        el("p", {}, `From run ${runs[cells.number("run", row)]?.label}, id ${cells.text("id", row)}.`),
        el("details", {}, el("summary", {}, "All other columns"), pairs(rest, row)));
      drawSamples(row);
    }
    if (go) {
      part.scrollIntoView({ block: "start" });
      part.focus({ preventScroll: true });
    }
  }

  addEventListener("keydown", (event) => { if (event.key === "Escape" && byId("detail").contains(document.activeElement)) close(); });

  report.detail = { show, redraw: () => show(false) };
})(window.Report ??= {});
