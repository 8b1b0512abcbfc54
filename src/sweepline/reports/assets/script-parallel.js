// Parallel coordinates: thousands of lines on a canvas of our own.
const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
function viridis(t) {
  const at = Math.min(0.9999, Math.max(0, t)) * (VIRIDIS.length - 1), i = Math.floor(at), f = at - i;
  return `rgb(${VIRIDIS[i].map((v, k) => Math.round(v + f * (VIRIDIS[i + 1][k] - v))).join(",")})`;
}
const N_COLORS = 32, MAX_AXES = 12, AXIS_WIDTH = 84, LABEL_HEIGHT = 17;
// The best have the brightest colour; the ends that the page's background would swallow are left out.
const rankColor = (k, isDark) => viridis(isDark ? 0.15 + (0.85 * k) / (N_COLORS - 1) : (0.88 * k) / (N_COLORS - 1));
const shortEnd = (value) => (typeof value === "number" ? rounded(value) : value);

function makeScale(column) {
  const values = RUNS.map((row) => row[column.key]).filter((value) => !isMissing(value));
  if (column.kind === "category") {
    const levels = [...new Set(values)].sort(inWords.compare), at = new Map(levels.map((level, i) => [level, (i + 0.5) / levels.length]));
    const names = levels.length <= 12 ? levels : [levels[0], levels[levels.length - 1]];
    return { column, levels, half: 0.5 / levels.length, at: (v) => at.get(v), ticks: names.map((level) => [level, at.get(level)]) };
  }
  const to = column.isLog ? Math.log : (v) => v, from = column.isLog ? Math.exp : (v) => v;
  let low = Infinity, high = -Infinity;
  for (const v of values) { const s = to(v); if (s < low) low = s; if (s > high) high = s; }
  if (low > high) return { column, half: 0, at: () => NaN, inverse: () => NaN, ticks: [] };
  const range = high - low || 1, at = (v) => (to(v) - low) / range;
  const few = column.isFew ? [...new Set(values)].sort((a, b) => a - b) : [];
  const named = few.length && few.length <= 8 ? few : [...new Set([from(low), from(high)])];
  return { column, half: 0, at, inverse: (t) => from(low + t * range), ticks: named.map((v) => [shortEnd(v), at(v)]) };
}

class Parallel {
  constructor(parent) {
    this.id = "parallel";
    const known = [...ORDER, ...OWN_PARAMETERS.filter((c) => !ORDER.includes(c))].slice(0, MAX_AXES - 1);
    this.known = OBJECTIVE ? [...known, OBJECTIVE] : known;
    this.axes = (state.axes || []).map((key) => BY_KEY.get(key)).filter(Boolean);
    if (this.axes.length < 2) this.axes = this.known;
    this.all = element("canvas"); this.some = element("canvas");
    this.place = element("div", { class: "parallel chart", role: "group", "aria-label": "Parallel coordinates. The filter selects the same by keyboard." }, this.all, this.some);
    this.noteOf = element("p", { class: "note" });
    const save = (kind) => element("button", { type: "button", onclick: () => this.save(kind), "aria-label": `Save parallel coordinates as ${kind}` }, kind);
    const legend = OBJECTIVE ? element("span", { class: "legend" }, "worst ", element("span", { class: "ramp" }), " best") : null;
    this.figure = element("figure", { id: "picture-parallel" },
      element("figcaption", {}, element("h3", {}, `Each line is a run${OBJECTIVE ? `, coloured by ${OBJECTIVE.title}` : ""}`), element("span", { class: "together" }, legend, save("SVG"), save("PNG"))),
      this.chooser(), element("div", { class: "scroll plain", tabindex: 0, role: "region", "aria-label": "Axes" }, this.place), this.noteOf);
    parent.append(this.figure);
    pictures.push(this);
    watch(this);
    this.place.addEventListener("pointerdown", (event) => this.begin(event));
    new ResizeObserver(() => { if (this.isDrawn && this.place.clientWidth !== this.width) this.draw(); }).observe(this.place);
  }
  chooser() {
    const boxes = [...PARAMETERS, ...METRICS].map((c) => {
      const box = element("input", { type: "checkbox", checked: this.axes.includes(c), onchange: () => {
        this.setAxes(box.checked ? [...this.axes, c] : this.axes.filter((axis) => axis !== c));
      } });
      return element("label", {}, box, ` ${c.title}`);
    });
    return element("details", { class: "axes" }, element("summary", {}, "Choose the axes"), element("div", { class: "controls" }, ...boxes));
  }
  setAxes(axes) {
    this.axes = axes;
    state.axes = axes.map((c) => c.key);
    remember();
    this.draw();
  }
  appear() { if (!this.isDrawn) this.draw(); else if (this.isStale) this.drawSome(); }
  follow() { if (this.isDrawn) catchUp(this); }
  clear() { if (this.isDrawn) this.drawSome(); }
  redraw() { if (this.isDrawn) this.draw(); }

