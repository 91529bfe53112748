// Words and tables as the program wrote them into a document of the report.
(function (report) {
  "use strict";

  const { el, table } = report.dom;

  /** The blocks as elements; tables without a heading before them are called by the caption. */
  function blocks(list, caption) {
    let called = caption;
    return list.map(({ heading, text, item, columns, figures, rows }) => {
      if (heading !== undefined) {
        called = `${caption}: ${heading}`;
        return el("h3", {}, heading);
      }
      if (text !== undefined) return el("p", {}, text);
      if (item !== undefined) return el("ul", {}, el("li", {}, item));
      return table(called, columns, rows, figures);
    });
  }

  report.blocks = blocks;
})(window.Report ??= {});
