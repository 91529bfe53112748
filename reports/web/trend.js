// Where the history of commits changed: words and tables as the program wrote them into trend.md.
(function (report) {
  "use strict";

  const { el, byId, replace, table } = report.dom;
  const { trend } = report.data;
  const isThere = Array.isArray(trend);

  function block({ heading, text, item, columns, figures, rows }) {
    if (heading !== undefined) return el("h3", {}, heading);
    if (text !== undefined) return el("p", {}, text);
    if (item !== undefined) return el("ul", {}, el("li", {}, item));
    return table("Changes, the newest first", columns, rows, figures);
  }

  /** What does not depend on the state. */
  function begin() {
    if (!isThere) return;
    byId("trend").hidden = false;
    replace("trend-body", trend.map(block));
  }

  report.trend = { isThere, begin };
})(window.Report ??= {});
