// The course of runs: a mean over seeds and the range between them.
const CURVES = DATA.curves.metrics;
const MAX_LINE_POINTS = 3000, MAX_LOOKUPS = 100000;

function placesOf(metric) {
  const named = DATA.curves.places.filter((place) => CURVES[metric].every((curve) => curve[place]));
  const size = PARAMETERS.find((c) => BATCH_SIZE.test(c.title) && c.kind === "number");
  const rate = PARAMETERS.find((c) => STEP_SIZE.test(c.title) && c.kind === "number");
  const base = named.includes("step") ? "step" : named.includes("epoch") ? "epoch" : "point";
  return [...named.map((place) => [place, place]), ["point", "point"], ["relative", "share of the run"], ["time", "seconds, spread evenly over the run"],
    ...(named.includes("samples") && size ? [["updates", `updates (samples / ${size.title})`]] : []),
    ...(rate ? [["effective", `effective ${base}s (${rate.title} × ${base})`]] : [])].map(([key, title]) => ({ key, title, size, rate, base }));
}
function positions(curve, place) {
  const n = curve.y.length, row = RUNS[curve.r], index = curve.i || [...Array(n).keys()];
  const last = index[n - 1] || 1;
  if (place.key === "point") return index.map((i) => i + 1);
  if (place.key === "relative") return index.map((i) => i / last);
  if (place.key === "time") return index.map((i) => ((i + 1) / (last + 1)) * (row.duration || 0));
  if (place.key === "updates") return curve.samples.map((s) => s / (row[place.size.key] ?? NaN));
  if (place.key === "effective") return positions(curve, { key: place.base }).map((v) => v * (row[place.rate.key] ?? NaN));
  return curve[place.key];
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
// The value of a run between its points: seeds have theirs at other places where they are counted in time, or thinned out.
function between(xs, ys, x) {
  if (x < xs[0] || x > xs[xs.length - 1]) return NaN;
  let low = 0, high = xs.length - 1;
  while (high - low > 1) { const middle = (low + high) >> 1; if (xs[middle] <= x) low = middle; else high = middle; }
  if (x === xs[low] || high === low) return ys[low];
  return ys[low] + ((ys[high] - ys[low]) * (x - xs[low])) / (xs[high] - xs[low]);
}
// The mean of several runs and the range between them, at the places of any; of very many, stretches with their extremes.
function meanLine(members, nMax) {
  let places = [...new Set(members.flatMap(({ xs }) => xs.map((x) => Number(x.toPrecision(9)))))].sort((a, b) => a - b);
  const nMost = Math.max(nMax, Math.floor(MAX_LOOKUPS / members.length)), step = Math.ceil(places.length / nMost);
  if (step > 1) places = places.filter((_, i) => i % step === 0 || i === places.length - 1);
  const every = Math.max(1, Math.ceil(places.length / nMax));
  const line = [];
  let low = Infinity, high = -Infinity;
  places.forEach((x, i) => {
    const values = members.map(({ xs, ys }) => between(xs, ys, x)).filter(Number.isFinite);
    if (values.length) { low = Math.min(low, ...values); high = Math.max(high, ...values); }
    if ((i % every && i < places.length - 1) || !values.length) return;
    line.push({ x, y: values.reduce((a, b) => a + b, 0) / values.length, low, high });
    low = Infinity; high = -Infinity;
  });
  return line;
}
function addCurves() {
  const names = Object.keys(CURVES);
  if (!names.length || !RUNS.length) return;
  $("curves").hidden = false;
  const [controls, parent] = $("curves").querySelectorAll(".controls, .pictures");
  const room = () => $("curves").clientWidth - 26; // inside the frame of the picture, which is not there at first
  const chosen = state.curves;
  if (!names.includes(chosen.metric)) chosen.metric = OBJECTIVE && names.includes(OBJECTIVE.title) ? OBJECTIVE.title : names[0];
  const groups = [["config", "configuration"], ...titled(PARAMETERS.filter((c) => c.isFew))];
  if (!groups.some(([key]) => key === chosen.group)) chosen.group = "config";
  const placeNow = () => { const places = placesOf(chosen.metric); return places.find(({ key }) => key === chosen.place) || places[0]; };
  const last = (c) => c.title.split(/[./]/).pop() || c.title;

  // The group of each run that is drawn, by its number; in the order of their colours.
  function groupNames() {
    const found = new Map();
    if (chosen.group !== "config") {
      const column = BY_KEY.get(chosen.group);
      const rows = shown.filter((row) => !isMissing(row[column.key]));
      const order = column.kind === "number" ? (a, b) => a[column.key] - b[column.key] : (a, b) => inWords.compare(a[column.key], b[column.key]);
      [...rows].sort(order).forEach((row) => found.set(row.i, `${last(column)} = ${general(row[column.key])}`));
      return found;
    }
    const best = configurations.slice(0, chosen.top);
    const named = OWN_PARAMETERS.filter((c) => new Set(best.map((entry) => entry.first[c.key])).size > 1);
    best.forEach((entry, i) => {
      const setting = named.map((c) => `${last(c)}=${isMissing(entry.first[c.key]) ? "–" : general(entry.first[c.key])}`).join(", ");
      entry.rows.forEach((row) => found.set(row.i, `${i + 1}: ${setting || row.run}`.slice(0, 120)));
    });
    return found;
  }
  function lines() {
    const place = placeNow(), named = groupNames();
    const curves = new Map(CURVES[chosen.metric].map((curve) => [curve.r, curve]));
    const members = new Map(), raw = [];
    for (const [number, g] of named) {
      const curve = curves.get(number);
      if (!curve) continue;
      const points = positions(curve, place).map((x, i) => [x, curve.y[i]])
        .filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y) && (!chosen.isLog || y > 0) && (!chosen.isLogPlace || x > 0)).sort((a, b) => a[0] - b[0]);
      if (!points.length) continue;
      const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
      if (!members.has(g)) members.set(g, []);
      members.get(g).push({ xs, ys: smooth(xs, ys, chosen.smooth) });
      if (chosen.smooth) raw.push(...points.map(([x, y]) => ({ g, r: number, x, y })));
    }
    const nMax = Math.max(24, Math.floor(MAX_LINE_POINTS / Math.max(1, members.size)));
    const every = Math.max(1, Math.ceil(raw.length / (2 * MAX_LINE_POINTS)));
    return { lines: [...members].flatMap(([g, own]) => meanLine(own, nMax).map((point) => ({ g, ...point }))), raw: raw.filter((_, i) => i % every === 0) };
  }
  // Few groups have colours that are told apart, and names; numbers and many groups have colours in an order.
  function spec() {
    const made = structuredClone(P.curves.spec), place = placeNow(), column = BY_KEY.get(chosen.group);
    const nGroups = column ? new Set(RUNS.map((row) => row[column.key])).size : Math.min(chosen.top, CONFIGURATIONS.length);
    const isOrdered = column ? column.kind === "number" : nGroups > MAX_NAMED;
    const isNamed = Boolean(column) || nGroups <= MAX_NAMED;
    const nColumns = column ? Math.max(1, Math.floor(room() / 130)) : 1;
    for (const unit of made.layer) {
      const axis = ["relative", "time", "effective"].includes(place.key) ? { format: "~g" } : { format: "~s", tickMinStep: 1 };
      unit.encoding.x = { ...unit.encoding.x, title: place.title, axis, scale: chosen.isLogPlace ? { type: "log" } : { zero: false, nice: false } };
      unit.encoding.y = { ...unit.encoding.y, title: chosen.metric, scale: chosen.isLog ? { type: "log" } : { zero: false } };
      if (isOrdered) Object.assign(unit.encoding.color, { type: "ordinal", scale: { scheme: "viridis" } });
      unit.encoding.color.legend = isNamed ? { ...unit.encoding.color.legend, columns: nColumns, labelLimit: column ? 110 : Math.max(200, room() - 94) } : null;
    }
    if (!chosen.smooth) { // the raw curves are the lines then
      const [raw, band, line, points] = made.layer;
      made.layer = [band, { ...line, params: raw.params }, points];
    }
    return { ...made, height: 300 + (isNamed ? Math.ceil(nGroups / nColumns) * 17 : 0) };
  }
  const leftOut = DATA.curves.n_left_out;
  const picture = new Picture("curves", "Mean over seeds, and the range between them", parent, { spec: spec(), data: lines, isFollowing: true,
    note: leftOut ? `${leftOut.toLocaleString("en")} of ${DATA.curves.n_points.toLocaleString("en")} points are left out of this page; the extremes of each stretch are kept.` : "" });
  const set = (name) => (value) => { chosen[name] = value; remember(); keepingFocus(controls, drawControls); picture.redraw(spec()); };
  const number = (label, name, options) => choice(label, options, String(chosen[name]), (value) => set(name)(Number(value)));
  const toggle = (label, name) => {
    const box = element("input", { type: "checkbox", "data-focus": label, checked: Boolean(chosen[name]), onchange: () => set(name)(box.checked) });
    return element("label", {}, box, ` ${label}`);
  };
  function drawControls() {
    controls.replaceChildren(choice("metric", names.map((name) => [name, name]), chosen.metric, set("metric")),
      choice("by", placesOf(chosen.metric).map(({ key, title }) => [key, title]), placeNow().key, set("place")),
      choice("group", groups, chosen.group, set("group")),
      ...(chosen.group === "config" ? [number("best", "top", [["3", "3"], ["6", "6"], ["12", "12"], ["24", "24"], ["100", "100"]])] : []),
      number("smoothing", "smooth", [["0", "none"], ["0.02", "light"], ["0.05", "middle"], ["0.15", "strong"]]),
      toggle("log values", "isLog"), toggle("log axis", "isLogPlace"));
  }
  drawControls();
}
