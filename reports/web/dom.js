// Elements. Every text becomes a text node, whatever it holds: nothing on this page is ever parsed as markup.
(function (report) {
  "use strict";

  /** An element; `on` in the attributes are its listeners, a value of false or undefined leaves the attribute out. */
  function el(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "on") {
        for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
      } else if (value !== false && value !== undefined) {
        element.setAttribute(key, value === true ? "" : value);
      }
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  const byId = (id) => document.getElementById(id);
  const replace = (id, ...children) => byId(id).replaceChildren(...children.flat());

  /** A table; cells are texts or elements, `right` says which columns are figures. */
  function table(caption, headings, rows, right = []) {
    const align = (column) => (right.includes(column) ? "figure" : false);
    const head = headings.map((heading, column) => el("th", { scope: "col", class: align(column) }, heading));
    const body = rows.map((row) => el("tr", {}, row.map((cell, column) => el("td", { class: align(column) }, cell))));
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
      el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
  }

  /** A link that changes the page's state; with the middle button, or copied, it is an address as any other. */
  function stateLink(text, patch, attributes = {}) {
    const { focus, ...others } = attributes;
    const go = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      report.state.set(patch);
      if (focus !== undefined) byId(focus).scrollIntoView();
    };
    return el("a", { href: report.state.address(patch), on: { click: go }, ...others }, text);
  }

  /** Tells those who do not see the page. */
  const say = (text) => { byId("live").textContent = text; };

  report.dom = { el, byId, replace, table, stateLink, say };
})(window.Report ??= {});
