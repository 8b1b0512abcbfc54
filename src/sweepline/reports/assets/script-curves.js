// The course of runs: a mean over seeds and the range between them.
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
