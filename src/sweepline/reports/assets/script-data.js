// What the page holds, elements whose texts are never markup, and what the reader has set.
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const COLUMNS = DATA.columns, BY_KEY = new Map(COLUMNS.map((c) => [c.key, c]));
const PARAMETERS = COLUMNS.filter((c) => c.role === "parameter"), METRICS = COLUMNS.filter((c) => c.role === "metric");
const OBJECTIVE = BY_KEY.get(DATA.objective), SIGN = DATA.goal === "maximize" ? -1 : 1;
const PAGE_SIZE = 50, UNSUCCESSFUL = new Set(DATA.unsuccessful), FINISHED = "finished";
const isMissing = (value) => value === null || value === undefined;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && !isMissing(value)) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => !isMissing(child)));
  return made;
}
// Draws a part of the page anew, and leaves the focus on the button there that has the same data-focus as before.
function keepingFocus(parent, draw) {
  const wanted = parent.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  draw();
  if (wanted === undefined) return;
  const again = [...parent.querySelectorAll("[data-focus]")].find((one) => one.dataset.focus === wanted && !one.disabled);
  (again || parent.querySelector("button:not([disabled])") || $("expression")).focus();
}

function expand(columns) {
  const keys = Object.keys(columns);
  const n = keys.length ? (columns[keys[0]].codes || columns[keys[0]]).length : 0;
  const rows = Array.from({ length: n }, (_, i) => ({ i }));
  for (const key of keys) {
    const column = columns[key];
    if (column.levels) column.codes.forEach((code, i) => { rows[i][key] = code < 0 ? null : column.levels[code]; });
    else column.forEach((value, i) => { rows[i][key] = value; });
  }
  return rows;
}
const RUNS = expand(DATA.runs);
// A run that was stopped early has values, but no result: no mean and no rank counts it.
for (const row of RUNS) row.result = OBJECTIVE && row.state === FINISHED ? row[OBJECTIVE.key] : null;
const RANKED = RUNS.filter((row) => row.result !== null).sort((a, b) => SIGN * (a.result - b.result));

// What the reader has set is kept over a reload. Keys of columns are numbers that may move while a sweep goes on, so
// their titles are kept with them; a configuration is known by the runs that it has.
const STORE = `sweepline ${location.pathname} ${DATA.title}`;
const state = {
  expression: "", share: 100, sort: "", descending: false, page: 0, unfolded: [], theme: "system", brushes: {}, axes: null,
  scatter: {}, heat: {}, slice: {}, lines: {}, curves: { top: 6, smooth: 0, group: "config" },
};
function remember() {
  const titles = COLUMNS.map((c) => [c.key, c.title]);
  try { sessionStorage.setItem(STORE, JSON.stringify({ ...state, titles })); } catch { /* it is a convenience */ }
}
function recall() {
  const kept = JSON.parse(sessionStorage.getItem(STORE) || "{}");
  const was = new Map(kept.titles || []);
  delete kept.titles;
  const keyNow = (key) => (was.has(key) ? COLUMNS.find((c) => c.title === was.get(key))?.key : key);
  const moved = (keyed) => Object.fromEntries(Object.entries(keyed || {}).map(([name, key]) => [name, keyNow(key)]).filter(([, key]) => key));
  Object.assign(state, kept);
  state.sort = keyNow(state.sort) ?? "";
  state.axes = state.axes && state.axes.map(keyNow).filter(Boolean);
  for (const name of ["scatter", "heat", "slice", "lines"]) state[name] = moved(state[name]);
  state.curves.group = keyNow(state.curves.group) ?? "config";
  for (const [id, brush] of Object.entries(state.brushes)) {
    const entries = Object.entries(brush).map(([key, range]) => [keyNow(key), range]);
    if (entries.every(([key]) => key)) state.brushes[id] = Object.fromEntries(entries);
    else delete state.brushes[id];
  }
}
try { recall(); } catch { /* a page without a storage starts anew */ }
