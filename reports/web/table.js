// The table of cells: sorted by any column, a page at a time. Time never stands without memory and error.
(function (report) {
  "use strict";

  const { el, replace, stateLink, byId } = report.dom;
  const { cells, axes } = report.data;
  const { label, shown, withInterval, varies, isAxis } = report.columns;
  const PAGE = 50;

  const FIGURES = ["median_ns", "strong_ratio", "ratio", "declared_bytes", "allocator_peak_bytes", "high_water_bytes", "err_method_rel", "share", "samples"];
  const has = (name) => cells.column(name) !== undefined;
  const NAMES = ["variant", "engine", "run", "family"].filter((name) => has(name) && (name === "variant" || name === "engine" || varies(name)));
  /** More axes than these stand in one column together. */
  const MOST_AXES = 8;
  /** The column of all axes that distinguish the cells. */
  const TOGETHER = "axes";

  /** The axes that differ among these rows. */
  function differing(rows) {
    const differs = (name) => {
      const column = cells.column(name);
      const first = column.key(rows[0]);
      return rows.some((row) => column.key(row) !== first);
    };
    return rows.length === 0 ? [] : axes.filter((name) => has(name) && varies(name) && differs(name));
  }

  function columnsOf(rows) {
    const differ = differing(rows);
    return [...NAMES, ...(differ.length > MOST_AXES ? [TOGETHER] : differ), "status", ...FIGURES].filter((name) => name === TOGETHER || has(name));
  }
  const isFigure = (name) => FIGURES.includes(name) || (isAxis(name) && !cells.column(name).isText);

  /** `ratio` or, downwards, `-ratio`; null as the frames sorted them. */
  function order() {
    const sort = report.state.get().sort ?? "";
    const name = sort.replace(/^-/, "");
    return has(name) ? { name, down: sort.startsWith("-") } : null;
  }

  function sorted(rows) {
    const by = order();
    if (by === null) return rows;
    const column = cells.column(by.name);
    const rank = column.isText ? ranks(column) : (row) => column.number(row);
    const sign = by.down ? -1 : 1;
    const keyed = rows.map((row) => [rank(row), row]);
    // What has no value comes last in either direction.
    keyed.sort(([a, one], [b, other]) => (Number.isNaN(a) ? (Number.isNaN(b) ? one - other : 1) : Number.isNaN(b) ? -1 : sign * (a - b) || one - other));
    return keyed.map(([, row]) => row);
  }

  function ranks(column) {
    const inOrder = column.words.map((word, code) => [word, code]).sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
    const places = new Map(inOrder.map(([, code], place) => [code, place]));
    return (row) => places.get(column.codes[row]) ?? NaN;
  }

  function heading(name) {
    if (name === TOGETHER) return el("th", { scope: "col" }, "problem and parameters");
    const by = order();
    const isThis = by?.name === name;
    const next = isThis ? (by.down ? undefined : `-${name}`) : name;
    const button = el("button", { type: "button", on: { click: () => report.state.set({ sort: next, page: undefined }) } }, label(name), isThis ? (by.down ? " ▼" : " ▲") : "");
    return el("th", { scope: "col", class: isFigure(name) ? "figure" : false, "aria-sort": isThis ? (by.down ? "descending" : "ascending") : "none" }, button);
  }

  function cell(name, row) {
    if (name === "variant") {
      const id = `${cells.number("run", row)}/${cells.text("id", row)}`;
      return el("th", { scope: "row" }, stateLink(report.format.shortened(cells.text(name, row) ?? report.format.ABSENT, 80), { cell: id }, { "data-cell": id }));
    }
    if (name === TOGETHER) return el("td", { class: "words" }, report.columns.setting(row));
    if (name === "status") {
      const status = cells.text(name, row);
      return el("td", { class: status === "ok" ? false : "failed", title: cells.text("reason", row) ?? undefined }, status);
    }
    const text = isAxis(name) || !isFigure(name) ? shown(name, row) : withInterval(name, row);
    const apart = { ratio: "apart", strong_ratio: "strong_apart" }[name];
    const mark = apart !== undefined && cells.number(apart, row) === 1 && text !== report.format.ABSENT ? " †" : "";
    return el("td", { class: isFigure(name) ? "figure" : false }, report.format.shortened(text, 60) + mark);
  }

  const page = (count) => Math.min(Math.max(0, Number.parseInt(report.state.get().page ?? "1", 10) - 1 || 0), Math.max(0, Math.ceil(count / PAGE) - 1));

  function pager(count) {
    const [at, last] = [page(count), Math.max(0, Math.ceil(count / PAGE) - 1)];
    const go = (to, text) => el("button", { type: "button", disabled: to < 0 || to > last, on: { click: () => report.state.set({ page: to === 0 ? undefined : String(to + 1) }) } }, text);
    const range = count === 0 ? "no cells" : `${at * PAGE + 1} to ${Math.min(count, (at + 1) * PAGE)} of ${report.format.counted(count, "cell")}`;
    return el("p", { class: "bar" }, go(at - 1, "Previous"), el("span", {}, range), go(at + 1, "Next"));
  }

  /** Shows a page of these rows. */
  function show(rows) {
    if (cells.rows === 0) {
      replace("cells-body", el("p", {}, "There are no cells: nothing was finished."));
      return;
    }
    const columns = columnsOf(rows);
    const first = page(rows.length) * PAGE;
    const of = sorted(rows).slice(first, first + PAGE);
    const marked = has("ratio") && of.some((row) => cells.number("apart", row) === 1);
    const selected = report.state.get().cell;
    const body = of.map((row) => el("tr", { class: `${cells.number("run", row)}/${cells.text("id", row)}` === selected ? "selected" : false }, columns.map((name) => cell(name, row))));
    const scroll = byId("cells-body").querySelector(".scroll")?.scrollLeft ?? 0;
    replace("cells-body", pager(rows.length),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "cells-title" }, el("table", {}, el("thead", {}, el("tr", {}, columns.map(heading))), el("tbody", {}, body))),
      el("p", { class: "note" }, "Figures in brackets are 95 % intervals; those of ratios are conservative (the ends of both medians' intervals, divided crosswise).",
        marked ? " †: to the baseline's own record, which may be of another time." : ""));
    byId("cells-body").querySelector(".scroll").scrollLeft = scroll;
  }

  report.table = { show };
})(window.Report ??= {});
