// The heatmap over two axes: each field is the median of the cells that fall into it, and says how many they are.
(function (report) {
  "use strict";

  const { cells } = report.data;
  const { unit, label } = report.columns;

  /** A column as categories in the order of its values. */
  function categories(name, rows) {
    const column = cells.column(name);
    const keys = [...new Set(rows.map((row) => column.key(row)))].filter((key) => key !== "").sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const place = new Map(keys.map((key, at) => [key, at]));
    return { keys, of: (row) => place.get(column.key(row)), shown: (at) => keys[at], isLog: false };
  }

  function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  function fields(view, rows, x, y) {
    const column = cells.column(view.value);
    const by = new Map();
    for (const row of rows) {
      const [value, at, up] = [column.number(row), x.of(row), y.of(row)];
      if (Number.isNaN(value) || at === undefined || up === undefined) continue;
      const key = at * y.keys.length + up;
      if (!by.has(key)) by.set(key, { at, up, values: [], rows: [] });
      by.get(key).values.push(value);
      by.get(key).rows.push(row);
    }
    return [...by.values()].map((field) => ({ ...field, middle: median(field.values) }));
  }

  function option(view, rows) {
    const [x, y] = [categories(view.x, rows), categories(view.y, rows)];
    const all = fields(view, rows.filter((row) => cells.text("status", row) === "ok"), x, y);
    const isRatio = unit(view.value) === "ratio";
    const used = all.filter((field) => field.middle > 0);
    // By orders of magnitude; ratios around 1.
    const scaled = used.map((field) => Math.log2(field.middle));
    const far = Math.max(0.1, ...scaled.map(Math.abs));
    const [low, high] = isRatio ? [-far, far] : [Math.min(...scaled, Infinity), Math.max(...scaled, -Infinity)];
    const shown = (value) => report.format.value(value, unit(view.value));
    const colours = isRatio ? ["#0072b2", "#f7f7f7", "#d55e00"] : ["#fff7bc", "#d95f0e", "#662506"];
    const fits = used.length <= 200 && (report.dom.byId("chart").clientWidth - 150) / x.keys.length > 75;
    const data = used.map((field, at) => ({ value: [field.at, field.up, scaled[at]], field }));
    const notes = [];
    if (used.some((field) => field.rows.length > 1)) notes.push("a field with several cells shows their median: filter to one variant, engine and precision for figures of single cells");
    if (all.length > used.length) notes.push(`${report.format.counted(all.length - used.length, "field")} of zero left out`);
    return {
      placed: used.map((field) => [field.at, field.up, field.rows[0], field]), notes,
      option: {
        xAxis: { ...report.marks.axis(view.x, x, true), nameGap: 34 }, yAxis: { ...report.marks.axis(view.y, y, false), nameGap: 62 },
        visualMap: used.length === 0 ? undefined : {
          min: low, max: high > low ? high : low + 1, calculable: false, orient: "horizontal", left: "center", top: 0, text: [`${label(view.value)} ${shown(2 ** high)}`, shown(2 ** low)],
          textStyle: { color: report.theme.colour("text") }, inRange: { color: colours }, dimension: 2, itemHeight: 80,
        },
        series: [{
          type: "heatmap", data, animation: false, progressive: 0,
          label: { show: fits, color: "#000", formatter: ({ data }) => shown(data.field.middle) + (data.field.rows.length > 1 ? ` (${data.field.rows.length})` : "") },
          itemStyle: { borderColor: report.theme.colour("page"), borderWidth: 1 },
        }],
      },
    };
  }

  report.heatmap = { option };
})(window.Report ??= {});
