// Parallel coordinates: ten thousand lines on a canvas of our own.
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
