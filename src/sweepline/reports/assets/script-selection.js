// Which runs are shown: the expression, the best share and the brushes together.
let shown = RUNS;
function inBrush(row, brush) {
  for (const [key, range] of Object.entries(brush)) {
    const value = row[key];
    if (value === null || value === undefined) return false;
    if (range.values ? !range.values.includes(value) : value < range[0] || value > range[1]) return false;
  }
  return true;
}
function bestShare(rows) {
  if (!OBJECTIVE || state.share >= 100) return rows;
  const ranked = rows.filter((row) => row[OBJECTIVE.key] !== null).sort((a, b) => SIGN * (a[OBJECTIVE.key] - b[OBJECTIVE.key]));
  return ranked.slice(0, Math.max(1, Math.ceil((ranked.length * state.share) / 100)));
}
function apply() {
  let predicate = () => true;
  $("filter-fault").textContent = "";
  if (state.expression.trim()) {
    try { predicate = parse(state.expression); } catch (fault) { $("filter-fault").textContent = `filter: ${fault.message}`; }
  }
  const brushes = Object.values(state.brushes);
  shown = bestShare(RUNS.filter((row) => predicate(row) && brushes.every((brush) => inBrush(row, brush))));
  const n = new Set(shown.map((row) => row.config)).size;
  $("count").textContent = shown.length === RUNS.length
    ? `${RUNS.length} runs of ${n} configurations` : `${shown.length} of ${RUNS.length} runs, ${n} configurations`;
  drawBrushes();
  drawTable();
  pictures.forEach((picture) => picture.follow());
  remember();
}
let isDue = false;
function applySoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; apply(); });
}
function drawBrushes() {
  $("brushes").replaceChildren(...Object.entries(state.brushes).map(([id, brush]) => {
    const text = Object.entries(brush).map(([key, range]) => {
      const title = BY_KEY.get(key)?.title || key;
      return range.values ? `${title}: ${range.values.join(", ")}` : `${title}: ${general(range[0])} … ${general(range[1])}`;
    }).join("; ");
    return element("button", { type: "button", title: "Remove this selection", onclick: () => { setBrush(id, {}); } }, `${text} ✕`);
  }));
}
function setBrush(id, brush) {
  if (Object.keys(brush).length) state.brushes[id] = brush;
  else delete state.brushes[id];
  const owner = pictures.find((picture) => picture.id === id);
  if (owner && !Object.keys(brush).length) owner.clear();
  state.page = 0;
  applySoon();
}
