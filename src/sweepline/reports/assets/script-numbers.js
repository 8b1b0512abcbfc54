// Numbers as people read them, and means with their intervals.
function general(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  const short = Number(value.toPrecision(6)), size = Math.abs(short);
  return size !== 0 && (size < 1e-4 || size >= 1e15) ? short.toExponential().replace("e+", "e") : String(short);
}
const rounded = (value, digits = 4) => general(typeof value === "number" ? Number(value.toPrecision(digits)) : value);
function format(value, spread) {
  if (isMissing(value)) return "–";
  if (typeof value !== "number" || (Number.isInteger(value) && Math.abs(value) < 1e9)) return String(value);
  const decimals = spread && isFinite(spread) ? 1 - Math.floor(Math.log10(spread)) : -1;
  return decimals < 0 || decimals > 8 ? rounded(value, 5) : value.toFixed(decimals);
}
function seconds(s) {
  if (s < 60) return `${s.toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
}
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
// Student's t at 97.5 % for 1 to 30 degrees of freedom; beyond, an expansion around the normal's (Abramowitz and Stegun 26.7.5).
const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];
const student = (df) => (df <= 30 ? T[df - 1] : 1.96 + 2.37 / df);
function summary(values) {
  const n = values.length;
  if (!n) return null;
  const mean = values.reduce((a, b) => a + b, 0) / n;
  if (n < 2) return { mean, half: NaN, n };
  if (values.every((value) => value === values[0])) return { mean: values[0], half: 0, n }; // else rounding would be their spread
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1);
  return { mean, half: student(n - 1) * Math.sqrt(variance / n), n };
}
// A mean leaves out configurations of which a seed failed or diverged: those that are left would be the lucky ones.
function isAveraged(row, metric) { return row.state === FINISHED && !row.lost && !isMissing(row[metric.key]); }
// The means of a metric's results over a parameter's values, or over twelve parts of them where each has its own.
function meansBy(rows, parameter, metric) {
  const found = rows.filter((row) => isAveraged(row, metric) && !isMissing(row[parameter.key]));
  const groups = new Map();
  if (parameter.isFew || parameter.kind === "category" || found.length <= 12) {
    for (const row of found) {
      if (!groups.has(row[parameter.key])) groups.set(row[parameter.key], []);
      groups.get(row[parameter.key]).push(row[metric.key]);
    }
  } else {
    found.sort((a, b) => a[parameter.key] - b[parameter.key]);
    for (let i = 0; i < 12; i++) {
      const part = found.slice(Math.floor((found.length * i) / 12), Math.floor((found.length * (i + 1)) / 12));
      groups.set(part[part.length >> 1][parameter.key], part.map((row) => row[metric.key]));
    }
  }
  const ordered = [...groups].sort((a, b) => (typeof a[0] === "number" ? a[0] - b[0] : 0));
  return ordered.map(([value, values]) => {
    const { mean, half, n } = summary(values);
    if (n < 2) return { [parameter.key]: value, mean, low: null, high: null, bottom: mean, top: mean, n };
    const low = metric.isLog && mean - half <= 0 ? values.reduce((a, b) => Math.min(a, b)) : mean - half;
    return { [parameter.key]: value, mean, low, high: mean + half, bottom: low, top: mean + half, n };
  });
}
// A pair whose runs have all ended without a result has no mean; where no pair has one there is nothing to tell.
function meansByPair(rows, x, y, metric) {
  const cells = new Map();
  for (const row of rows) {
    if ((row.state !== FINISHED && !UNSUCCESSFUL.has(row.state)) || isMissing(row[x.key]) || isMissing(row[y.key])) continue;
    const at = JSON.stringify([row[x.key], row[y.key]]);
    if (!cells.has(at)) cells.set(at, { [x.key]: row[x.key], [y.key]: row[y.key], total: 0, n: 0 });
    if (!isAveraged(row, metric)) continue;
    const cell = cells.get(at);
    cell.total += row[metric.key];
    cell.n++;
  }
  const found = [...cells.values()].map((cell) => ({ ...cell, mean: cell.n ? cell.total / cell.n : null }));
  return found.some((cell) => cell.n) ? found : [];
}
// The means by a parameter within each value of another; in each the best is marked.
function meansByGroup(rows, parameter, group, metric) {
  const groups = new Map();
  for (const row of rows) {
    const value = row[group.key];
    if (isMissing(value)) continue;
    if (!groups.has(value)) groups.set(value, []);
    groups.get(value).push(row);
  }
  return [...groups].flatMap(([value, members]) => {
    const means = meansBy(members, parameter, metric).map((mean) => ({ ...mean, [group.key]: value, best: false }));
    if (means.length > 1) means.reduce((a, b) => (SIGN * (b.mean - a.mean) < 0 ? b : a)).best = true;
    return means;
  });
}
