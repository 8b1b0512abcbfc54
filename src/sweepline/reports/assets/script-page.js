// The page put together, and its buttons. The last of the scripts: all before it only tell what there is.
function drawSentences() {
  $("title").textContent = DATA.title;
  const parts = DATA.sweeps.flatMap((sweep) => [
    ...(DATA.sweeps.length > 1 ? [element("h2", {}, sweep.name)] : []),
    ...[["best", "doubt"], ["course"], ["effect"], ["failure"], ["remark"]].flatMap((kinds) => sweep.sentences.filter((s) => kinds.includes(s.kind)))
      .map((s) => element("p", { class: s.kind }, s.text)),
  ]);
  $("sentences").replaceChildren(...parts);
  if (!RUNS.length) $("sentences").append(element("p", { class: "remark" }, "No run has started."));
}
function drawFailures() {
  const failed = RUNS.filter((row) => UNSUCCESSFUL.has(row.state));
  if (!failed.length) return;
  $("failures").hidden = false;
  const kinds = new Map(); // reasons that differ in their numbers alone are one
  for (const row of failed) {
    const kind = JSON.stringify([row.state, row.reason.replace(/\d+(?:\.\d+)?/g, "#")]);
    if (!kinds.has(kind)) kinds.set(kind, []);
    kinds.get(kind).push(row);
  }
  const ordered = [...kinds.values()].sort((a, b) => b.length - a.length);
  $("failures").querySelector(".content").append(...ordered.slice(0, MAX_FAILURES).map(drawKind),
    ordered.length > MAX_FAILURES ? element("p", { class: "remark" }, `and ${count(ordered.length - MAX_FAILURES, "other kind")}: filter by state`) : "");
}
const MAX_FAILURES = 100;
function drawKind(rows) {
  const [first] = rows, told = rows.find((row) => DATA.details[row.i]?.tail);
  const n = rows.length > 1 ? `${rows.length.toLocaleString("en")} runs` : first.run;
  const more = rows.length > MAX_FAILURES ? `and ${(rows.length - MAX_FAILURES).toLocaleString("en")} more` : "";
  return element("details", {}, element("summary", {}, element("span", { class: "state bad" }, first.state), ` ${n}: ${first.reason || "no reason was found"}`),
    told ? element("pre", { tabindex: 0 }, DATA.details[told.i].tail) : null,
    element("p", { class: "together wrapped" }, ...rows.slice(0, MAX_FAILURES).map((row) => runButton(row, row.run)), more));
}
function drawProvenance() {
  const content = $("provenance").querySelector(".content");
  const same = Object.entries(DATA.same);
  if (same.length) content.append(element("h3", {}, "Same for all runs"), pairs(same));
  for (const sweep of DATA.sweeps) {
    const told = Object.entries(sweep.provenance).map(([name, value]) => [name.replaceAll("_", " "), value]);
    content.append(element("h3", {}, sweep.name), pairs([["where", sweep.path], ...told]));
  }
  $("footer").textContent = `Written ${new Date(DATA.written).toLocaleString()} by sweepline ${DATA.version}. It works offline: all that it shows is in this file.`;
}
function drawLinks() {
  const sections = [...document.querySelectorAll("main > section:not([hidden])")].slice(1);
  $("sections").replaceChildren(...sections.map((section) => element("a", { href: `#${section.id}` }, section.dataset.short || section.querySelector("h2").textContent)));
}
function setTheme() {
  const dark = state.theme === "dark" || (state.theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = `Theme: ${state.theme}`;
  pictures.forEach((picture) => picture.redraw());
}
function listen() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", setTheme);
  $("theme").addEventListener("click", () => {
    state.theme = { system: "light", light: "dark", dark: "system" }[state.theme];
    setTheme();
    remember();
  });
  $("expression").addEventListener("input", () => { state.expression = $("expression").value; state.page = 0; applySoon(); });
  $("share").addEventListener("input", () => { state.share = Math.min(100, Math.max(1, Number($("share").value) || 100)); state.page = 0; applySoon(); });
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("reset").addEventListener("click", () => {
    const owners = Object.keys(state.brushes);
    Object.assign(state, { expression: "", share: 100, page: 0, brushes: {} });
    $("expression").value = ""; $("share").value = 100;
    pictures.filter((picture) => owners.includes(picture.id)).forEach((picture) => picture.clear());
    applySoon();
  });
  $("run").addEventListener("click", (event) => { if (event.target === $("run")) $("run").close(); }); // beside it
}
// A page of a sweep that goes on looks for a newer version of itself, but not under the hands of its reader.
function keepCurrent() {
  let touched = -Infinity;
  for (const kind of ["pointerdown", "pointermove", "keydown", "input", "wheel"]) addEventListener(kind, () => { touched = performance.now(); }, { passive: true, capture: true });
  setInterval(() => { if (!document.hidden && !$("run").open && performance.now() - touched > 5000) location.reload(); }, 10000);
}

setTheme();
drawSentences();
addFirst();
if (RUNS.length && OWN_PARAMETERS.length + (OBJECTIVE ? 1 : 0) > 1) {
  $("parallel").hidden = false;
  new Parallel($("parallel").querySelector(".pictures"));
}
addCurves();
addParameters();
addCourse();
drawFailures();
drawProvenance();
drawLinks();
$("expression").value = state.expression;
const example = PARAMETERS[0] && `${/[\s()[\],<>=!"']/.test(PARAMETERS[0].title) ? `\`${PARAMETERS[0].title}\`` : PARAMETERS[0].title} ${PARAMETERS[0].kind === "number" ? "> 0.01" : "== ..."}`;
$("expression").placeholder = example && example.length < 60 ? `${example} and state == finished` : "state == failed";
$("share").value = state.share;
listen();
apply();
table.appear(); // at once, so that what is below it does not move
watch(table);
if (DATA.isLive) keepCurrent();
