// The data of the page as columns that answer for one row: see `reports/src/html/mod.rs` for how they are written.
(function (report) {
  "use strict";

  /** Numbers and flags: `number(row)` is NaN where nothing was recorded. */
  class Numbers {
    constructor({ name, kind, values }, rows) {
      this.name = name;
      this.kind = kind;
      this.isText = false;
      this.values = new Float64Array(rows).fill(NaN);
      if (Array.isArray(values)) {
        values.forEach((value, row) => { if (value !== null) this.values[row] = value; });
      } else if (values !== null) {
        this.values.fill(values);
      }
      this.isAbsent = this.values.every(Number.isNaN);
    }

    number(row) { return this.values[row]; }

    /** The value as a key: what filters and groups go by. */
    key(row) {
      const value = this.values[row];
      return Number.isNaN(value) ? "" : this.text(row);
    }

    /** As the program would write it: fractions keep their point. */
    text(row) {
      const value = this.values[row];
      if (Number.isNaN(value)) return null;
      if (this.kind === "flag") return value ? "true" : "false";
      return this.kind === "double" && Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
    }
  }

  /** Words: `number(row)` is the code, NaN where there is none. */
  class Words {
    constructor({ name, words, codes, changed }, rows) {
      this.name = name;
      this.kind = "text";
      this.isText = true;
      this.words = words;
      this.changed = new Set(changed);
      this.codes = new Int32Array(rows).fill(-1);
      if (Array.isArray(codes)) {
        codes.forEach((code, row) => { if (code !== null) this.codes[row] = code; });
      } else if (codes !== null) {
        this.codes.fill(codes);
      }
      this.isAbsent = words.length === 0;
    }

    number(row) { return this.codes[row] < 0 ? NaN : this.codes[row]; }
    key(row) { return this.text(row) ?? ""; }
    text(row) { return this.codes[row] < 0 ? null : this.words[this.codes[row]]; }
    /** True where the page does not have the text as it was recorded. */
    isChanged(row) { return this.changed.has(this.codes[row]); }
  }

  class Table {
    constructor({ rows, columns }) {
      this.rows = rows;
      this.columns = new Map(columns.map((column) => [column.name, column.kind === "text" ? new Words(column, rows) : new Numbers(column, rows)]));
    }

    /** The column, or undefined where no row has a value in it. */
    column(name) {
      const column = this.columns.get(name);
      return column === undefined || column.isAbsent ? undefined : column;
    }

    number(name, row) { return this.column(name)?.number(row) ?? NaN; }
    text(name, row) { return this.column(name)?.text(row) ?? null; }
    key(name, row) { return this.column(name)?.key(row) ?? ""; }

    /** Adds a column of numbers reckoned from each row. */
    derive(name, of) {
      const values = Array.from({ length: this.rows }, (_, row) => of(row)).map((value) => (Number.isFinite(value) ? value : null));
      this.columns.set(name, new Numbers({ name, kind: "double", values }, this.rows));
    }
  }

  const data = JSON.parse(document.getElementById("data").textContent);
  const cells = new Table(data.cells);
  cells.derive("intensity", (row) => cells.number("flops", row) / cells.number("bytes", row));

  report.data = {
    cells,
    crossovers: new Table(data.crossovers),
    curves: data.curves,
    samples: data.samples,
    problem: data.problem,
    parameters: data.parameters,
    axes: [...data.problem, ...data.parameters],
    runs: data.runs,
    machines: data.machines,
    links: data.links,
    /** By standing how many variants a first screen has. */
    listed: data.listed,
    trend: data.trend,
    peers: data.peers,
    /** The engine that one would use, by family and machine. */
    fastest: new Map(data.fastest.map(({ family, machine, engine }) => [`${machine}/${family}`, engine])),
    rowOf: new Map(Array.from({ length: cells.rows }, (_, row) => [`${cells.number("run", row)}/${cells.text("id", row)}`, row])),
  };
})(window.Report ??= {});
