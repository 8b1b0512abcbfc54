// Which runs are shown: the expression, the best share and the brushes together.
const SHOWN_METRICS = METRICS.slice(0, 5);
let shown = RUNS;
const isShown = new Uint8Array(RUNS.length);

function describeConfiguration(config, rows) {
  const finished = rows.filter((row) => row.state === FINISHED);
  const entry = { config, rows, first: rows[0], summaries: {}, isPartial: !finished.length };
  for (const { key } of SHOWN_METRICS) {
    entry.summaries[key] = summary((finished.length ? finished : rows).map((row) => row[key]).filter((v) => !isMissing(v)));
  }
  entry.result = OBJECTIVE && !entry.isPartial ? entry.summaries[OBJECTIVE.key]?.mean ?? null : null;
  entry.nBad = rows.filter((row) => UNSUCCESSFUL.has(row.state)).length;
  return entry;
}
const byResult = (a, b) => (a.result === null || b.result === null ? (a.result === null) - (b.result === null) : SIGN * (a.result - b.result)) || a.config - b.config;
function group(rows) {
  const groups = new Map();
  for (const row of rows) {
    if (!groups.has(row.config)) groups.set(row.config, []);
    groups.get(row.config).push(row);
  }
  return groups;
}
// All configurations, the best first. Those of a selection are found by going through them, so that ten thousand are in order at once.
const CONFIGURATIONS = [...group(RUNS)].map(([config, rows]) => describeConfiguration(config, rows)).sort(byResult);
let configurations = CONFIGURATIONS;
function selectConfigurations() {
  const found = [];
  for (const entry of CONFIGURATIONS) {
    let n = 0;
    for (const row of entry.rows) n += isShown[row.i];
    if (n === entry.rows.length) found.push(entry);
    else if (n) found.push(describeConfiguration(entry.config, entry.rows.filter((row) => isShown[row.i])));
  }
  return found.sort(byResult);
}
function inBrush(row, entries) {
  for (const [key, range] of entries) {
    const value = row[key];
    if (isMissing(value)) return false;
    if (range.values ? !range.values.includes(value) : value < range.low || value > range.high) return false;
  }
  return true;
}
function select(predicate, brushes) {
  for (const row of RUNS) isShown[row.i] = predicate(row) && brushes.every((brush) => inBrush(row, brush)) ? 1 : 0;
  if (OBJECTIVE && state.share < 100) {
    const ranked = RANKED.filter((row) => isShown[row.i]);
    isShown.fill(0);
    ranked.slice(0, Math.ceil((ranked.length * state.share) / 100)).forEach((row) => { isShown[row.i] = 1; });
  }
  shown = RUNS.filter((row) => isShown[row.i]);
  configurations = selectConfigurations();
}
function apply() {
  let predicate = () => true;
  $("filter-fault").textContent = "";
  if (state.expression.trim()) {
    try {
      const found = parse(state.expression);
      if (RUNS.length) found(RUNS[0]); // what goes too deep does so here
      predicate = found;
    } catch (fault) {
      $("filter-fault").textContent = `filter: ${fault instanceof RangeError ? "it is too long" : fault.message}`;
    }
  }
  select(predicate, Object.values(state.brushes).map(Object.entries));
  const all = count(RUNS.length, "run"), n = count(configurations.length, "configuration");
  $("count").textContent = shown.length === RUNS.length ? `${all} of ${n}` : `${shown.length.toLocaleString("en")} of ${all}, ${n}`;
  drawBrushes();
  pictures.find((picture) => picture.id === touched)?.follow(); // before all others
  catchUp(table);
  pictures.forEach((picture) => picture.follow());
  drawBehind();
  remember();
}
let touched = "";
// Parts of the page draw themselves when they come near the view. After a change those in view are drawn first, as many
// in a frame as it has room for, so that the page answers the next movement of the pointer before all have followed; then
// those near the view, and the others when they come near.
const FRAME_MS = 25;
const isNear = new WeakMap(), isInView = new WeakMap(), partOf = new WeakMap();
const watchers = [["150px", isNear], ["0px", isInView]].map(([rootMargin, found]) => new IntersectionObserver((entries) => entries.forEach((entry) => {
  found.set(entry.target, entry.isIntersecting);
  if (entry.isIntersecting) partOf.get(entry.target).appear();
}), { rootMargin }));
function watch(part) {
  partOf.set(part.place, part);
  watchers.forEach((watcher) => watcher.observe(part.place));
}
const behind = new Set();
let isCatchingUp = false;
function catchUp(part) {
  part.isStale = true;
  behind.add(part);
}
async function drawBehind() {
  if (isCatchingUp) return;
  isCatchingUp = true;
  let began = performance.now();
  const next = (isWanted) => [...behind].find((part) => isWanted.get(part.place));
  for (let part; (part = next(isInView) || next(isNear)); ) {
    if (!isInView.get(part.place)) await new Promise((resolve) => requestIdleCallback(resolve, { timeout: 300 })); // while a button is held there may be none
    behind.delete(part);
    await part.appear();
    if (performance.now() - began < FRAME_MS) continue;
    await new Promise((resolve) => requestAnimationFrame(resolve));
    began = performance.now();
  }
  behind.clear(); // the others are drawn when they come near
  isCatchingUp = false;
}
let isDue = false;
function applySoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; apply(); });
}
function drawBrushes() {
  const text = ([key, range]) => `${BY_KEY.get(key)?.title || key}: ${range.values ? range.values.map(general).join(", ") : `${rounded(range.low)} … ${rounded(range.high)}`}`;
  keepingFocus($("brushes"), () => $("brushes").replaceChildren(...Object.entries(state.brushes).map(([id, brush]) => element("button",
    { type: "button", title: "Remove this selection", "data-focus": id, onclick: () => setBrush(id, {}) }, `${Object.entries(brush).map(text).join("; ")} ✕`))));
}
// A selection in a picture: by column a range of numbers, {low, high}, or {values}. isOwn: that picture shows it already.
function setBrush(id, brush, isOwn = false) {
  const isNone = !Object.keys(brush).length;
  if (isNone && !(id in state.brushes)) return;
  if (isNone) delete state.brushes[id];
  else state.brushes[id] = brush;
  touched = id;
  if (!isOwn) pictures.find((picture) => picture.id === id)?.clear();
  state.page = 0;
  applySoon();
}
// At most n rows for a picture: the best hundred, and of the others always the same ones, so that none jump about.
RUNS.forEach((row) => { row.lot = Math.imul(row.i + 1, 2654435761) >>> 0; });
RANKED.slice(0, 100).forEach((row) => { row.lot = -1; });
function sample(rows, n) {
  if (rows.length <= n) return rows;
  const last = Float64Array.from(rows, (row) => row.lot).sort()[n - 1];
  return rows.filter((row) => row.lot <= last);
}
