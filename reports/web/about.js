// What did not end well, and what the figures were made with: failures, noise, machines, runs and their commands.
(function (report) {
  "use strict";

  const { el, replace, table, stateLink } = report.dom;
  const { cells, runs, machines } = report.data;
  const { format } = report;
  const KINDS = ["wrong", "crashed", "oom", "timeout", "unsupported", "emulated", "unchecked", "over-budget"];

  /** Cells of the chosen machine that are not `ok`, by status and reason. */
  function failures() {
    const by = new Map();
    const [of, machine, reasons] = [cells.column("status"), cells.column("machine"), cells.column("reason")];
    for (let row = 0; row < cells.rows; row++) {
      const status = of.text(row);
      if (status === "ok" || machine.text(row) !== report.filters.machine()) continue;
      const key = JSON.stringify([status, reasons?.text(row) ?? ""]);
      if (!by.has(key)) by.set(key, []);
      by.get(key).push(row);
    }
    const all = [...by].map(([key, rows]) => ({ status: JSON.parse(key)[0], reason: JSON.parse(key)[1], rows }));
    const rank = (status) => (KINDS.includes(status) ? KINDS.indexOf(status) : KINDS.length);
    return all.sort((a, b) => rank(a.status) - rank(b.status) || b.rows.length - a.rows.length);
  }

  /** The failures of the chosen machine. */
  function show() {
    if (cells.rows === 0) {
      replace("failures-body", el("p", {}, "There are no cells: nothing was finished."));
      return;
    }
    const all = failures();
    const count = all.reduce((sum, { rows }) => sum + rows.length, 0);
    if (count === 0) {
      replace("failures-body", el("p", {}, "None: every cell of this machine is ok."));
      return;
    }
    const example = (row) => stateLink(format.shortened(`${cells.text("variant", row)} on ${cells.text("engine", row)}`, 100), { cell: `${cells.number("run", row)}/${cells.text("id", row)}` });
    const line = ({ status, reason, rows }) => [stateLink(status, { only: { status: [status] }, text: undefined }, { focus: "cells" }), String(rows.length), format.shortened(reason, 200), example(rows[0])];
    const none = cells.column("status").words.includes("ok") ? [] : [el("p", {}, el("strong", {}, "No cell is ok."), " The reasons are below.")];
    replace("failures-body", ...none, el("p", {}, `${format.counted(count, "cell")} of this machine, by reason.`), table("Cells that did not end well", ["status", "cells", "reason", "for example"], all.map(line), [1]));
  }

  function noise({ noise, floor }) {
    if (noise === null || noise === undefined) return `Noise was not measured, so ${format.percent(floor)} are taken for its floor: a ratio nearer to 1 than that is no finding here.`;
    const parts = [`Noise floor: the same cell, measured in two fresh workers in turns, differed from itself by ${format.percent(noise.floor)} at most (${format.counted(noise.pairs, "pair")}). A ratio nearer to 1 than that is noise, whatever its interval says.`];
    if (typeof noise.steal_ns === "number") parts.push(`Stolen by the hypervisor during the run: ${format.time(noise.steal_ns)}, all cores together.`);
    if (typeof noise.load_average === "number") parts.push(`Load average before the run: ${noise.load_average.toFixed(2)}.`);
    return parts.join(" ");
  }

  function machine(one) {
    const parts = [`${one.usable_cores ?? "?"} of ${one.logical_cores ?? "?"} cores`];
    if (one.memory_bytes !== null) parts.push(format.bytes(one.memory_bytes));
    parts.push(...one.caches.map((cache) => `L${cache.level} ${cache.kind} ${format.bytes(cache.bytes)}`));
    for (const name of ["kernel", "governor"]) if (one[name] !== null) parts.push(`${name} ${one[name]}`);
    if (one.turbo !== null) parts.push(`turbo ${one.turbo ? "on" : "off"}`);
    return el("li", {}, el("strong", {}, one.cpu_model ?? "unknown processor"), ` (${one.fingerprint}): ${parts.join(", ")}`);
  }

  function build(one) {
    const absent = (one.instruments ?? []).filter((instrument) => instrument.absent !== null).map((instrument) => `${instrument.name} (${instrument.absent})`);
    const untold = absent.length === 0 ? "" : ` Not told here: ${absent.join(", ")}.`;
    return el("li", {}, `Worker ${one.worker} ${one.version} (build ${one.fingerprint}): ${one.detail}.${untold}`);
  }

  function run(one, at) {
    const column = cells.column("run");
    let count = 0;
    for (let row = 0; row < cells.rows; row++) if (column.number(row) === at) count += 1;
    const resumed = one.resumed.length === 0 ? "" : `, resumed ${format.counted(one.resumed.length, "time")}, last ${format.moment(one.resumed.at(-1))}`;
    const excluded = Object.entries(one.excluded).map(([because, left]) => el("li", {}, `${format.counted(left, "cell")} left out by the experiment: ${because}`));
    return el("div", {}, el("h3", {}, `Run ${one.label} of ${one.experiment}`), el("pre", {}, one.command),
      el("p", {}, `Started ${format.moment(one.created)}${resumed}: ${count} of ${one.planned} planned cells finished. Seed ${one.seed}, plan ${one.plan}, machine ${one.machine}.`),
      el("ul", {}, el("li", {}, noise(one)), [...one.warnings.slice(one.noise === null ? 1 : 0), ...one.remarks.slice(one.noise === null ? 0 : 1), ...one.notes].map((note) => el("li", {}, note)), excluded, one.builds.map(build)));
  }

  /** What no run recorded, and how exact this page is. */
  function page() {
    const known = [...cells.columns.values()];
    const absent = known.filter((column) => column.isAbsent && !column.name.includes(":")).map((column) => report.columns.label(column.name));
    const lines = ["Fractions on this page come from six digits, and texts from at most 600 characters; cells.csv has all of both."];
    if (report.data.samples !== null) lines.push(`Of each cell at most ${report.data.samples.most} samples are in this page, evenly picked.`);
    else lines.push("No samples are in this page, since there are too many cells: they are in samples.parquet of the runs' folders.");
    if (cells.rows > 0 && absent.length > 0) lines.push(`No cell has a value in the columns: ${absent.join("; ")}.`);
    lines.push("Charts: Apache ECharts 6.1.0, Apache-2.0.");
    return el("ul", {}, lines.map((line) => el("li", {}, line)));
  }

  /** What does not depend on the state. */
  function begin() {
    replace("about-body", el("h3", {}, machines.length > 1 ? "Machines" : "Machine"), el("ul", {}, machines.map(machine)), ...runs.map(run), el("h3", {}, "This page"), page());
  }

  report.about = { begin, show };
})(window.Report ??= {});
