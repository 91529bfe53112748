// Puts the parts together: the state decides what is shown, and every change of it draws what depends on it.
(function (report) {
  "use strict";

  const { el, byId, replace, say } = report.dom;
  const { cells, runs, links } = report.data;
  const { state, filters, format } = report;

  function head() {
    replace("title", document.title);
    const statuses = cells.column("status")?.words ?? [];
    const counts = statuses.map((word, code) => `${cells.column("status").codes.reduce((sum, other) => sum + (other === code), 0)} ${word}`);
    replace("summary", cells.rows === 0 ? `There are no cells in ${format.counted(runs.length, "run")}: nothing was finished.` : `${format.counted(cells.rows, "cell")} of ${format.counted(runs.length, "run")}: ${counts.join(", ")}.`);
    // What limits the worth of the figures stands above all of them.
    const whose = (run) => (runs.length > 1 ? `Run ${run.label}: ` : "");
    const warnings = runs.flatMap((run) => [...run.warnings, ...run.notes].map((text) => `${whose(run)}${text}.`));
    byId("warnings").hidden = warnings.length === 0;
    replace("warnings", ...warnings.map((text) => el("li", {}, text)));
    const parts = [["answer", "Answer"], ["explore", "Explore"], ["cells", "Cells"], ["failures", "Failures"], ...(report.peers.isThere ? [["peers", "Peers"]] : []), ...(report.trend.isThere ? [["trend", "Trend"]] : []), ["about", "Machines and runs"]];
    const jump = ([id, title]) => el("button", { type: "button", class: "link", on: { click: () => byId(id).scrollIntoView() } }, title);
    const machines = report.data.machines.map((one) => `${one.cpu_model ?? "unknown processor"}, ${one.usable_cores ?? "?"} of ${one.logical_cores ?? "?"} cores`);
    if (machines.length === 1) byId("summary").append(` ${machines[0]}.`);
    replace("links", ...parts.map(jump), ...links.map((link) => el("a", { href: encodeURIComponent(link) }, link)));
    document.querySelector("[data-skip]").addEventListener("click", (event) => { event.preventDefault(); byId("filters").focus(); });
  }

  /** Draws everything that depends on filters and axes; tells how long it took. */
  function draw() {
    const began = performance.now();
    const { rows, counts } = filters.apply();
    filters.show(counts);
    report.answer.show();
    const part = report.presets.narrowed(rows);
    const view = report.presets.current(part?.rows ?? rows, part === null ? [] : report.answer.told(part.only.family[0]));
    report.chart.show(view);
    report.chart.draw(view, part?.rows ?? rows, part);
    report.table.show(rows);
    report.about.show();
    report.shown = rows.length;
    report.took = performance.now() - began;
    return rows;
  }

  const only = (state, but) => JSON.stringify(Object.entries(state).filter(([name]) => !but.includes(name)).sort());

  /** Draws what a change of the state asks for. */
  function changed(now, before) {
    const themed = report.theme.apply();
    if (themed || only(now, ["cell", "theme", "page", "sort"]) !== only(before, ["cell", "theme", "page", "sort"])) {
      const rows = draw();
      say(`${format.counted(rows.length, "cell")} of ${cells.rows} shown`);
    } else if (now.page !== before.page || now.sort !== before.sort || now.cell !== before.cell) {
      report.table.show(filters.apply().rows);
    }
    if (now.cell !== before.cell) report.detail.show(true);
    else if (themed) report.detail.redraw();
  }

  function begin() {
    head();
    report.peers.begin();
    report.trend.begin();
    report.theme.apply();
    report.theme.build(() => { draw(); report.detail.redraw(); });
    if (cells.rows === 0) {
      byId("explore").hidden = true;
      report.about.begin();
      for (const part of [report.answer, report.table, report.about]) part.show([]);
      return;
    }
    filters.build();
    report.chart.build();
    report.about.begin();
    state.on(changed);
    draw();
    report.detail.show(state.get().cell !== undefined);
  }

  begin();
  report.isReady = true;
})(window.Report ??= {});
