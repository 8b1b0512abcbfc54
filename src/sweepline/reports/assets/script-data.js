// What the page holds, elements whose texts are never markup, and what the reader has set.
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const COLUMNS = DATA.columns, BY_KEY = new Map(COLUMNS.map((c) => [c.key, c]));
const PARAMETERS = COLUMNS.filter((c) => c.role === "parameter"), METRICS = COLUMNS.filter((c) => c.role === "metric");
const OBJECTIVE = BY_KEY.get(DATA.objective), SIGN = DATA.goal === "maximize" ? -1 : 1;
const PAGE_SIZE = 50, UNSUCCESSFUL = new Set(DATA.unsuccessful);
const CATEGORIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f", "#6a51a3"];

// ---------------------------------------------------------------- elements, with texts that are never markup

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// ---------------------------------------------------------------- the runs

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

// ---------------------------------------------------------------- what the reader has set, kept over a reload

const STORE = `sweepline ${location.pathname} ${DATA.title}`;
const state = {
  expression: "", share: 100, sort: "", descending: false, page: 0, unfolded: [], theme: "system", brushes: {}, axes: null,
  scatter: {}, heat: {}, slice: {}, curves: { top: 6, smooth: 0, group: "config" },
};
try { Object.assign(state, JSON.parse(sessionStorage.getItem(STORE) || "{}")); } catch { /* a page without a storage starts anew */ }
function remember() {
  try { sessionStorage.setItem(STORE, JSON.stringify(state)); } catch { /* it is a convenience */ }
}
