"use strict";
(() => {
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

  // ---------------------------------------------------------------- numbers

  function format(value, spread) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
    if (!spread || !isFinite(spread)) return String(Number(value.toPrecision(5)));
    const decimals = 1 - Math.floor(Math.log10(spread));
    if (decimals < 0 || decimals > 8) return String(Number(value.toPrecision(5)));
    return value.toFixed(decimals);
  }
  function general(value) { return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value); }
  function seconds(s) {
    if (s < 60) return `${s.toFixed(1)} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
    return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  }
  // Student's t at 97.5 % for 1 to 30 degrees of freedom; beyond, an expansion around the normal's (Abramowitz and Stegun 26.7.5).
  const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
    2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];
  const student = (df) => (df <= 30 ? T[df - 1] : 1.96 + 2.37 / df);
  function summary(values) {
    const n = values.length;
    if (!n) return null;
    const mean = values.reduce((a, b) => a + b, 0) / n;
    if (n < 2) return { mean, half: NaN, n };
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1);
    return { mean, half: student(n - 1) * Math.sqrt(variance / n), n };
  }

  // ---------------------------------------------------------------- filter expressions: no code is ever made of them

  const FIXED = ["run", "id", "state", "seed", "reason", "device", "host", "duration", "sweep", "attempt", "code"];
  function resolve(name) {
    const found = COLUMNS.find((c) => c.title === name) || COLUMNS.find((c) => c.title.split(/[./]/).pop() === name);
    if (found) return found.key;
    if (FIXED.includes(name)) return name;
    throw new Error(`no parameter or metric is called '${name}'`);
  }
  function parse(text) {
    const tokens = [];
    const pattern = /\s*(?:(>=|<=|==|!=|=|>|<|\(|\)|\[|\]|,)|"([^"]*)"|'([^']*)'|`([^`]*)`|([^\s()[\],<>=!"'`]+))/gy;
    let at = 0;
    while (at < text.trimEnd().length) {
      pattern.lastIndex = at;
      const found = pattern.exec(text);
      if (!found) throw new Error(`cannot read '${text.slice(at, at + 12)}'`);
      at = pattern.lastIndex;
      if (found[1]) tokens.push({ sign: found[1] });
      else if (found[4] !== undefined) tokens.push({ name: found[4] });
      else if (found[5] !== undefined) tokens.push({ word: found[5] });
      else tokens.push({ text: found[2] ?? found[3] });
    }
    let next = 0;
    const peek = () => tokens[next] || {};
    const take = () => tokens[next++] || {};
    const isWord = (word) => peek().word === word;
    function either() {
      let left = both();
      while (isWord("or")) { take(); const l = left, r = both(); left = (row) => l(row) || r(row); }
      return left;
    }
    function both() {
      let left = single();
      while (isWord("and")) { take(); const l = left, r = single(); left = (row) => l(row) && r(row); }
      return left;
    }
    function single() {
      if (isWord("not")) { take(); const inner = single(); return (row) => !inner(row); }
      if (peek().sign === "(") {
        take();
        const inner = either();
        if (take().sign !== ")") throw new Error("a ')' is missing");
        return inner;
      }
      return comparison();
    }
    function value() {
      const token = take();
      if (token.text !== undefined) return token.text;
      if (token.word === undefined) throw new Error("a value is missing");
      const number = Number(token.word);
      return Number.isNaN(number) ? token.word : number;
    }
    function comparison() {
      const token = take();
      const name = token.word ?? token.name ?? token.text;
      if (name === undefined) throw new Error("a name is missing");
      const sign = peek().sign;
      if (isWord("in")) {
        take();
        if (take().sign !== "[") throw new Error("'in' needs a list: x in [1, 2]");
        const key = resolve(name), values = new Set();
        while (peek().sign !== "]") {
          values.add(String(value()));
          if (peek().sign === ",") take();
          else if (peek().sign !== "]") throw new Error("a ']' is missing");
        }
        take();
        return (row) => values.has(String(row[key]));
      }
      if (!sign || !/^(>=|<=|==|!=|=|>|<)$/.test(sign)) {
        const part = String(name).toLowerCase();
        return (row) => row.run.toLowerCase().includes(part) || row.state.includes(part);
      }
      take();
      const key = resolve(name), wanted = value();
      const equal = (row) => (typeof wanted === "number" ? row[key] === wanted : String(row[key]) === wanted);
      if (sign === "==" || sign === "=") return equal;
      if (sign === "!=") return (row) => !equal(row);
      const order = { ">": (a) => a > wanted, "<": (a) => a < wanted, ">=": (a) => a >= wanted, "<=": (a) => a <= wanted }[sign];
      return (row) => row[key] !== null && row[key] !== undefined && order(row[key]);
    }
    const found = either();
    if (next < tokens.length) throw new Error(`'${tokens[next].word ?? tokens[next].sign ?? tokens[next].text}' is one word too many`);
    return found;
  }

  // ---------------------------------------------------------------- which runs are shown

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

  // ---------------------------------------------------------------- the table

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

  // ---------------------------------------------------------------- pictures drawn by Vega

  const pictures = [];
  const isVisible = new WeakMap();
  const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
    isVisible.set(entry.target, entry.isIntersecting);
    if (entry.isIntersecting) pictures.find((picture) => picture.place === entry.target)?.appear();
  }), { rootMargin: "150px" });

  function colors() {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(["back", "text", "faint", "line", "grid", "mark"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
  function vegaConfig() {
    const c = colors();
    const font = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
    return {
      background: "transparent", font,
      axis: { labelColor: c.text, titleColor: c.text, gridColor: c.grid, domainColor: c.line, tickColor: c.line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 140, titleLimit: 300 },
      legend: { labelColor: c.text, titleColor: c.text, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 200, titleLimit: 200 },
      view: { stroke: c.line }, text: { fill: c.text },
    };
  }
  function fieldsOf(spec, found = new Set()) {
    for (const [key, value] of Object.entries(spec)) {
      if ((key === "field" || key === "fields") && value) [].concat(value).forEach((name) => found.add(name));
      else if (key === "filter" && typeof value === "string") for (const match of value.matchAll(/datum\.(\w+)/g)) found.add(match[1]);
      else if (value && typeof value === "object" && key !== "values" && key !== "datasets") fieldsOf(value, found);
    }
    return found;
  }
  function slim(rows, fields) {
    return rows.map((row) => { const made = {}; for (const field of fields) made[field] = row[field] ?? null; return made; });
  }

  class Picture {
    constructor(id, title, parent, { spec, data = {}, note = "", controls = [] }) {
      Object.assign(this, { id, title, spec, data, view: null, isStale: false, isDrawing: false });
      this.place = element("div", { class: "chart", role: "img", "aria-label": `${title}. The table above has the same runs.` });
      const save = (kind) => element("button", { type: "button", onclick: () => this.save(kind), "aria-label": `Save ${title} as ${kind}` }, kind);
      this.figure = element("figure", { id: `picture-${id}` }, element("figcaption", {}, element("h3", {}, title), ...controls, save("SVG"), save("PNG")),
        this.place, note ? element("p", { class: "note" }, note) : null);
      parent.append(this.figure);
      pictures.push(this);
      watcher.observe(this.place);
    }
    datasets() {
      const fields = fieldsOf(this.spec);
      const sets = typeof this.data === "function" ? this.data() : { ...this.data };
      const text = JSON.stringify(this.spec);
      if (text.includes('"name":"runs"')) sets.runs = slim(RUNS, fields);
      if (text.includes('"name":"shown"')) sets.shown = slim(shown, fields);
      return sets;
    }
    async appear() {
      if (this.isDrawing || (this.view && !this.isStale)) return;
      if (this.view) { this.update(); return; }
      this.isDrawing = true;
      try {
        const spec = { ...this.spec, datasets: this.datasets() };
        const made = await vegaEmbed(this.place, spec, { renderer: "canvas", actions: false, ast: true, config: vegaConfig(), tooltip: { theme: "custom" } });
        this.view = made.view;
        this.isStale = false;
        this.listen();
      } catch (fault) {
        this.place.replaceChildren(element("p", { class: "fault" }, `This picture cannot be drawn: ${fault.message}`));
      }
      this.isDrawing = false;
      this.figure.dataset.drawn = "true";
    }
    listen() {
      const known = JSON.stringify(this.spec);
      if (known.includes('"name":"brush"')) this.view.addSignalListener("brush", (_, value) => {
        const brush = {};
        for (const [key, range] of Object.entries(value || {})) {
          if (!BY_KEY.has(key) || !Array.isArray(range)) continue;
          brush[key] = typeof range[0] === "number" && range.length === 2 ? [Math.min(...range), Math.max(...range)] : { values: [...range] };
        }
        setBrush(this.id, brush);
      });
      if (known.includes('"name":"cell"')) this.view.addSignalListener("cell", (_, value) => {
        const brush = {};
        for (const [key, values] of Object.entries(value || {})) if (BY_KEY.has(key) && Array.isArray(values)) brush[key] = { values: [...values] };
        setBrush(this.id, brush);
      });
    }
    follow() {
      if (!JSON.stringify(this.spec).includes('"name":"shown"') && !this.isFollowing) return;
      this.isStale = true;
      if (this.view && isVisible.get(this.place)) this.update();
    }
    update() {
      this.isStale = false;
      const sets = this.datasets();
      for (const [name, rows] of Object.entries(sets)) {
        if (name === "runs" || !JSON.stringify(this.spec).includes(`"name":"${name}"`)) continue;
        this.view.change(name, vega.changeset().remove(vega.truthy).insert(rows));
      }
      this.view.runAsync();
    }
    clear() { /* the rectangle is redrawn with the picture */
      if (JSON.stringify(this.spec).includes('"name":"brush"') || JSON.stringify(this.spec).includes('"name":"cell"')) this.redraw();
    }
    redraw(spec = this.spec) {
      this.spec = spec;
      this.view?.finalize();
      this.view = null;
      this.place.replaceChildren();
      if (isVisible.get(this.place)) this.appear();
    }
    async save(kind) {
      await this.appear();
      if (!this.view) return;
      const dark = document.documentElement.dataset.theme === "dark";
      const background = this.view.background();
      this.view.background(dark ? colors().back : "white");
      if (kind === "SVG") download(`${this.id}.svg`, new Blob([await this.view.toSVG()], { type: "image/svg+xml" }));
      else (await this.view.toCanvas(3)).toBlob((blob) => download(`${this.id}.png`, blob));
      this.view.background(background);
    }
  }
  function download(name, blob) {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  function choice(label, options, value, onchange) {
    const select = element("select", { "aria-label": label, onchange: () => onchange(select.value) },
      ...options.map(([key, title]) => element("option", { value: key, selected: key === value }, title)));
    return element("span", {}, element("label", {}, `${label} `), select);
  }
  const titled = (columns) => columns.map((c) => [c.key, c.title]);
  // A specification with another column on one of its channels; how a column is put there is told by the data.
  function withChannel(spec, name, definition) {
    const change = (unit) => {
      const made = { ...unit };
      if (made.encoding?.[name]?.field) made.encoding = { ...made.encoding, [name]: definition };
      if (made.layer) made.layer = made.layer.map(change);
      return made;
    };
    return change(spec);
  }

  // ---------------------------------------------------------------- the pictures of this report

  const P = DATA.pictures;
  const NUMBERS = PARAMETERS.filter((c) => c.kind === "number");
  const ORDER = (P.order || []).map((key) => BY_KEY.get(key)).filter(Boolean);

  function addScatter(parent) {
    if (!P.scatter) return;
    const axes = [...NUMBERS, ...PARAMETERS.filter((c) => c.kind === "category" && c.isFew), ...METRICS];
    const chosen = Object.assign({ x: ORDER[0].key, y: OBJECTIVE.key }, state.scatter);
    if (!BY_KEY.has(chosen.x) || !BY_KEY.has(chosen.y)) Object.assign(chosen, { x: ORDER[0].key, y: OBJECTIVE.key });
    const spec = () => withChannel(withChannel(P.scatter.spec, "x", BY_KEY.get(chosen.x).axis), "y", BY_KEY.get(chosen.y).axis);
    const pick = (axis) => (key) => { chosen[axis] = key; state.scatter = chosen; delete state.brushes.scatter; picture.redraw(spec()); applySoon(); };
    const picture = new Picture("scatter", "Any two", parent, { spec: spec(),
      controls: [choice("x", titled(axes), chosen.x, pick("x")), choice("y", titled(axes), chosen.y, pick("y"))],
      note: "Drag to select runs, here and in all other pictures and the table; double click selects all again; Shift and wheel zoom." });
  }
  function addSlice(parent, key, id, isFixed) {
    if (!P.slice) return;
    let column = BY_KEY.get(key);
    const spec = () => {
      const channel = column.kind === "number" ? column.axis : column.step;
      const made = withChannel(P.slice.spec, "x", channel);
      return column.kind === "number" ? made : { ...made, layer: made.layer.map(({ params, ...unit }) => unit) };
    };
    const data = () => ({ means: column.means || [] });
    const controls = isFixed ? [] : [choice("parameter", titled(PARAMETERS), key, (chosen) => {
      column = BY_KEY.get(chosen);
      state.slice = { x: chosen };
      delete state.brushes[id];
      picture.redraw(spec());
      applySoon();
    })];
    const picture = new Picture(id, isFixed ? `${OBJECTIVE.title} by ${column.title}` : "One parameter", parent, { spec: spec(), data, controls,
      note: "Grey: single runs. Line: the mean of all runs at a value with its 95 % interval." });
  }
  function addHeat(parent, x, y, id, isFixed) {
    if (!P.heat) return;
    const chosen = Object.assign({ x, y }, isFixed ? {} : state.heat);
    const few = PARAMETERS.filter((c) => c.isFew && c.key !== "sweep");
    const spec = () => {
      const of_y = BY_KEY.get(chosen.y);
      const made = withChannel(P.heat.spec, "x", BY_KEY.get(chosen.x).step);
      return withChannel(made, "y", of_y.reversed);
    };
    const pick = (axis) => (key) => { chosen[axis] = key; state.heat = chosen; delete state.brushes[id]; picture.redraw(spec()); applySoon(); };
    const controls = isFixed ? [] : [choice("x", titled(few), chosen.x, pick("x")), choice("y", titled(few), chosen.y, pick("y"))];
    const title = isFixed ? `${OBJECTIVE.title} by ${BY_KEY.get(x).title} and ${BY_KEY.get(y).title}` : "Two parameters";
    const picture = new Picture(id, title, parent, { spec: spec(), controls,
      note: "The mean of the runs at each pair; blank where no run has a finite result. Click a field to select its runs, double click for all." });
  }
  function mapPair() {
    const few = ORDER.filter((c) => c.isFew);
    const size = few.find((c) => /(^|[._/])(batch_size|bs)$/.test(c.title)), rate = few.find((c) => /(^|[._/])(lr|step_size|learning_rate)$/.test(c.title));
    return size && rate ? [rate.key, size.key] : few.length > 1 ? [few[0].key, few[1].key] : null;
  }

  function addFirst() {
    const parent = $("first");
    const real = PARAMETERS.filter((c) => c.key !== "t" && c.key !== "sweep");
    if (!OBJECTIVE || !real.length) return;
    const pair = mapPair();
    if (real.length === 1) addSlice(parent, real[0].key, "first-slice", true);
    else if (real.length === 2 && pair) {
      addHeat(parent, pair[0], pair[1], "first-heat", true);
      addSlice(parent, ORDER[0].key, "first-slice", true);
    } else {
      if (P.importance) new Picture("importance", "Importance", parent, { spec: P.importance.spec, note: P.importance.note });
      if (pair) addHeat(parent, pair[0], pair[1], "first-heat", true);
      else addSlice(parent, ORDER[0].key, "first-slice", true);
    }
    if (P.tradeoff) new Picture("tradeoff", "Quality and cost: the golden middle", parent, P.tradeoff);
  }

  // ---------------------------------------------------------------- curves

  const CURVES = DATA.curves.metrics;
  function placesOf(metric) {
    const first = CURVES[metric];
    const named = DATA.curves.places.filter((place) => first.every((curve) => curve[place]));
    const size = PARAMETERS.find((c) => /(^|[._/])(batch_size|bs)$/.test(c.title) && c.kind === "number");
    const rate = PARAMETERS.find((c) => /(^|[._/])(lr|step_size|learning_rate)$/.test(c.title) && c.kind === "number");
    const base = named.includes("step") ? "step" : named.includes("epoch") ? "epoch" : "point";
    return [...named.map((place) => [place, place]), ["point", "point"], ["relative", "share of the run"], ["time", "seconds, spread evenly over the run"],
      ...(named.includes("samples") && size ? [["updates", `updates (samples / ${size.title})`]] : []),
      ...(rate ? [["effective", `effective ${base}s (${rate.title} × ${base})`]] : [])].map(([key, title]) => [key, title, size, rate, base]);
  }
  function positions(curve, place, size, rate, base) {
    const n = curve.y.length, row = RUNS[curve.r], index = curve.i || [...Array(n).keys()];
    const last = index[n - 1] || 1;
    if (place === "point") return index.map((i) => i + 1);
    if (place === "relative") return index.map((i) => i / last);
    if (place === "time") return index.map((i) => ((i + 1) / (last + 1)) * (row.duration || 0));
    if (place === "updates") return curve.samples.map((s) => s / row[size.key]);
    if (place === "effective") return positions(curve, base).map((v) => v * row[rate.key]);
    return curve[place];
  }
  // An exponential average that weighs by distance: points far apart are smoothed less than points close by.
  function smooth(xs, ys, amount) {
    if (!amount) return ys;
    const scale = amount * Math.abs(xs[xs.length - 1] - xs[0]) || 1;
    let held = ys[0];
    return ys.map((y, i) => {
      if (i === 0) return held;
      const keep = Math.exp(-Math.abs(xs[i] - xs[i - 1]) / scale);
      held = Number.isFinite(held) ? keep * held + (1 - keep) * y : y;
      return held;
    });
  }
  function addCurves() {
    const names = Object.keys(CURVES);
    if (!names.length || !RUNS.length) return;
    $("curves").hidden = false;
    const [controls, parent] = $("curves").querySelectorAll(".controls, .pictures");
    const chosen = state.curves;
    const fallback = OBJECTIVE && names.includes(OBJECTIVE.title) ? OBJECTIVE.title : names[0];
    if (!names.includes(chosen.metric)) chosen.metric = fallback;
    const groups = [["config", "configuration"], ...titled(PARAMETERS.filter((c) => c.isFew))];
    if (!groups.some(([key]) => key === chosen.group)) chosen.group = "config";
    let left = 0;
    function lines() {
      const places = placesOf(chosen.metric);
      const [place, , size, rate, base] = places.find(([key]) => key === chosen.place) || places[0];
      const visible = new Set(shown.map((row) => row.i));
      const order = configurations().filter((e) => !OBJECTIVE || e.summaries[OBJECTIVE.key] !== null);
      if (OBJECTIVE) order.sort((a, b) => SIGN * ((a.summaries[OBJECTIVE.key]?.mean ?? Infinity * SIGN) - (b.summaries[OBJECTIVE.key]?.mean ?? Infinity * SIGN)));
      const wanted = chosen.group === "config" ? new Map(order.slice(0, chosen.top).map((e, i) => [e.config, i])) : null;
      left = wanted ? Math.max(0, order.length - wanted.size) : 0;
      const isVarying = (c) => wanted && new Set(order.slice(0, chosen.top).map((e) => e.first[c.key])).size > 1;
      const named = PARAMETERS.filter((c) => c.key !== "t" && isVarying(c));
      const label = (row) => wanted
        ? `${wanted.get(row.config) + 1}: ${named.map((c) => `${c.title.split(".").pop()}=${general(row[c.key])}`).join(", ") || row.run}`.slice(0, 90)
        : `${BY_KEY.get(chosen.group).title.split(".").pop()} = ${general(row[chosen.group])}`;
      const raw = [], byGroup = new Map();
      for (const curve of CURVES[chosen.metric]) {
        const row = RUNS[curve.r];
        if (!visible.has(curve.r) || (wanted && !wanted.has(row.config))) continue;
        const xs = positions(curve, place, size, rate, base), ys = curve.y.map((y) => (typeof y === "number" ? y : NaN));
        const g = label(row), even = smooth(xs, ys, chosen.smooth);
        if (!byGroup.has(g)) byGroup.set(g, []);
        byGroup.get(g).push({ xs, ys: even });
        if (chosen.smooth) xs.forEach((x, i) => { if (isFinite(ys[i]) && (!chosen.isLog || ys[i] > 0)) raw.push({ g, r: curve.r, x, y: ys[i] }); });
      }
      const found = [];
      for (const [g, members] of byGroup) {
        const at = new Map();
        for (const { xs, ys } of members) xs.forEach((x, i) => { if (isFinite(ys[i])) { const k = Number(x.toPrecision(9)); if (!at.has(k)) at.set(k, []); at.get(k).push(ys[i]); } });
        for (const [x, values] of [...at].sort((a, b) => a[0] - b[0])) {
          const mean = values.reduce((a, b) => a + b, 0) / values.length;
          if ((chosen.isLog && mean <= 0) || (chosen.isLogPlace && x <= 0)) continue;
          found.push({ g, x, y: mean, low: Math.max(chosen.isLog ? 1e-300 : -Infinity, Math.min(...values)), high: Math.max(...values) });
        }
      }
      return { lines: found, raw };
    }
    function spec() {
      const places = placesOf(chosen.metric);
      const place = places.find(([key]) => key === chosen.place) || places[0];
      let made = structuredClone(P.curves?.spec || DATA.pictures.curves?.spec);
      for (const unit of made.layer) {
        unit.encoding.x = { ...unit.encoding.x, title: place[1], scale: chosen.isLogPlace ? { type: "log" } : { zero: false } };
        unit.encoding.y = { ...unit.encoding.y, title: chosen.metric, scale: chosen.isLog ? { type: "log" } : { zero: false } };
      }
      if (!chosen.smooth) { // the raw curves are the lines then
        const [raw, band, line] = made.layer;
        made.layer = [band, { ...line, params: raw.params }];
      }
      return { ...made, height: 340 };
    }
    const picture = new Picture("curves", "Mean over seeds, and the range between them", parent, { spec: spec(), data: lines,
      note: DATA.curves.n_left_out ? `${DATA.curves.n_left_out} of ${DATA.curves.n_points} points are left out of this page; the extremes of each stretch are kept.` : "" });
    picture.isFollowing = true;
    const change = (name) => (value) => { chosen[name] = value; state.curves = chosen; remember(); picture.redraw(spec()); };
    const number = (label, name, options, parse = Number) => choice(label, options, String(chosen[name]), (v) => change(name)(parse(v)));
    const toggle = (label, name) => {
      const box = element("input", { type: "checkbox", checked: Boolean(chosen[name]), onchange: () => change(name)(box.checked) });
      return element("label", {}, box, ` ${label}`);
    };
    controls.append(choice("metric", names.map((name) => [name, name]), chosen.metric, change("metric")),
      choice("by", placesOf(chosen.metric).map(([key, title]) => [key, title]), chosen.place, change("place")),
      choice("group", groups, chosen.group, change("group")),
      number("best", "top", [["3", "3"], ["6", "6"], ["12", "12"], ["24", "24"], ["100", "100"]]),
      number("smoothing", "smooth", [["0", "none"], ["0.02", "light"], ["0.05", "middle"], ["0.15", "strong"]]),
      toggle("log values", "isLog"), toggle("log axis", "isLogPlace"));
  }

  // ---------------------------------------------------------------- parallel coordinates: ten thousand lines on a canvas of our own

  const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  function viridis(t) {
    const at = Math.min(0.9999, Math.max(0, t)) * (VIRIDIS.length - 1), i = Math.floor(at), f = at - i;
    return `rgb(${VIRIDIS[i].map((v, k) => Math.round(v + f * (VIRIDIS[i + 1][k] - v))).join(",")})`;
  }
  class Parallel {
    constructor(parent) {
      this.id = "parallel";
      const known = [...ORDER, ...PARAMETERS.filter((c) => !ORDER.includes(c) && c.key !== "t"), ...(OBJECTIVE ? [OBJECTIVE] : [])].slice(0, 12);
      this.axes = (state.axes || []).map((key) => BY_KEY.get(key)).filter(Boolean);
      if (this.axes.length < 2) this.axes = known;
      this.all = element("canvas"); this.some = element("canvas");
      this.place = element("div", { class: "parallel chart", role: "img", "aria-label": "Parallel coordinates of all runs; the filter above selects the same by keyboard" }, this.all, this.some);
      const save = (kind) => element("button", { type: "button", onclick: () => this.save(kind), "aria-label": `Save parallel coordinates as ${kind}` }, kind);
      this.figure = element("figure", { id: "picture-parallel" }, element("figcaption", {}, element("h3", {}, `Each line is a run${OBJECTIVE ? `, coloured by ${OBJECTIVE.title}` : ""}`), save("SVG"), save("PNG")), this.place,
        element("p", { class: "note" }, "Drag along an axis to select a range, click it to clear; click a name to move its axis to the right."));
      parent.append(this.figure);
      pictures.push(this);
      watcher.observe(this.place);
      this.place.addEventListener("pointerdown", (event) => this.begin(event));
      new ResizeObserver(() => { if (this.isDrawn) this.draw(); }).observe(this.place);
    }
    appear() { if (!this.isDrawn || this.isStale) this.draw(); }
    follow() { this.isStale = true; if (this.isDrawn && isVisible.get(this.place)) this.drawSome(); }
    clear() { this.drawSome(); }
    scales() {
      return this.axes.map((column) => {
        const values = RUNS.map((row) => row[column.key]).filter((v) => v !== null && v !== undefined);
        if (column.kind === "category") {
          const levels = [...new Set(values)].sort(), at = new Map(levels.map((level, i) => [level, (i + 0.5) / levels.length]));
          return { column, levels, at: (v) => at.get(v), inverse: (t) => levels[Math.min(levels.length - 1, Math.max(0, Math.floor(t * levels.length)))] };
        }
        const to = column.isLog ? Math.log : (v) => v, from = column.isLog ? Math.exp : (v) => v;
        let low = Infinity, high = -Infinity;
        for (const v of values) { const s = to(v); if (s < low) low = s; if (s > high) high = s; }
        const range = high - low || 1;
        return { column, low: from(low), high: from(high), at: (v) => (to(v) - low) / range, inverse: (t) => from(low + t * range) };
      });
    }
    draw() {
      this.isDrawn = true;
      const { width, height } = this.place.getBoundingClientRect();
      if (!width) return;
      const ratio = window.devicePixelRatio || 1;
      for (const canvas of [this.all, this.some]) { canvas.width = width * ratio; canvas.height = height * ratio; canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0); }
      Object.assign(this, { width, height, top: 34, bottom: height - 22, sides: Math.min(70, width / (this.axes.length + 1)) });
      this.scale = this.scales();
      this.xs = this.axes.map((_, i) => this.sides + (i * (width - 2 * this.sides)) / Math.max(1, this.axes.length - 1));
      this.lines = RUNS.map((row) => this.scale.map((s) => { const v = row[s.column.key]; return v === null || v === undefined ? NaN : this.bottom - s.at(v) * (this.bottom - this.top); }));
      const values = OBJECTIVE ? RUNS.map((row) => row[OBJECTIVE.key]).filter((v) => v !== null).sort((a, b) => SIGN * (a - b)) : [];
      const rank = new Map();
      values.forEach((v, i) => { if (!rank.has(v)) rank.set(v, i / Math.max(1, values.length - 1)); });
      this.color = RUNS.map((row) => (OBJECTIVE && row[OBJECTIVE.key] !== null ? Math.round((1 - rank.get(row[OBJECTIVE.key])) * 31) : -1));
      const context = this.all.getContext("2d"), c = colors();
      context.clearRect(0, 0, width, height);
      context.strokeStyle = c.faint; context.globalAlpha = Math.max(0.03, Math.min(0.25, 120 / RUNS.length)); context.lineWidth = 1;
      this.trace(context, RUNS.keys());
      context.globalAlpha = 1;
      this.drawAxes(context, c);
      this.drawSome();
      this.figure.dataset.drawn = "true";
    }
    trace(context, numbers) {
      context.beginPath();
      for (const number of numbers) {
        const ys = this.lines[number];
        let isDown = false;
        for (let i = 0; i < ys.length; i++) {
          if (Number.isNaN(ys[i])) { isDown = false; continue; }
          if (isDown) context.lineTo(this.xs[i], ys[i]); else context.moveTo(this.xs[i], ys[i]);
          isDown = true;
        }
      }
      context.stroke();
    }
    drawAxes(context, c) {
      this.place.querySelectorAll(".axis, .end").forEach((old) => old.remove());
      context.strokeStyle = c.text; context.lineWidth = 1;
      this.scale.forEach((s, i) => {
        context.beginPath(); context.moveTo(this.xs[i], this.top); context.lineTo(this.xs[i], this.bottom); context.stroke();
        const name = element("button", { type: "button", class: "axis", title: `${s.column.title}: move to the right`, style: `left:${this.xs[i]}px`, onclick: () => this.move(i) }, s.column.title);
        this.place.append(name);
        const end = (text, y) => this.place.append(element("span", { class: "end", style: `left:${this.xs[i]}px;top:${y}px` }, text));
        if (s.levels) s.levels.slice(0, 12).forEach((level) => end(level, this.bottom - s.at(level) * (this.bottom - this.top) - 8));
        else if (s.low !== undefined && isFinite(s.low)) { end(general(Number(s.high.toPrecision(4))), this.top - 15); end(general(Number(s.low.toPrecision(4))), this.bottom + 2); }
      });
    }
    drawSome() {
      if (!this.lines) return;
      this.isStale = false;
      const context = this.some.getContext("2d");
      context.clearRect(0, 0, this.width, this.height);
      const dark = document.documentElement.dataset.theme === "dark";
      const byColor = new Map();
      for (const row of shown) { const k = this.color[row.i]; if (!byColor.has(k)) byColor.set(k, []); byColor.get(k).push(row.i); }
      context.globalAlpha = Math.max(0.12, Math.min(0.9, 400 / Math.max(1, shown.length))); context.lineWidth = 1.2;
      for (const [k, numbers] of [...byColor].sort((a, b) => a[0] - b[0])) {
        context.strokeStyle = k < 0 ? colors().faint : viridis(dark ? 0.15 + (0.85 * k) / 31 : (0.88 * k) / 31);
        this.trace(context, numbers);
      }
      context.globalAlpha = 0.25; context.fillStyle = colors().mark;
      const brush = state.brushes.parallel || {};
      this.scale.forEach((s, i) => {
        const range = brush[s.column.key];
        if (!range) return;
        const ends = range.values ? range.values.map(s.at).sort((a, b) => a - b) : range.map(s.at);
        const pad = range.values ? 0.5 / s.levels.length : 0;
        const [low, high] = [ends[0] - pad, ends[ends.length - 1] + pad];
        context.fillRect(this.xs[i] - 9, this.bottom - high * (this.bottom - this.top), 18, Math.max(2, (high - low) * (this.bottom - this.top)));
      });
      context.globalAlpha = 1;
    }
    move(i) {
      const [moved] = this.axes.splice(i, 1);
      this.axes.splice(i === this.axes.length ? 0 : i + 1, 0, moved);
      state.axes = this.axes.map((c) => c.key);
      remember();
      this.draw();
      this.place.querySelectorAll("button.axis")[Math.min(i + 1, this.axes.length - 1)]?.focus();
    }
    begin(event) {
      if (event.target.closest("button") || !this.scale) return;
      const box = this.place.getBoundingClientRect(), x = event.clientX - box.left, y0 = event.clientY - box.top;
      const i = this.xs.reduce((best, at, k) => (Math.abs(at - x) < Math.abs(this.xs[best] - x) ? k : best), 0);
      if (Math.abs(this.xs[i] - x) > 24) return;
      const s = this.scale[i], share = (y) => Math.min(1, Math.max(0, (this.bottom - y) / (this.bottom - this.top)));
      this.place.setPointerCapture(event.pointerId);
      const set = (y1) => {
        const brush = { ...(state.brushes.parallel || {}) };
        const [a, b] = [share(y0), share(y1)].sort((p, q) => p - q);
        if (Math.abs(y1 - y0) < 3) delete brush[s.column.key];
        else if (s.levels) brush[s.column.key] = { values: s.levels.filter((level) => s.at(level) >= a - 0.5 / s.levels.length && s.at(level) <= b + 0.5 / s.levels.length) };
        else brush[s.column.key] = [s.inverse(a), s.inverse(b)];
        setBrush("parallel", brush);
      };
      const onMove = (e) => set(e.clientY - box.top);
      const onUp = (e) => { set(e.clientY - box.top); this.place.removeEventListener("pointermove", onMove); this.place.removeEventListener("pointerup", onUp); };
      this.place.addEventListener("pointermove", onMove);
      this.place.addEventListener("pointerup", onUp);
    }
    save(kind) {
      this.appear();
      if (kind === "PNG") {
        const sheet = element("canvas", { width: this.all.width, height: this.all.height }), context = sheet.getContext("2d");
        context.fillStyle = colors().back; context.fillRect(0, 0, sheet.width, sheet.height);
        context.drawImage(this.all, 0, 0); context.drawImage(this.some, 0, 0);
        const ratio = window.devicePixelRatio || 1;
        context.scale(ratio, ratio); context.fillStyle = colors().text; context.font = "12px sans-serif"; context.textAlign = "center";
        this.scale.forEach((s, i) => context.fillText(s.column.title, this.xs[i], 12));
        sheet.toBlob((blob) => download("parallel.png", blob));
        return;
      }
      const NS = "http://www.w3.org/2000/svg";
      const svg = document.createElementNS(NS, "svg");
      const add = (tag, attributes, text) => { const made = document.createElementNS(NS, tag); Object.entries(attributes).forEach(([k, v]) => made.setAttribute(k, v)); if (text) made.textContent = text; svg.append(made); };
      svg.setAttribute("xmlns", NS); svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      for (const row of shown) {
        const points = this.lines[row.i].map((y, i) => (Number.isNaN(y) ? null : `${this.xs[i].toFixed(1)},${y.toFixed(1)}`)).filter(Boolean);
        add("polyline", { points: points.join(" "), fill: "none", stroke: this.color[row.i] < 0 ? "#999" : viridis((0.88 * this.color[row.i]) / 31), "stroke-opacity": 0.6 });
      }
      this.scale.forEach((s, i) => {
        add("line", { x1: this.xs[i], x2: this.xs[i], y1: this.top, y2: this.bottom, stroke: "#333" });
        add("text", { x: this.xs[i], y: 12, "text-anchor": "middle", "font-size": 12, "font-family": "sans-serif" }, s.column.title);
      });
      download("parallel.svg", new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" }));
    }
    redraw() { if (this.isDrawn) this.draw(); }
  }

  // ---------------------------------------------------------------- the page

  function drawSentences() {
    $("title").textContent = DATA.title;
    const parts = DATA.sweeps.flatMap((sweep) => [
      ...(DATA.sweeps.length > 1 ? [element("h2", {}, sweep.name)] : []),
      ...["best", "doubt", "course", "effect", "failure", "remark"].flatMap((kind) => sweep.sentences.filter((s) => s.kind === kind))
        .map((s) => element("p", { class: s.kind }, s.text)),
    ]);
    $("sentences").replaceChildren(...parts);
    if (!RUNS.length) $("sentences").append(element("p", { class: "remark" }, "No run has started."));
  }
  function drawFailures() {
    const failed = RUNS.filter((row) => UNSUCCESSFUL.has(row.state));
    if (!failed.length) return;
    $("failures").hidden = false;
    const content = $("failures").querySelector(".content");
    failed.slice(0, 100).forEach((row) => {
      const tail = DATA.details[row.i]?.tail;
      content.append(element("details", {}, element("summary", {}, element("span", { class: "state bad" }, row.state), ` ${row.run}: ${row.reason || "no reason was found"}`),
        tail ? element("pre", {}, tail) : null, element("p", {}, runButton(row, "parameters and command"))));
    });
    if (failed.length > 100) content.append(element("p", { class: "remark" }, `and ${failed.length - 100} more: filter by state`));
  }
  function drawProvenance() {
    const content = $("provenance").querySelector(".content");
    const same = Object.entries(DATA.same);
    if (same.length) content.append(element("h3", {}, "Same for all runs"), pairs(same));
    for (const sweep of DATA.sweeps) {
      const told = Object.entries(sweep.provenance).map(([name, value]) => [name.replaceAll("_", " "), typeof value === "object" ? JSON.stringify(value) : value]);
      content.append(element("h3", {}, sweep.name), pairs([["where", sweep.path], ...told]));
    }
    $("footer").textContent = `Written ${new Date(DATA.written).toLocaleString()} by sweepline ${DATA.version}. This file holds all that it shows and asks nobody for anything.`;
  }
  function setTheme() {
    const dark = state.theme === "dark" || (state.theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").textContent = `Theme: ${state.theme}`;
  }
  setTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { setTheme(); pictures.forEach((picture) => picture.redraw()); });
  $("theme").addEventListener("click", () => {
    state.theme = { system: "light", light: "dark", dark: "system" }[state.theme];
    setTheme();
    remember();
    pictures.forEach((picture) => picture.redraw());
  });
  drawSentences();
  addFirst();
  if (RUNS.length && PARAMETERS.length + (OBJECTIVE ? 1 : 0) > 1) {
    $("parallel").hidden = false;
    new Parallel($("parallel").querySelector(".pictures"));
  }
  addCurves();
  if (OBJECTIVE && ORDER.length) {
    $("parameters").hidden = false;
    const parent = $("parameters").querySelector(".pictures");
    if (mapPair()) addHeat(parent, ...mapPair(), "heat", false);
    addSlice(parent, BY_KEY.has(state.slice.x) ? state.slice.x : ORDER[0].key, "slice", false);
    addScatter(parent);
  }
  const course = $("course").querySelector(".pictures");
  const edfNote = "Runs that failed or diverged never count as good.";
  if (P.best) new Picture("best", "Best so far", course, P.best);
  if (P.edf) new Picture("edf", "How many runs are how good", course, { ...P.edf, note: edfNote });
  if (P.timeline) new Picture("timeline", "Who ran where and when", course, P.timeline);
  $("course").hidden = !course.children.length;
  drawFailures();
  drawProvenance();
  $("sections").replaceChildren(...[...document.querySelectorAll("main > section:not([hidden])")].slice(1)
    .map((section) => element("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)));
  $("expression").value = state.expression;
  $("expression").placeholder = PARAMETERS.length ? `${PARAMETERS[0].title} ${PARAMETERS[0].kind === "number" ? "> 0.01" : "== ..."} and state == finished` : "state == failed";
  $("share").value = state.share;
  $("expression").addEventListener("input", () => { state.expression = $("expression").value; state.page = 0; applySoon(); });
  $("share").addEventListener("input", () => { state.share = Math.min(100, Math.max(1, Number($("share").value) || 100)); applySoon(); });
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("reset").addEventListener("click", () => {
    Object.assign(state, { expression: "", share: 100, page: 0 });
    $("expression").value = ""; $("share").value = 100;
    const owners = Object.keys(state.brushes);
    state.brushes = {};
    pictures.filter((picture) => owners.includes(picture.id)).forEach((picture) => picture.clear());
    applySoon();
  });
  apply();
  if (DATA.isLive) setInterval(() => { if (!document.hidden && !$("run").open) location.reload(); }, 10000);
})();
