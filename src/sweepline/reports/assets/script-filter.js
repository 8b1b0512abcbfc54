// Filter expressions: read into a function of a row; no code is ever made of them.
const FIXED = ["run", "id", "state", "seed", "reason", "device", "host", "duration", "sweep", "attempt", "code"];
function resolve(name) {
  const known = COLUMNS.find((c) => c.title === name);
  if (known) return known.key;
  if (FIXED.includes(name)) return name;
  const byEnd = COLUMNS.find((c) => c.title.split(/[./]/).pop() === name);
  if (byEnd) return byEnd.key;
  throw new Error(`no parameter or metric is called '${name}'`);
}
// What a reader writes is equal to a number or to a text, whichever a column holds; true and True are one.
function equalTo(wanted) {
  const text = String(wanted), isTruth = /^(true|false)$/i.test(text);
  if (isTruth) return (value) => String(value).toLowerCase() === text.toLowerCase();
  return (value) => value === wanted || (isMissing(value) ? "null" : String(value)) === text;
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
      const key = resolve(name), values = [];
      while (peek().sign !== "]") {
        values.push(equalTo(value()));
        if (peek().sign === ",") take();
        else if (peek().sign !== "]") throw new Error("a ']' is missing");
      }
      take();
      return (row) => values.some((equal) => equal(row[key]));
    }
    if (!sign || !/^(>=|<=|==|!=|=|>|<)$/.test(sign)) {
      const part = String(name).toLowerCase();
      return (row) => row.run.toLowerCase().includes(part) || row.state.includes(part);
    }
    take();
    const key = resolve(name), wanted = value();
    const equal = equalTo(wanted);
    if (sign === "==" || sign === "=") return (row) => equal(row[key]);
    if (sign === "!=") return (row) => !equal(row[key]);
    if (BY_KEY.get(key)?.kind === "number" && typeof wanted !== "number") throw new Error(`'${name}' is a number, '${wanted}' is none`);
    const order = { ">": (a) => a > wanted, "<": (a) => a < wanted, ">=": (a) => a >= wanted, "<=": (a) => a <= wanted }[sign];
    return (row) => !isMissing(row[key]) && order(row[key]);
  }
  const found = either();
  if (next < tokens.length) throw new Error(`'${tokens[next].word ?? tokens[next].sign ?? tokens[next].text}' is one word too many`);
  return found;
}
