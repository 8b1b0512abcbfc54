// A picture that Vega draws: it follows the selection, sets one, tells what is pointed at, and is saved as a file.
const MAX_DRAWN = 1200;
const pictures = [];

const colorsOf = new Map();
function colors() {
  const { theme } = document.documentElement.dataset;
  if (!colorsOf.has(theme)) {
    const style = getComputedStyle(document.documentElement);
    colorsOf.set(theme, Object.fromEntries(["back", "text", "faint", "line", "grid", "mark"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()])));
  }
  return colorsOf.get(theme);
}
function vegaConfig(width) {
  const c = colors();
  const font = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
  return {
    background: "transparent", font, aria: false, // descriptions of every point, which a canvas cannot say and takes long to write
    axis: { labelColor: c.text, titleColor: c.text, gridColor: c.grid, domainColor: c.line, tickColor: c.line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: Math.min(140, width / 4), titleLimit: 300 },
    legend: { labelColor: c.text, titleColor: c.text, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 200, titleLimit: 110 },
    view: { stroke: c.line }, text: { fill: c.text }, title: { color: c.text, limit: width },
  };
}

// ---------------------------------------------------------------- what is pointed at

const hover = element("div", { id: "hover", role: "tooltip", hidden: true });
document.body.append(hover);
function tell(event, entries) {
  hover.replaceChildren(pairs(entries));
  hover.hidden = false;
  const place = (at, size, room) => `${Math.max(4, at + 14 + size > room ? at - 14 - size : at + 14)}px`;
  hover.style.left = place(event.clientX, hover.offsetWidth, document.documentElement.clientWidth);
  hover.style.top = place(event.clientY, hover.offsetHeight, innerHeight);
}
function untell() { hover.hidden = true; }
function tellRun(event, row, spec) {
  const { x, y } = (spec.layer?.[0] || spec).encoding, own = [x, y].map((channel) => BY_KEY.get(channel?.field)).filter(Boolean);
  const listed = new Set([...TABLE_PARAMETERS, ...PARAMETERS.filter((c) => c.key === "t"), ...own, ...(OBJECTIVE ? [OBJECTIVE] : [])]);
  tell(event, [["run", row.run], ["seed", row.seed], ...[...listed].map((c) => [c.title, isMissing(row[c.key]) ? "–" : rounded(row[c.key], 6)]),
    ["state", row.state === FINISHED ? "" : row.state]]);
}
function tellFields(event, fields, datum) {
  const text = (value, how) => (isMissing(value) ? "–" : typeof value !== "number" ? value : how?.endsWith("%") ? `${rounded(100 * value, 3)} %` : how ? rounded(value) : general(value));
  tell(event, fields.map(({ field, title, format: how }) => [title || field, text(unmarked(datum[field]), how)]));
}
addEventListener("scroll", untell, { passive: true });

// ---------------------------------------------------------------- specifications

