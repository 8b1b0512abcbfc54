// The table of configurations, and all that there is of one run.
const SHOWN_METRICS = METRICS.slice(0, 5);
const TABLE_PARAMETERS = PARAMETERS.filter((c) => c.key !== "t").slice(0, 12);
function configurations() {
  const groups = new Map();
  for (const row of shown) {
    if (!groups.has(row.config)) groups.set(row.config, []);
    groups.get(row.config).push(row);
  }
  return [...groups].map(([config, rows]) => {
    const entry = { config, rows, first: rows[0], summaries: {} };
    for (const metric of SHOWN_METRICS) {
      entry.summaries[metric.key] = summary(rows.map((row) => row[metric.key]).filter((v) => v !== null && v !== undefined));
    }
    entry.nBad = rows.filter((row) => UNSUCCESSFUL.has(row.state)).length;
    return entry;
  });
}
function sortValue(entry, key) {
  if (key === "runs") return entry.rows.length;
  if (key in entry.summaries) return entry.summaries[key]?.mean ?? null;
  return entry.first[key];
}
function compareValues(a, b) {
  const missing = (v) => v === null || v === undefined;
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const flip = state.descending ? -1 : 1;
  return flip * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
}
function drawTable() {
  const key = state.sort || OBJECTIVE?.key || "config";
  const entries = configurations();
  if (!state.sort && OBJECTIVE) entries.sort((a, b) => {
    const [x, y] = [sortValue(a, key), sortValue(b, key)];
    return x === null || y === null ? (x === null) - (y === null) : SIGN * (x - y);
  });
  else entries.sort((a, b) => compareValues(sortValue(a, key), sortValue(b, key)) || a.config - b.config);
  const nPages = Math.max(1, Math.ceil(entries.length / PAGE_SIZE));
  state.page = Math.min(state.page, nPages - 1);
  const visible = entries.slice(state.page * PAGE_SIZE, (state.page + 1) * PAGE_SIZE);
  const columns = [...TABLE_PARAMETERS, ...SHOWN_METRICS];
  const spreads = Object.fromEntries(SHOWN_METRICS.map((metric) => {
    const halves = entries.map((entry) => entry.summaries[metric.key]?.half).filter((half) => half > 0).sort((a, b) => a - b);
    const means = entries.map((entry) => entry.summaries[metric.key]?.mean).filter((mean) => mean !== undefined);
    const range = means.length ? means.reduce((a, b) => Math.max(a, b)) - means.reduce((a, b) => Math.min(a, b)) : 0;
    return [metric.key, halves.length ? halves[halves.length >> 1] : range / 50];
  }));
  const head = (title, sortKey, isNumber) => element("th", {
    scope: "col", class: isNumber ? "number" : "", "aria-sort": key === sortKey ? (state.descending ? "descending" : "ascending") : null,
  }, element("button", { type: "button", title: `Sort by ${title}`, onclick: () => {
    state.descending = state.sort === sortKey ? !state.descending : false;
    state.sort = sortKey;
    state.page = 0;
    applySoon();
  } }, title + (key === sortKey && state.sort ? (state.descending ? " ↓" : " ↑") : "")));
  const goal = (c) => (c === OBJECTIVE ? `${c.title} (${DATA.goal})` : c.title);
  $("table").tHead.replaceChildren(element("tr", {}, element("th", { scope: "col" }, "#"),
    ...columns.map((c) => head(goal(c), c.key, c.kind === "number")), head("runs", "runs", true), element("th", { scope: "col" }, "state")));
  const body = [];
  visible.forEach((entry, i) => {
    const isOpen = state.unfolded.includes(entry.config);
    const fold = element("button", { type: "button", class: "fold", "aria-expanded": String(isOpen), "aria-label": "Runs of this configuration", onclick: () => {
      state.unfolded = isOpen ? state.unfolded.filter((c) => c !== entry.config) : [...state.unfolded, entry.config];
      drawTable();
      remember();
      $("table").querySelectorAll("button.fold")[i]?.focus();
    } }, isOpen ? "▾" : "▸");
    const cells = columns.map((c) => {
      if (c.role === "parameter") return element("td", { class: c.kind === "number" ? "number" : "", title: String(entry.first[c.key] ?? "") }, general(entry.first[c.key] ?? "–"));
      const found = entry.summaries[c.key];
      if (!found) return element("td", { class: "number" }, "–");
      const spread = found.half > 0 ? found.half : spreads[c.key];
      const half = found.half > 0 ? element("span", { class: "spread" }, ` ± ${Number(found.half.toPrecision(2))}`) : null;
      return element("td", { class: "number", title: String(found.mean) }, format(found.mean, spread), half);
    });
    body.push(element("tr", {}, element("td", {}, fold, String(state.page * PAGE_SIZE + i + 1)), ...cells,
      element("td", { class: "number" }, String(entry.rows.length)), element("td", {}, stateOf(entry))));
    if (isOpen) entry.rows.forEach((row) => body.push(runRow(row, columns, spreads)));
  });
  $("table").tBodies[0].replaceChildren(...body);
  const turn = (by) => () => { state.page += by; drawTable(); remember(); };
  $("pages").replaceChildren(...(nPages < 2 ? [] : [
    element("button", { type: "button", disabled: state.page === 0, onclick: turn(-1) }, "Previous"),
    `${state.page * PAGE_SIZE + 1}–${Math.min(entries.length, (state.page + 1) * PAGE_SIZE)} of ${entries.length}`,
    element("button", { type: "button", disabled: state.page === nPages - 1, onclick: turn(1) }, "Next")]));
}
function stateOf(entry) {
  const only = entry.rows.length === 1;
  if (only) return runButton(entry.first, entry.first.state);
  if (entry.nBad === 0 && entry.rows.every((row) => row.state === entry.rows[0].state)) return element("span", { class: "state" }, entry.rows[0].state);
  const counts = new Map();
  entry.rows.forEach((row) => counts.set(row.state, (counts.get(row.state) || 0) + 1));
  return element("span", { class: `state ${entry.nBad ? "bad" : ""}` }, [...counts].map(([name, n]) => `${n} ${name}`).join(", "));
}
function runButton(row, text) {
  return element("button", { type: "button", class: "link", title: row.run, onclick: () => showRun(row) }, text);
}
function runRow(row, columns, spreads) {
  const cells = columns.map((c, i) => {
    if (c.role === "parameter") return i === 0
      ? element("td", {}, runButton(row, row.seed === null || row.seed === undefined ? row.run : `seed ${row.seed}`)) : element("td");
    return element("td", { class: "number" }, format(row[c.key], spreads[c.key]));
  });
  if (!columns.length || columns[0].role !== "parameter") cells.unshift(element("td", {}, runButton(row, row.run)));
  return element("tr", { class: "run" }, element("td"), ...cells, element("td", { class: "number" }, seconds(row.duration || 0)),
    element("td", { class: `state ${UNSUCCESSFUL.has(row.state) ? "bad" : ""}`, title: row.reason }, row.state));
}

// ---------------------------------------------------------------- one run

function pairs(entries) {
  return element("dl", {}, ...entries.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, general(value))]));
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
  if (detail.folder) content.append(element("p", {}, "files: ", element("a", { href: encodeURI(detail.folder) }, detail.folder)));
  if (detail.command) content.append(element("h3", {}, "The command that repeats it"), element("pre", {}, detail.command));
  if (detail.tail) content.append(element("h3", {}, "The end of its output"), element("pre", {}, detail.tail));
  $("run").showModal();
}
