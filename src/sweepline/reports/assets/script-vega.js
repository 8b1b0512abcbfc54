// A picture that Vega draws: it follows the selection, sets one, and is saved as a file.
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
