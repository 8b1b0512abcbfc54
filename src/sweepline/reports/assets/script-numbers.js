// Numbers as people read them, and means with their intervals.
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