const eachUnit = (spec, change) => (spec.layer ? { ...change(spec), layer: spec.layer.map((unit) => eachUnit(unit, change)) } : change(spec));
// A specification with other columns on its channels, which its hover texts tell then; how a column is put there is told by the data.
const withChannels = (spec, channels) => eachUnit(spec, (unit) => {
  const replaced = Object.entries(channels).filter(([name]) => unit.encoding?.[name]?.field);
  const moved = new Map(replaced.map(([name, definition]) => [unit.encoding[name].field, definition]));
  const tooltip = unit.encoding?.tooltip?.map((one) => (moved.has(one.field) ? { ...one, field: moved.get(one.field).field, title: moved.get(one.field).title } : one));
  return moved.size ? { ...unit, encoding: { ...unit.encoding, ...Object.fromEntries(replaced), ...(tooltip && { tooltip }) } } : unit;
});
const withoutZoom = (spec) => eachUnit(spec, (unit) => (unit.params ? { ...unit, params: unit.params.filter(({ name }) => name !== "zoom") } : unit));
// A specification that says with each mark which hover text is its own, and that shows the selection that is kept.
function prepared(spec, hovers, brush, width) {
  return eachUnit(spec, (unit) => {
    const { tooltip, ...encoding } = unit.encoding || {};
    const made = { ...unit };
    if (tooltip) {
      made.encoding = encoding;
      made.mark = { ...made.mark, tooltip: String(hovers.push(tooltip) - 1) };
    }
    const nNamed = made.usermeta?.named;
    if (nNamed) { // names beside each other as there is room, and the chart higher by their rows
      const columns = Math.max(1, Math.floor(width / 130));
      made.encoding.color = { ...encoding.color, legend: { ...encoding.color.legend, columns } };
      made.height += 18 * Math.ceil(nNamed / columns);
    }
    if (made.params && brush) made.params = made.params.map((param) => withSelection(param, encoding, brush));
    return made;
  });
}
function withSelection(param, encoding, brush) {
  if (param.name !== "brush" && param.name !== "cell") return param;
  const ends = ["x", "y"].filter((channel) => brush[encoding[channel]?.field]).map((channel) => [channel, brush[encoding[channel].field]]);
  if (!ends.length) return param;
  const value = Object.fromEntries(ends.map(([channel, range]) => [channel, param.name === "cell" ? range.values[0] : range.values || [range.low, range.high]]));
  return { ...param, value: param.name === "cell" ? [value] : value };
}
function fieldsOf(spec, found = new Set(["i"])) {
  for (const [key, value] of Object.entries(spec)) {
    if ((key === "field" || key === "fields") && value) [].concat(value).forEach((name) => found.add(name));
    else if (key === "filter" && typeof value === "string") for (const match of value.matchAll(/datum\.(\w+)/g)) found.add(match[1]);
    else if (value && typeof value === "object" && key !== "values" && key !== "datasets" && key !== "tooltip") fieldsOf(value, found);
  }
  return found;
}
// Vega keeps values as keys of plain objects, where "constructor" is taken by birth: such a text gets a sign that nobody sees.
const BORN_WITH = new Set(Object.getOwnPropertyNames(Object.prototype)), UNSEEN = "\u200b";
const IS_CLASHING = COLUMNS.some((c) => BORN_WITH.has(c.title) || (c.kind === "category" && RUNS.some((row) => BORN_WITH.has(row[c.key]))));
const marked = (value) => (IS_CLASHING ? JSON.parse(JSON.stringify(value), (_, v) => (BORN_WITH.has(v) ? v + UNSEEN : v)) : value);
const unmarked = (value) => (typeof value === "string" ? value.replace(UNSEEN, "") : value);
const slim = (rows, fields) => rows.map((row) => { const made = {}; for (const field of fields) made[field] = row[field] ?? null; return made; });

