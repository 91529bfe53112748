// Light and dark: as the system has it, unless the reader chose; always light on paper.
(function (report) {
  "use strict";

  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;

  function name() {
    if (printing) return "light";
    const chosen = report.state.get().theme;
    return chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light";
  }

  /** Puts the theme on; true if it was another before. */
  function apply() {
    const differs = root.dataset.theme !== name();
    root.dataset.theme = name();
    report.dom.byId("theme").value = report.state.get().theme ?? "";
    return differs;
  }

  /** A colour of the style sheet. */
  const colour = (variable) => getComputedStyle(root).getPropertyValue(`--${variable}`).trim();

  /** Calls `redraw` when the colours have changed behind the page's back. */
  function build(redraw) {
    const chosen = report.dom.byId("theme");
    chosen.addEventListener("change", () => report.state.set({ theme: chosen.value || undefined }));
    const again = () => { if (apply()) redraw(); };
    system.addEventListener("change", again);
    addEventListener("beforeprint", () => { printing = true; again(); });
    addEventListener("afterprint", () => { printing = false; again(); });
  }

  // Safe for colour-blind readers (Okabe and Ito), each with a mark of its own shape.
  const ON_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d"];
  const ON_DARK = ["#56b4e9", "#f0894a", "#2fbf93", "#e59ac6", "#f0c340", "#8fa8ff", "#b99be0", "#cfa46a"];
  const palette = () => (name() === "dark" ? ON_DARK : ON_LIGHT);
  const SHAPES = ["circle", "rect", "triangle", "diamond", "roundRect", "pin", "arrow", "circle"];

  report.theme = { apply, build, colour, palette, SHAPES };
})(window.Report ??= {});
