// Where the history of commits changed: words and tables as the program wrote them into trend.md.
(function (report) {
  "use strict";

  const { byId, replace } = report.dom;
  const { trend } = report.data;
  const isThere = Array.isArray(trend);

  /** What does not depend on the state. */
  function begin() {
    if (!isThere) return;
    byId("trend").hidden = false;
    replace("trend-body", report.blocks(trend, "Changes, the newest first"));
  }

  report.trend = { isThere, begin };
})(window.Report ??= {});
