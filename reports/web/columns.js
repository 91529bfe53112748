// What the columns are called, their units, and which of them may be axes of the chart.
(function (report) {
  "use strict";

  // name: [label, unit, ends of the interval]
  const KNOWN = {
    median_ns: ["median time", "time", ["ci_low_ns", "ci_high_ns"]],
    strong_ratio: ["time over the strong baseline", "ratio", ["strong_low", "strong_high"]],
    ratio: ["time over the declared baseline", "ratio", ["ratio_low", "ratio_high"]],
    err_method_rel: ["error of the method (relative)", "error"],
    err_method: ["error of the method (largest)", "error"],
    err_impl_rel: ["error of the implementation (relative)", "error"],
    err_impl: ["error of the implementation (largest)", "error"],
    error_ratio: ["error over that of the plain operation", "ratio"],
    tolerance_used: ["share of the tolerance used", "percent"],
    declared_bytes: ["declared memory", "bytes"],
    declared_ratio: ["declared memory over the baseline's", "ratio"],
    allocator_peak_bytes: ["allocator peak", "bytes"],
    allocator_peak_ratio: ["allocator peak over the baseline's", "ratio"],
    high_water_bytes: ["high-water mark of the process", "bytes"],
    high_water_ratio: ["high-water mark over the baseline's", "ratio"],
    device_peak_bytes: ["device memory peak", "bytes"],
    weight_bytes: ["weights", "bytes"],
    activation_bytes: ["activations", "bytes"],
    scratch_bytes: ["scratch", "bytes"],
    state_bytes: ["state", "bytes"],
    share: ["share of the ceiling", "percent"],
    gflops: ["GFLOP/s", "rate"],
    gbytes: ["GB/s", "rate"],
    intensity: ["operations a byte", "rate"],
    flops: ["operations", "number"],
    bytes: ["bytes to be moved", "bytes"],
    ci_low_ns: ["median, lower end", "time"],
    ci_high_ns: ["median, upper end", "time"],
    min_ns: ["fastest sample", "time"],
    p95_ns: ["95th percentile", "time"],
    prepare_ns: ["preparation", "time"],
    derive_ns: ["host transforms", "time"],
    elapsed_ns: ["time spent on the cell", "time"],
    steal_ns: ["time stolen by the hypervisor", "time"],
    beside_median_ns: ["baseline in the same rounds", "time"],
    beside_ci_low_ns: ["baseline in the same rounds, lower end", "time"],
    beside_ci_high_ns: ["baseline in the same rounds, upper end", "time"],
    transform_bytes_before: ["weights before compression", "bytes"],
    transform_bytes_after: ["weights after compression", "bytes"],
    transform_error: ["error of the compressed weights", "error"],
    finished_unix_ms: ["finished", "moment"],
    divergence: ["divergence", "error"],
    run: ["run", "number"],
    "base:id": ["declared baseline"],
    "strong:id": ["strong baseline"],
    beside_id: ["baseline in the same rounds"],
    dominated_by: ["dominated by"],
    rivalled_by: ["rivalled within the noise by"],
  };

  const isAxis = (name) => name.startsWith("axis:");
  const label = (name) => (isAxis(name) ? name.slice(5) : KNOWN[name]?.[0] ?? name.replaceAll("_", " ").replace(":", " "));
  const unit = (name) => KNOWN[name]?.[1] ?? "number";
  /** The columns with the ends of this column's interval. */
  const ends = (name) => KNOWN[name]?.[2];

  const TEXTS = ["family", "variant", "engine", "status", "support", "isa", "stop", "match_mode", "strong:variant", "base:variant"];
  const FIGURES = Object.keys(KNOWN).filter((name) => !["run", "finished_unix_ms"].includes(name));
  const MORE = ["cosine", "samples", "rejected", "threads_used", "top_1_agreement", "match_share", "energy_j", "instructions", "cycles", "cache_misses", "load_average"];

  const { cells, axes } = report.data;
  const present = (names) => names.filter((name) => cells.column(name) !== undefined);
  /** All that may be an axis: the problem's and the variants' axes, figures, names. */
  const choices = { axes: present(axes), figures: present([...FIGURES, ...MORE]), texts: present(TEXTS) };

  /** A value of a row as people read it. */
  function shown(name, row) {
    const column = cells.column(name);
    if (column === undefined) return report.format.ABSENT;
    if (name === "run") return report.data.runs[column.number(row)]?.label ?? report.format.ABSENT;
    if (column.isText || column.kind === "flag" || isAxis(name)) return column.text(row) ?? report.format.ABSENT;
    return report.format.value(column.number(row), unit(name));
  }

  /** The same with its interval, where it has one. */
  function withInterval(name, row) {
    const [low, high] = ends(name) ?? [];
    return report.format.interval(cells.number(name, row), cells.number(low, row), cells.number(high, row), unit(name));
  }

  /** What distinguishes a row among those of its variant and engine, in few words. */
  function setting(row) {
    const axes = report.data.axes.filter((name) => varies(name) && cells.key(name, row) !== "");
    return axes.map((name) => `${label(name)} = ${cells.text(name, row)}`).join(", ");
  }

  const distinct = new Map();
  /** True if the column has more than one value over all cells (absence counts as one). */
  function varies(name) {
    if (!distinct.has(name)) {
      const first = cells.key(name, 0);
      let differs = false;
      for (let row = 1; row < cells.rows && !differs; row++) differs = cells.key(name, row) !== first;
      distinct.set(name, differs);
    }
    return distinct.get(name);
  }

  report.columns = { label, unit, ends, isAxis, choices, shown, withInterval, setting, varies };
})(window.Report ??= {});
