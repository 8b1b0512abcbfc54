// The table of configurations, and all that there is of one run.
const OWN_PARAMETERS = PARAMETERS.filter((c) => c.key !== "t"), TABLE_PARAMETERS = OWN_PARAMETERS.slice(0, 12);
const TABLE_COLUMNS = [...TABLE_PARAMETERS, ...SHOWN_METRICS];
const inWords = new Intl.Collator("en", { numeric: true });

function sortValue(entry, key) {
  if (key === "runs") return entry.rows.length;
  if (key in entry.summaries) return entry.summaries[key]?.mean ?? null;
  return entry.first[key];
}
function compareValues(a, b) {
  if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
  const order = typeof a === "number" && typeof b === "number" ? a - b : inWords.compare(a, b);
  return state.descending ? -order : order;
}
function sorted() {
  if (!state.sort) return configurations;
  const keyed = configurations.map((entry) => [sortValue(entry, state.sort), entry]);
  return keyed.sort((a, b) => compareValues(a[0], b[0]) || a[1].config - b[1].config).map(([, entry]) => entry);
}
// How far apart values lie, by which they are rounded: half an interval of the middle configuration, or a part of the range.
function spreadOf(entries, key) {
  const halves = entries.map((entry) => entry.summaries[key]?.half).filter((half) => half > 0).sort((a, b) => a - b);
  if (halves.length) return halves[halves.length >> 1];
  let low = Infinity, high = -Infinity;
  for (const entry of entries) {
    const mean = entry.summaries[key]?.mean;
    if (mean < low) low = mean;
    if (mean > high) high = mean;
  }
  return high > low ? (high - low) / 50 : 0;
}
function drawTable() {
  const entries = sorted();
  const nPages = Math.max(1, Math.ceil(entries.length / PAGE_SIZE));
  state.page = Math.min(state.page, nPages - 1);
  const first = state.page * PAGE_SIZE, visible = entries.slice(first, first + PAGE_SIZE);
  const spreads = Object.fromEntries(SHOWN_METRICS.map(({ key }) => [key, spreadOf(configurations, key)]));
  keepingFocus($("table"), () => {
    $("table").tHead.replaceChildren(drawHead());
    $("table").tBodies[0].replaceChildren(...visible.flatMap((entry, i) => drawEntry(entry, first + i + 1, spreads)));
  });
  const turn = (title, by, isOver) => element("button", { type: "button", disabled: isOver, "data-focus": title, onclick: () => { state.page += by; drawTable(); remember(); } }, title);
  keepingFocus($("pages"), () => $("pages").replaceChildren(...(nPages < 2 ? [] : [
    turn("Previous", -1, state.page === 0), `${first + 1}–${first + visible.length} of ${entries.length.toLocaleString("en")}`,
    turn("Next", 1, state.page === nPages - 1)])));
}
const table = { place: $("runs"), isStale: true, appear() { if (this.isStale) { this.isStale = false; drawTable(); } } };
function drawHead() {
  const [by, isDown] = state.sort ? [state.sort, state.descending] : [OBJECTIVE?.key, SIGN < 0];
  const sort = (key) => {
    state.descending = by === key && !isDown;
    state.sort = key;
    state.page = 0;
    applySoon();
  };
  const head = (title, key, isNumber) => element("th", { scope: "col", class: isNumber ? "number" : "", "aria-sort": key === by ? (isDown ? "descending" : "ascending") : null },
    element("button", { type: "button", title: `Sort by ${title}`, "data-focus": key, onclick: () => sort(key) }, `${title}${key === by ? (isDown ? " ↓" : " ↑") : ""}`));
  const titleOf = (c) => (c === OBJECTIVE ? `${c.title} (${DATA.goal})` : c.title);
  return element("tr", {}, element("th", { scope: "col" }, "#"), ...TABLE_COLUMNS.map((c) => head(titleOf(c), c.key, c.kind === "number")),
    head("runs", "runs", true), element("th", { scope: "col" }, "state"));
}
function drawEntry(entry, number, spreads) {
  const isSeveral = entry.rows.length > 1, isOpen = isSeveral && entry.rows.some((row) => state.unfolded.includes(row.id));
  const toggle = () => {
    const own = new Set(entry.rows.map((row) => row.id));
    state.unfolded = isOpen ? state.unfolded.filter((id) => !own.has(id)) : [...state.unfolded, entry.first.id];
    drawTable();
    remember();
  };
  const fold = isSeveral ? element("button", { type: "button", class: "fold", "data-focus": `fold ${entry.config}`, "aria-expanded": String(isOpen),
    "aria-label": `Runs of configuration ${number}`, onclick: toggle }, isOpen ? "▾" : "▸") : element("span", { class: "fold" });
  const cells = TABLE_COLUMNS.map((c) => {
    const value = entry.first[c.key];
    if (c.role === "parameter") return element("td", { class: c.kind === "number" ? "number" : "", title: isMissing(value) ? "" : String(value) }, isMissing(value) ? "–" : general(value));
    return drawMean(entry, c.key, spreads[c.key]);
  });
  const line = element("tr", {}, element("td", { class: "rank" }, fold, String(number)), ...cells, element("td", { class: "number" }, String(entry.rows.length)), element("td", {}, drawState(entry)));
  return isOpen ? [line, ...entry.rows.map((row) => drawRun(row, spreads))] : [line];
}
function drawMean(entry, key, spread) {
  const found = entry.summaries[key];
  if (!found) return element("td", { class: "number" }, "–");
  const half = found.half > 0 ? element("span", { class: "spread" }, ` ± ${rounded(found.half, 2)}`) : null;
  const title = entry.isPartial ? `${found.mean}: as far as it came` : String(found.mean);
  return element("td", { class: entry.isPartial ? "number partial" : "number", title }, format(found.mean, found.half > 0 ? found.half : spread), half);
}
// What a run came to: one that finished without a finite result of the objective has diverged.
const outcome = (row) => (row.state === FINISHED && OBJECTIVE && isMissing(row[OBJECTIVE.key]) ? "diverged" : row.state);
function drawState(entry) {
  if (entry.rows.length === 1) return runButton(entry.first, outcome(entry.first));
  const counts = new Map();
  entry.rows.forEach((row) => counts.set(outcome(row), (counts.get(outcome(row)) || 0) + 1));
  const text = counts.size === 1 ? outcome(entry.first) : [...counts].map(([name, n]) => `${n} ${name}`).join(", ");
  return element("span", { class: `state ${entry.nBad ? "bad" : ""}` }, text);
}
function runButton(row, text) {
  return element("button", { type: "button", class: "link", title: row.run, "data-focus": `run ${row.id}`, onclick: () => showRun(row) }, text);
}
function drawRun(row, spreads) {
  const name = element("td", { colspan: 1 + TABLE_PARAMETERS.length }, runButton(row, isMissing(row.seed) ? row.run : `seed ${row.seed}`));
  const cells = SHOWN_METRICS.map(({ key }) => element("td", { class: row.state === FINISHED ? "number" : "number partial" }, format(row[key], spreads[key])));
  return element("tr", { class: "run" }, name, ...cells, element("td", { class: "number" }, seconds(row.duration || 0)),
    element("td", { class: `state ${UNSUCCESSFUL.has(row.state) ? "bad" : ""}`, title: row.reason }, outcome(row)));
}

function pairs(entries) {
  return element("dl", {}, ...entries.filter(([, value]) => value !== "" && !isMissing(value))
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]));
}
function showRun(row) {
  const detail = DATA.details[row.i] || {};
  $("run-title").textContent = row.run;
  const content = $("run").querySelector(".content");
  content.replaceChildren(
    pairs([["state", row.state], ["reason", row.reason], ["seed", row.seed], ...PARAMETERS.map((c) => [c.title, row[c.key]]),
      ...METRICS.map((c) => [c.title, row[c.key]]), ["duration", seconds(row.duration || 0)], ["attempt", row.attempt],
      ["device", row.device], ["host", row.host], ["code", row.code], ["run id", row.id]]),
  );
  const address = detail.folder?.split("/").map(encodeURIComponent).join("/");
  if (detail.folder) content.append(element("p", {}, "files: ", element("a", { href: address }, detail.folder)));
  if (detail.command) content.append(element("h3", {}, "The command that repeats it"), element("pre", { tabindex: 0 }, detail.command));
  if (detail.tail) content.append(element("h3", {}, "The end of its output"), element("pre", { tabindex: 0 }, detail.tail));
  $("run").showModal();
}