class Picture {
  // data: rows by data set, or a function that returns them for what is shown, where it isFollowing the selection.
  constructor(id, title, parent, { spec, data = {}, note = "", controls = [], isFollowing = false }) {
    Object.assign(this, { id, title, data, note, isFollowing, view: null, drawing: null, isStale: false, isEmbedding: false });
    this.place = element("div", { class: "chart", role: "img", "aria-label": `${title}. The table has the same runs.` });
    const save = (kind) => element("button", { type: "button", onclick: () => this.save(kind), "aria-label": `Save ${title} as ${kind}` }, kind);
    this.noteOf = element("p", { class: "note" });
    this.figure = element("figure", { id: `picture-${id}` }, element("figcaption", {}, element("h3", {}, title), element("span", { class: "together" }, save("SVG"), save("PNG"))),
      controls.length ? element("div", { class: "controls" }, ...controls) : null, this.place, this.noteOf);
    this.place.addEventListener("pointerleave", untell);
    parent.append(this.figure);
    this.setSpec(spec);
    pictures.push(this);
    watch(this);
  }
  setSpec(spec) {
    const text = JSON.stringify(spec);
    this.spec = spec;
    this.fields = fieldsOf(spec);
    this.reads = new Set([...text.matchAll(/"name":"(runs|shown|means|cells|lines|raw)"/g)].map((match) => match[1]));
    this.hasSelection = /"name":"(brush|cell)"/.test(text);
    this.isFollower = this.isFollowing || this.reads.has("shown");
    this.place.style.minHeight = `${spec.height}px`; // so that nothing below moves when it is drawn
  }
  datasets() {
    const sets = typeof this.data === "function" ? this.data() : { ...this.data };
    let note = this.note;
    if (this.reads.has("shown")) {
      const rows = sample(shown, MAX_DRAWN);
      sets.shown = slim(rows, this.fields);
      if (rows.length < shown.length) note += ` ${count(rows.length, "run")} of ${shown.length.toLocaleString("en")} are drawn, the best among them; a selection takes all.`;
    }
    if (this.reads.has("runs")) sets.runs = slim(sample(RUNS, MAX_DRAWN), this.fields);
    this.noteOf.textContent = note;
    const found = ["means", "cells", "lines"].filter((name) => this.reads.has(name)); // there are none where no run shown has a result
    this.isEmpty = this.isFollower && !this.reads.has("runs") && (found.length ? found : ["shown"]).every((name) => !sets[name]?.length);
    this.logLevel = shown.length < RUNS.length ? 1 : 2; // a selection may leave no point, of which there is no extent: no reason to warn
    return sets;
  }
  // Who asks while it is being drawn is answered when that is done: a picture that is saved is there.
  appear() {
    this.drawing ??= this.draw().finally(() => { this.drawing = null; });
    return this.drawing;
  }
  async draw() {
    while (this.isStale || !(this.view || this.isEmpty)) {
      this.isStale = false;
      if (this.view) { await this.update(); continue; }
      const spec = this.spec, view = await this.embedOrTell(spec);
      if (spec !== this.spec) { view?.finalize(); this.isEmpty = false; continue; } // it was to be another one before this one was there
      this.view = view;
      this.figure.dataset.drawn = "true";
      if (!view) return;
      this.listen();
    }
  }
  async embedOrTell(spec) {
    const tell = (text, name) => { this.place.replaceChildren(element("p", { class: name }, text)); return null; };
    this.isEmbedding = true;
    try {
      const datasets = this.datasets();
      if (this.isEmpty) return tell("No run that is selected has a result here.", "note");
      return await this.embed(spec, datasets);
    } catch (fault) {
      return tell(`This picture cannot be drawn: ${fault.message}`, "fault");
    } finally {
      this.isEmbedding = false;
    }
  }
  async embed(spec, datasets) {
    const hovers = [], sheet = element("div", { class: "sheet" });
    this.place.replaceChildren(sheet);
    const tooltip = (_, event, item, value) => {
      const fields = hovers[value];
      if (!fields || !item) untell();
      else if (Number.isInteger(item.datum.i)) tellRun(event, RUNS[item.datum.i], spec);
      else tellFields(event, fields, item.datum);
    };
    const options = { renderer: "canvas", logLevel: this.logLevel, actions: false, ast: true, config: vegaConfig(this.place.clientWidth), tooltip };
    return (await vegaEmbed(sheet, marked({ ...prepared(spec, hovers, state.brushes[this.id], this.place.clientWidth), datasets }), options)).view;
  }
  listen() {
    if (!this.hasSelection) return;
    const name = JSON.stringify(this.spec).includes('"name":"brush"') ? "brush" : "cell";
    this.view.addSignalListener(name, (_, value) => {
      const brush = {};
      for (const [key, range] of Object.entries(value || {})) {
        if (!BY_KEY.has(key) || !Array.isArray(range)) continue;
        const isRange = name === "brush" && BY_KEY.get(key).kind === "number";
        brush[key] = isRange ? { low: Math.min(...range), high: Math.max(...range) } : { values: range.map(unmarked) };
      }
      setBrush(this.id, brush, true);
    });
  }
  follow() {
    if (!this.isFollower) return;
    catchUp(this);
  }
  update() {
    this.isStale = false;
    const sets = this.datasets();
    if (this.isEmpty) { this.redraw(); return null; }
    this.view.logLevel(this.logLevel);
    for (const name of this.reads) if (name !== "runs") this.view.data(name, marked(sets[name] || []));
    return this.view.runAsync();
  }
  clear() { if (this.hasSelection) this.redraw(); } // the rectangle goes with the picture
  redraw(spec = { ...this.spec }) {
    this.setSpec(spec);
    if (this.isEmbedding) return; // what is under way sees that it is out of date
    this.view?.finalize();
    this.view = null;
    this.isEmpty = false;
    this.place.replaceChildren();
    if (isNear.get(this.place)) this.appear();
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
  const select = element("select", { "aria-label": label, "data-focus": label, onchange: () => onchange(select.value) },
    ...options.map(([key, title]) => element("option", { value: key, selected: key === value }, title)));
  return element("span", {}, element("label", {}, `${label} `), select);
}
const titled = (columns) => columns.map((c) => [c.key, c.title]);
