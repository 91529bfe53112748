// Figures for people, as `reports/src/text/units.rs` writes them: three significant digits and a unit that fits.
(function (report) {
  "use strict";

  const ABSENT = "–";
  const rounded = (value) => Number(value.toExponential(2));

  function scientific(value) {
    return value === 0 ? "0" : value.toExponential(2).replace("e+", "e");
  }

  function figure(value) {
    if (value === 0) return "0";
    const near = rounded(value);
    const magnitude = Math.abs(near);
    if (magnitude < 1e-3 || magnitude >= 1e6) return scientific(value);
    return near.toFixed(Math.max(0, 2 - Math.floor(Math.log10(magnitude))));
  }

  function scaled(value, units) {
    const [unit, size] = [...units].reverse().find(([, size]) => Math.abs(rounded(value / size)) >= 1) ?? units[0];
    return size === 1 && Number.isInteger(value) ? `${value} ${unit}` : `${figure(value / size)} ${unit}`;
  }

  const time = (ns) => scaled(ns, [["ns", 1], ["µs", 1e3], ["ms", 1e6], ["s", 1e9]]);
  const bytes = (count) => scaled(count, ["B", "KiB", "MiB", "GiB", "TiB"].map((unit, power) => [unit, 1024 ** power]));
  const percent = (share) => `${figure(share * 100)} %`;
  const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  /** A moment, to the minute. */
  const moment = (ms) => `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
  /** Whole numbers with all their digits, others as figures. */
  const plain = (value) => (Number.isInteger(value) && Math.abs(value) < 1e15 ? String(value) : figure(value));

  const writers = { time, bytes, percent, error: scientific, ratio: figure, rate: figure, count: plain, number: plain, moment };

  /** A value with its column's unit; the mark for absence where there is none. */
  function value(number, unit) {
    return Number.isFinite(number) ? (writers[unit] ?? plain)(number) : ABSENT;
  }

  /** The end of an interval. That of a ratio which is not 1 is not written as 1: the side on which it lies is what a verdict goes by. */
  function end(number, unit) {
    const text = value(number, unit);
    const off = Math.abs(number - 1);
    return unit !== "ratio" || text !== "1.00" || off < 1e-6 ? text : number.toFixed(off >= 5e-5 ? 4 : 6);
  }

  /** `0.512 [0.500, 0.524]`. */
  function interval(middle, low, high, unit) {
    if (!Number.isFinite(middle)) return ABSENT;
    const ends = Number.isFinite(low) && Number.isFinite(high) ? ` [${end(low, unit)}, ${end(high, unit)}]` : "";
    return value(middle, unit) + ends;
  }

  /** At most so many characters; what was cut off is marked. */
  const shortened = (text, longest) => (text.length > longest ? `${[...text].slice(0, longest - 1).join("")}…` : text);

  /** Without zeros that say nothing, for the labels of axes: `10.0 ms` is `10 ms`, `1.00e-7` is `1e-7`. */
  const tick = (text) => text.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");

  /** A text for a chart. The library remembers the widths of texts in an object, and would take `__proto__` for one that it knows. */
  const drawn = (text, longest) => (text in {} ? `${text} ` : shortened(text, longest));

  report.format = { ABSENT, tick, drawn, figure, time, bytes, percent, counted, moment, plain, value, interval, shortened };
})(window.Report ??= {});
