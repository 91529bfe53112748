// What the reader chose. It lives in the address behind `#`, so a link restores it and going back works; what is as in the beginning is left out.
(function (report) {
  "use strict";

  /** Fields with one value. */
  const SINGLE = ["machine", "text", "view", "x", "y", "colour", "logx", "logy", "value", "sort", "page", "cell", "theme", "verdict", "engines"];
  /** Fields with a list of values: of these columns, only cells with one of them. */
  const FILTERS = ["family", "engine", "axis:precision", "axis:threads", "status", "run", "variant"];

  const listeners = [];
  let current = read(location.hash);

  function read(hash) {
    const query = new URLSearchParams(hash.replace(/^#/, ""));
    const state = { only: {} };
    for (const name of SINGLE) if (query.has(name)) state[name] = query.get(name);
    for (const name of FILTERS) if (query.has(name)) state.only[name] = query.getAll(name);
    return state;
  }

  function write(state) {
    const query = new URLSearchParams();
    for (const name of FILTERS) for (const value of state.only[name] ?? []) query.append(name, value);
    for (const name of SINGLE) if (state[name] !== undefined) query.set(name, state[name]);
    return query.toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
  }

  /** The state with this change; undefined takes a field back to what it was in the beginning. A change of filters begins at the first page. */
  function changed(patch) {
    const next = { page: undefined, ...patch };
    if (Object.keys(patch).every((name) => ["cell", "theme", "page"].includes(name))) next.page = "page" in patch ? patch.page : current.page;
    const state = { ...current, ...next, only: { ...(patch.only === undefined ? current.only : {}), ...patch.only } };
    for (const [name, values] of Object.entries(state.only)) if (values.length === 0) delete state.only[name];
    return state;
  }

  const address = (patch) => `#${write(changed(patch))}`;
  const tell = (before) => { for (const listener of listeners) listener(current, before); };

  /** Changes the state; `instead` replaces the entry in the history, as for every key that is typed. */
  function set(patch, { instead = false } = {}) {
    const before = current;
    const next = changed(patch);
    if (write(next) === write(before)) return;
    current = next;
    const hash = `#${write(next)}`;
    if (instead) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
    tell(before);
  }

  /** `patch` for one filter, the others as they are. */
  const only = (name, values) => ({ only: { ...current.only, [name]: values } });

  addEventListener("popstate", () => {
    const before = current;
    current = read(location.hash);
    if (write(current) !== write(before)) tell(before);
  });

  report.state = { get: () => current, set, only, address, on: (listener) => listeners.push(listener) };
})(window.Report ??= {});