  draw() {
    this.place.style.minWidth = `${this.axes.length * AXIS_WIDTH}px`;
    const { width, height } = this.place.getBoundingClientRect();
    if (!width) return;
    this.isDrawn = true;
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.all, this.some]) { canvas.width = width * ratio; canvas.height = height * ratio; canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0); }
    const sides = width / Math.max(2, this.axes.length) / 2;
    Object.assign(this, { width: this.place.clientWidth, height, top: 34, bottom: height - 24 });
    this.scale = this.axes.map(makeScale);
    this.xs = this.axes.map((_, i) => sides + (i * (width - 2 * sides)) / Math.max(1, this.axes.length - 1));
    this.lines = RUNS.map((row) => this.scale.map((s) => { const v = row[s.column.key]; return isMissing(v) ? NaN : this.y(s.at(v)); }));
    this.color = new Int8Array(RUNS.length).fill(-1);
    let k = 0;
    RANKED.forEach((row, i) => {
      if (i === 0 || row.result !== RANKED[i - 1].result) k = Math.round((1 - i / Math.max(1, RANKED.length - 1)) * (N_COLORS - 1));
      this.color[row.i] = k;
    });
    const context = this.all.getContext("2d"), c = colors(), drawn = sample(RUNS, MAX_DRAWN);
    context.clearRect(0, 0, width, height);
    context.strokeStyle = c.faint; context.globalAlpha = Math.max(0.04, Math.min(0.25, 120 / drawn.length)); context.lineWidth = 1 / ratio;
    this.trace(context, drawn);
    context.globalAlpha = 1;
    this.drawAxes(context, c);
    this.drawSome();
    this.figure.dataset.drawn = "true";
  }
  y(share) { return this.bottom - share * (this.bottom - this.top); }
  trace(context, rows) {
    context.beginPath();
    for (const row of rows) {
      const ys = this.lines[row.i];
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
    const labels = [];
    context.strokeStyle = c.text; context.lineWidth = 1;
    this.scale.forEach((s, i) => {
      context.beginPath(); context.moveTo(this.xs[i], this.top); context.lineTo(this.xs[i], this.bottom); context.stroke();
      const room = this.width / Math.max(2, this.axes.length) - 4;
      labels.push(element("button", { type: "button", class: "axis", "data-focus": s.column.key, title: `${s.column.title}: move to the right`, style: `left:${this.xs[i]}px;max-width:${room}px`, onclick: () => this.move(i) }, s.column.title));
      let above = s.levels ? Infinity : this.bottom + 2; // where the label below begins: one that has no room is left out
      for (const [text, share] of [...s.ticks].sort((a, b) => a[1] - b[1])) {
        const isEnd = !s.levels && (share === 0 || share === 1);
        const top = isEnd ? (share ? this.top - 16 : this.bottom + 2) : this.y(share) - 8;
        if (!isEnd && (top + LABEL_HEIGHT > above || (!s.levels && top < this.top))) continue;
        if (!isEnd) above = top;
        labels.push(element("span", { class: isEnd ? "end" : "end tick", style: `left:${isEnd ? this.xs[i] : this.xs[i] + 3}px;top:${top}px;max-width:${room}px` }, text));
      }
    });
    keepingFocus(this.place, () => this.place.replaceChildren(this.all, this.some, ...labels));
  }
  drawSome() {
    this.isStale = false;
    const context = this.some.getContext("2d");
    context.clearRect(0, 0, this.width, this.height);
    const isDark = document.documentElement.dataset.theme === "dark", c = colors();
    const drawn = sample(shown, MAX_DRAWN), byColor = new Map();
    for (const row of drawn) { const k = this.color[row.i]; if (!byColor.has(k)) byColor.set(k, []); byColor.get(k).push(row); }
    context.globalAlpha = Math.max(0.25, Math.min(1, 500 / Math.max(1, drawn.length)));
    context.lineWidth = 1 / (window.devicePixelRatio || 1); // a pixel: what is wider takes a processor twenty times as long
    for (const [k, rows] of [...byColor].sort((a, b) => a[0] - b[0])) {
      context.strokeStyle = k < 0 ? c.faint : rankColor(k, isDark);
      this.trace(context, rows);
    }
    context.globalAlpha = 0.3; context.fillStyle = c.mark;
    for (const [i, low, high] of this.selected()) context.fillRect(this.xs[i] - 9, high, 18, Math.max(2, low - high));
    context.globalAlpha = 1;
    this.noteOf.textContent = "Drag along an axis to select a range, click it to clear; click a name to move its axis to the right. Grey: all runs."
      + (drawn.length < shown.length ? ` ${count(drawn.length, "run")} of ${shown.length.toLocaleString("en")} are drawn, the best among them; a selection takes all.` : "");
  }
  // The selected stretches: number of the axis, lower and upper end in pixels.
  selected() {
    const brush = state.brushes.parallel || {};
    return this.scale.flatMap((s, i) => {
      const range = brush[s.column.key];
      if (!range) return [];
      const ends = (range.values || [range.low, range.high]).map(s.at).sort((a, b) => a - b);
      return [[i, this.y(ends[0] - s.half), this.y(ends[ends.length - 1] + s.half)]];
    });
  }
  move(i) {
    const axes = [...this.axes], [moved] = axes.splice(i, 1);
    axes.splice(i === axes.length ? 0 : i + 1, 0, moved);
    this.setAxes(axes);
  }
  begin(event) {
    if (event.target.closest("button") || !this.scale || event.button) return;
    const box = this.place.getBoundingClientRect(), x = event.clientX - box.left, y0 = event.clientY - box.top;
    const i = this.xs.reduce((best, at, k) => (Math.abs(at - x) < Math.abs(this.xs[best] - x) ? k : best), 0);
    if (Math.abs(this.xs[i] - x) > 24) return;
    const s = this.scale[i], key = s.column.key, share = (y) => Math.min(1, Math.max(0, (this.bottom - y) / (this.bottom - this.top)));
    this.place.setPointerCapture(event.pointerId);
    const set = (y1) => {
      const brush = { ...(state.brushes.parallel || {}) };
      const [a, b] = [share(y0), share(y1)].sort((p, q) => p - q);
      if (Math.abs(y1 - y0) < 3) delete brush[key];
      else if (s.levels) brush[key] = { values: s.levels.filter((level) => s.at(level) >= a - s.half && s.at(level) <= b + s.half) };
      else brush[key] = { low: s.inverse(a), high: s.inverse(b) };
      setBrush("parallel", brush, true);
    };
    const onMove = (e) => set(e.clientY - box.top);
    const end = (e) => {
      if (e.type === "pointerup") set(e.clientY - box.top);
      for (const [kind, heard] of [["pointermove", onMove], ["pointerup", end], ["pointercancel", end]]) this.place.removeEventListener(kind, heard);
    };
    for (const [kind, heard] of [["pointermove", onMove], ["pointerup", end], ["pointercancel", end]]) this.place.addEventListener(kind, heard);
  }
  save(kind) {
    this.appear();
    const c = colors(), names = this.scale.map((s, i) => [s.column.title, this.xs[i], 12, "middle"]);
    const ticks = this.scale.flatMap((s, i) => s.ticks.map(([text, share]) => {
      const isEnd = !s.levels && (share === 0 || share === 1);
      return [String(text), isEnd ? this.xs[i] : this.xs[i] + 4, isEnd ? (share ? this.top - 5 : this.bottom + 14) : this.y(share) + 4, isEnd ? "middle" : "start"];
    }));
    const texts = [...names, ...ticks].map(([text, ...rest]) => [text.length > 40 ? `${text.slice(0, 39)}…` : text, ...rest]);
    if (kind === "PNG") this.savePixels(c, texts);
    else this.saveVectors(c, texts);
  }
  savePixels(c, texts) {
    const sheet = element("canvas", { width: this.all.width, height: this.all.height }), context = sheet.getContext("2d");
    context.fillStyle = c.back; context.fillRect(0, 0, sheet.width, sheet.height);
    context.drawImage(this.all, 0, 0); context.drawImage(this.some, 0, 0);
    const ratio = window.devicePixelRatio || 1;
    context.scale(ratio, ratio); context.fillStyle = c.text; context.font = "12px sans-serif";
    for (const [text, x, y, anchor] of texts) { context.textAlign = anchor === "middle" ? "center" : "start"; context.fillText(text, x, y); }
    sheet.toBlob((blob) => download("parallel.png", blob));
  }
  saveVectors(c, texts) {
    const NS = "http://www.w3.org/2000/svg", isDark = document.documentElement.dataset.theme === "dark";
    const svg = document.createElementNS(NS, "svg");
    const add = (tag, attributes, text) => { const made = document.createElementNS(NS, tag); Object.entries(attributes).forEach(([k, v]) => made.setAttribute(k, v)); if (text) made.textContent = text; svg.append(made); };
    svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    add("rect", { width: this.width, height: this.height, fill: c.back });
    const runs = sample(shown, MAX_DRAWN).sort((a, b) => this.color[a.i] - this.color[b.i]);
    for (const row of runs) {
      const points = this.lines[row.i].map((y, i) => (Number.isNaN(y) ? null : `${this.xs[i].toFixed(1)},${y.toFixed(1)}`)).filter(Boolean);
      add("polyline", { points: points.join(" "), fill: "none", stroke: this.color[row.i] < 0 ? c.faint : rankColor(this.color[row.i], isDark), "stroke-opacity": 0.6 });
    }
    this.xs.forEach((x) => add("line", { x1: x, x2: x, y1: this.top, y2: this.bottom, stroke: c.text }));
    for (const [i, low, high] of this.selected()) add("rect", { x: this.xs[i] - 9, width: 18, y: high, height: Math.max(2, low - high), fill: c.mark, "fill-opacity": 0.3 });
    for (const [text, x, y, anchor] of texts) add("text", { x, y, "text-anchor": anchor, "font-size": 12, "font-family": "sans-serif", fill: c.text }, text);
    download("parallel.svg", new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" }));
  }
}
