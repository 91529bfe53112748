// The chart of points: one mark a cell, lines along curves, whiskers for intervals, and what helps to read them (the line at 1, ceilings).
(function (report) {
  "use strict";

  const { cells, curves, runs } = report.data;
  const { label, unit, ends, isAxis } = report.columns;

  /** Colours that are told apart; what is beyond is drawn in one colour and said. */
  const MOST_COLOURS = 8;
  /** Above this, whiskers and lines would hide the points. */
  const MOST_WHISKERS = 300;
  const MOST_LINES = 300;
  /** From here on points are small squares, which are drawn several times as fast as other shapes, so that filters stay fluid. */
  const MANY = 1500;

  /** How a column lies along an axis: by category or by value, and where a row is on it. NaN where it has no place there. */
  function scale(name, rows, isLog) {
    const column = cells.column(name);
    const shown = (value) => (isAxis(name) ? report.format.plain(value) : report.format.value(value, unit(name)));
    if (column.isText || column.kind === "flag") {
      const keys = [...new Set(rows.map((row) => column.key(row)))].filter((key) => key !== "").sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
      const place = new Map(keys.map((key, at) => [key, at]));
      return { of: (row) => place.get(column.key(row)) ?? NaN, keys, shown: (value) => keys[value] ?? "", isLog: false };
    }
    const values = column.values;
    const of = isLog ? (row) => (values[row] > 0 ? values[row] : NaN) : (row) => values[row];
    const isSize = isAxis(name) && column.kind === "int";
    return { of, shown, isLog, base: isSize ? 2 : 10 };
  }

  /** The axis; only where it lies across the chart long names must lean. */
  function axis(name, scale, isAcross, extent = {}) {
    const common = {
      name: report.format.drawn(label(name), 80), nameLocation: "middle", axisLabel: { color: report.theme.colour("text"), hideOverlap: true, formatter: undefined },
      nameTextStyle: { color: report.theme.colour("text") }, axisLine: { lineStyle: { color: report.theme.colour("faint") } },
      splitLine: { lineStyle: { color: report.theme.colour("line") } },
    };
    if (scale.keys !== undefined) {
      const short = (key) => report.format.drawn(key, 18);
      return { ...common, type: "category", data: scale.keys, axisLabel: { ...common.axisLabel, formatter: short, rotate: isAcross && scale.keys.some((key) => key.length > 6) ? 30 : 0 } };
    }
    // Left alone, the library labels the two ends of a log axis of ten powers, and none between.
    const marks = extent.marks === undefined ? {} : { customValues: extent.marks };
    const [min, max] = [extent.min, extent.max];
    return { ...common, min, max, type: scale.isLog ? "log" : "value", logBase: scale.base, scale: true, axisTick: marks, axisLabel: { ...common.axisLabel, ...marks, formatter: (value) => report.format.tick(scale.shown(value)) } };
  }

  /** The whole powers from one to another; of very many every second, third or so. */
  function powers(base, from, to) {
    const [first, last] = [from, to].map((end) => Math.round(Math.log(end) / Math.log(base)));
    const step = Math.ceil((last - first) / 12) || 1;
    return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, at) => base ** (first + at * step));
  }

  /** The whole powers around the values, for a log axis: left alone, the library adds empty decades. */
  function extent(scale, values) {
    if (!scale.isLog || values.length === 0) return {};
    const [least, most] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, 0]);
    const power = (value) => Math.log(value) / Math.log(scale.base);
    // A value that is a whole power, but for its last digit, is its own limit.
    const [min, max] = [scale.base ** Math.floor(power(least) + 1e-9), scale.base ** Math.ceil(power(most) - 1e-9)];
    return { min, max: max > min ? max : min * scale.base, marks: powers(scale.base, min, max > min ? max : min * scale.base) };
  }

  /** Points of the rows that have a place; `lost` counts the others. */
  function points(view, rows) {
    const [x, y] = [scale(view.x, rows, view.logx), scale(view.y, rows, view.logy)];
    const placed = [];
    for (const row of rows) {
      const [px, py] = [x.of(row), y.of(row)];
      if (!Number.isNaN(px) && !Number.isNaN(py)) placed.push([px, py, row]);
    }
    return { x, y, placed, lost: rows.length - placed.length };
  }

  /** Groups by the column of the colour: the most frequent ones, and one group for all others. */
  function groups(view, placed) {
    const column = cells.column(view.colour);
    const by = new Map();
    for (const point of placed) {
      const key = column.key(point[2]);
      if (!by.has(key)) by.set(key, []);
      by.get(key).push(point);
    }
    const wish = (key) => { const at = view.colour === "variant" ? view.first.indexOf(key) : -1; return at < 0 ? view.first.length : at; };
    const all = [...by].sort((a, b) => wish(a[0]) - wish(b[0]) || b[1].length - a[1].length || a[0].localeCompare(b[0]));
    const told = all.length > MOST_COLOURS + 1 ? all.slice(0, MOST_COLOURS) : all.slice(0, MOST_COLOURS + 1);
    // The library keeps names as keys of objects: with a mark in front, none is a key that objects have already, such as `__proto__`.
    const named = told.map(([key, points], at) => ({
      name: "=" + (view.colour === "run" ? runs[Number(key)]?.label ?? key : key === "" ? "(none)" : key),
      points, colour: report.theme.palette()[at] ?? report.theme.colour("faint"), shape: report.theme.SHAPES[at] ?? "circle",
    }));
    const rest = all.slice(told.length);
    if (rest.length > 0) {
      named.push({ name: `=${rest.length} others`, points: rest.flatMap(([, points]) => points), colour: report.theme.colour("faint"), shape: "circle", isRest: true });
    }
    return named;
  }

  /** True for the cells that are drawn faintly: computed in another precision than asked, or dominated where that is the question. */
  function faint(view) {
    const status = cells.column("status");
    const frontier = view.pareto ? cells.column("frontier") : undefined;
    return (row) => status.text(row) === "emulated" || frontier?.number(row) === 0;
  }

  function marks(group, isFaint, many) {
    const common = { type: "scatter", name: group.name, symbol: many ? "rect" : group.shape, symbolSize: many ? 4 : group.isRest ? 5 : 9, progressive: 0, animation: false, large: many, largeThreshold: 1, z: group.isRest ? 1 : 3 };
    const item = { color: group.colour, borderColor: report.theme.colour("page"), borderWidth: many ? 0 : 0.5 };
    const [strong, weak] = [[], []];
    for (const point of group.points) (isFaint(point[2]) ? weak : strong).push(point);
    const series = [{ ...common, itemStyle: item, data: strong }];
    if (weak.length > 0) series.push({ ...common, itemStyle: { ...item, opacity: 0.2 }, data: weak, z: 2 });
    return series;
  }

  /** Lines along the curves of the moving axis, where that is the chart's. */
  function lines(view, sets) {
    if (!view.curves && !isAxis(view.x)) return [];
    const at = new Map();
    for (const group of sets) for (const point of group.points) at.set(point[2], { point, colour: group.colour, name: group.name });
    const along = [];
    for (const curve of curves) {
      if (curve.axis !== view.x) continue;
      const of = curve.rows.map((row) => at.get(row)).filter((one) => one !== undefined);
      if (of.length > 1) along.push(of);
      if (along.length > MOST_LINES) return [];
    }
    return sets.map((group) => ({
      type: "lines", coordinateSystem: "cartesian2d", polyline: true, silent: true, animation: false, name: group.name, z: 1, progressive: 0,
      itemStyle: { color: group.colour }, lineStyle: { color: group.colour, width: group.isRest ? 1 : 1.5, opacity: group.isRest ? 0.3 : 0.8 },
      data: along.filter((of) => of[0].name === group.name).map((of) => ({ coords: of.map(({ point }) => [point[0], point[1]]) })),
    })).filter((series) => series.data.length > 0);
  }

  function whiskers(view, y, sets) {
    const [lowName, highName] = ends(view.y) ?? [];
    const [low, high] = [cells.column(lowName), cells.column(highName)];
    if (low === undefined || high === undefined) return [];
    const one = (colour) => (params, api) => {
      const [x, from] = api.coord([api.value(0), api.value(1)]);
      const to = api.coord([api.value(0), api.value(2)])[1];
      return { type: "line", shape: { x1: x, x2: x, y1: from, y2: to }, style: { stroke: colour, lineWidth: 1, opacity: 0.7 } };
    };
    return sets.map((group) => ({
      type: "custom", name: group.name, silent: true, animation: false, z: 2, renderItem: one(group.colour), itemStyle: { color: group.colour }, encode: { x: 0, y: [1, 2] }, progressive: 0,
      data: group.points.map(([x, , row]) => [x, low.number(row), high.number(row)]).filter(([, from, to]) => from <= to && (!y.isLog || from > 0)),
    })).filter((series) => series.data.length > 0);
  }

  /** The line at 1 of a ratio, and the band within which the runs' own noise lies. */
  function atOne(view, shown) {
    if (unit(view.y) !== "ratio" || shown.length === 0) return [];
    const column = cells.column("run");
    const floors = [...new Set(shown.map(([, , row]) => column.number(row)))].map((run) => runs[run]?.floor).filter((floor) => floor > 0);
    const floor = Math.max(0, ...floors);
    const isTime = ["ratio", "strong_ratio"].includes(view.y);
    const band = isTime && floor > 0 ? { markArea: { silent: true, itemStyle: { color: report.theme.colour("band") }, data: [[{ yAxis: 1 / (1 + floor) }, { yAxis: 1 + floor }]] } } : {};
    const line = { silent: true, symbol: "none", label: { show: false }, lineStyle: { color: report.theme.colour("text"), type: "dashed", width: 1 }, data: [{ yAxis: 1 }] };
    return [{ type: "scatter", data: [], silent: true, animation: false, markLine: line, ...band }];
  }

  /** Each run measured ceilings of its own: over cells of several, none would be right. */
  const severalRuns = (shown) => new Set(shown.map(([, , row]) => cells.number("run", row))).size > 1;

  /** The ceilings of the run shown: bandwidth levels as slopes, peaks as flat lines, for the most threads among the cells. */
  function ceilings(view, shown) {
    if (!view.roofline || shown.length === 0 || severalRuns(shown)) return [];
    const threads = shown.reduce((most, [, , row]) => Math.max(most, cells.number("threads_used", row) || 1), 1);
    const run = runs[cells.number("run", shown[0][2])];
    const sets = [run?.ceilings ?? []].flat().sort((a, b) => a.threads - b.threads);
    const set = sets.find((one) => one.threads >= threads);
    if (set === undefined) return [];
    const [from, to] = shown.reduce(([least, most], [x]) => [Math.min(least, x), Math.max(most, x)], [Infinity, 0]);
    const narrow = [...new Set((set.narrow ?? []).map((one) => one.precision))];
    const peaks = [["f64", set.f64_flops_per_s], ["f32", set.f32_flops_per_s],
      ...narrow.map((name) => [name, Math.max(...set.narrow.filter((one) => one.precision === name).map((one) => one.ops_per_s))])];
    const highest = Math.max(...peaks.map(([, rate]) => rate)) / 1e9;
    const slopes = set.bandwidth.map((one) => [one.level, Math.max(one.read_bytes_per_s, one.copy_bytes_per_s) / 1e9]);
    const roof = (name, data) => ({
      type: "line", data, silent: true, symbol: "none", animation: false, z: 0, lineStyle: { color: report.theme.colour("faint"), width: 1 },
      endLabel: { show: true, formatter: () => report.format.drawn(name, 20), color: report.theme.colour("text"), align: "right", verticalAlign: "bottom", fontSize: 11, offset: [0, -4] },
    });
    return [
      ...peaks.map(([name, rate]) => roof(`${name} peak`, [[from, rate / 1e9], [to, rate / 1e9]])),
      ...slopes.map(([name, rate]) => roof(name, [[from, from * rate], [Math.min(to, highest / rate), Math.min(to, highest / rate) * rate]])),
    ];
  }

  /** Options for the chart, its points in the order of the keyboard, and what must be said under it. */
  function option(view, rows) {
    const { x, y, placed, lost } = points(view, rows);
    const shown = view.roofline ? placed.filter(([, , row]) => !Number.isNaN(cells.number("share", row))) : placed;
    const sets = groups(view, shown);
    const many = shown.length > MANY;
    const isFaint = faint(view);
    const bare = shown.length > MOST_WHISKERS;
    const roofs = ceilings(view, shown);
    const series = [...sets.flatMap((group) => marks(group, isFaint, many)), ...roofs, ...atOne(view, shown), ...lines(view, sets), ...(bare ? [] : whiskers(view, y, sets))];
    const notes = [];
    if (lost > 0) notes.push(`${report.format.counted(lost, "cell")} without a place on these axes (no figure, as where a cell failed${x.isLog || y.isLog ? ", or zero on a log axis" : ""})`);
    if (placed.length > shown.length) notes.push(`${report.format.counted(placed.length - shown.length, "cell")} without a ceiling left out`);
    if (bare && ends(view.y) !== undefined) notes.push(`intervals are drawn for at most ${MOST_WHISKERS} cells: filter, or point at a cell`);
    if (view.roofline) notes.push(severalRuns(shown) ? "no ceilings are drawn, as the cells are of several runs: filter by run" : "flat lines: measured peaks; slopes: measured bandwidth of each level");
    if (shown.some(([, , row]) => isFaint(row))) notes.push(view.pareto ? "faint: dominated in time, error and declared memory by another cell of the same problem, or emulated" : "faint: emulated, in another precision than asked");
    return {
      placed: shown, notes, sets: many ? sets.map((group) => ({ ...group, shape: "rect" })) : sets,
      option: {
        xAxis: { ...axis(view.x, x, true, extent(x, shown.map(([px]) => px))), nameGap: 34 },
        yAxis: { ...axis(view.y, y, false, extent(y, [...shown.map(([, py]) => py), ...roofs.flatMap((roof) => roof.data.map(([, height]) => height))])), nameGap: 62 },
        series,
      },
    };
  }

  report.marks = { option, axis };
})(window.Report ??= {});
