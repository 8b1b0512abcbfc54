// The page put together, and its buttons. The last of the scripts: all before it only tell what there is.
function drawSentences() {
  $("title").textContent = DATA.title;
  const parts = DATA.sweeps.flatMap((sweep) => [
    ...(DATA.sweeps.length > 1 ? [element("h2", {}, sweep.name)] : []),
    ...["best", "doubt", "course", "effect", "failure", "remark"].flatMap((kind) => sweep.sentences.filter((s) => s.kind === kind))
      .map((s) => element("p", { class: s.kind }, s.text)),
  ]);
  $("sentences").replaceChildren(...parts);
  if (!RUNS.length) $("sentences").append(element("p", { class: "remark" }, "No run has started."));
}
function drawFailures() {
  const failed = RUNS.filter((row) => UNSUCCESSFUL.has(row.state));
  if (!failed.length) return;
  $("failures").hidden = false;
  const content = $("failures").querySelector(".content");
  failed.slice(0, 100).forEach((row) => {
    const tail = DATA.details[row.i]?.tail;
    content.append(element("details", {}, element("summary", {}, element("span", { class: "state bad" }, row.state), ` ${row.run}: ${row.reason || "no reason was found"}`),
      tail ? element("pre", {}, tail) : null, element("p", {}, runButton(row, "parameters and command"))));
  });
  if (failed.length > 100) content.append(element("p", { class: "remark" }, `and ${failed.length - 100} more: filter by state`));
}
function drawProvenance() {
  const content = $("provenance").querySelector(".content");
  const same = Object.entries(DATA.same);
  if (same.length) content.append(element("h3", {}, "Same for all runs"), pairs(same));
  for (const sweep of DATA.sweeps) {
    const told = Object.entries(sweep.provenance).map(([name, value]) => [name.replaceAll("_", " "), typeof value === "object" ? JSON.stringify(value) : value]);
    content.append(element("h3", {}, sweep.name), pairs([["where", sweep.path], ...told]));
  }
  $("footer").textContent = `Written ${new Date(DATA.written).toLocaleString()} by sweepline ${DATA.version}. This file holds all that it shows and asks nobody for anything.`;
}
function setTheme() {
  const dark = state.theme === "dark" || (state.theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = `Theme: ${state.theme}`;
}
setTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { setTheme(); pictures.forEach((picture) => picture.redraw()); });
$("theme").addEventListener("click", () => {
  state.theme = { system: "light", light: "dark", dark: "system" }[state.theme];
  setTheme();
  remember();
  pictures.forEach((picture) => picture.redraw());
});
drawSentences();
addFirst();
if (RUNS.length && PARAMETERS.length + (OBJECTIVE ? 1 : 0) > 1) {
  $("parallel").hidden = false;
  new Parallel($("parallel").querySelector(".pictures"));
}
addCurves();
if (OBJECTIVE && ORDER.length) {
  $("parameters").hidden = false;
  const parent = $("parameters").querySelector(".pictures");
  if (mapPair()) addHeat(parent, ...mapPair(), "heat", false);
  addSlice(parent, BY_KEY.has(state.slice.x) ? state.slice.x : ORDER[0].key, "slice", false);
  addScatter(parent);
}
const course = $("course").querySelector(".pictures");
const edfNote = "Runs that failed or diverged never count as good.";
if (P.best) new Picture("best", "Best so far", course, P.best);
if (P.edf) new Picture("edf", "How many runs are how good", course, { ...P.edf, note: edfNote });
if (P.timeline) new Picture("timeline", "Who ran where and when", course, P.timeline);
$("course").hidden = !course.children.length;
drawFailures();
drawProvenance();
$("sections").replaceChildren(...[...document.querySelectorAll("main > section:not([hidden])")].slice(1)
  .map((section) => element("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)));
$("expression").value = state.expression;
$("expression").placeholder = PARAMETERS.length ? `${PARAMETERS[0].title} ${PARAMETERS[0].kind === "number" ? "> 0.01" : "== ..."} and state == finished` : "state == failed";
$("share").value = state.share;
$("expression").addEventListener("input", () => { state.expression = $("expression").value; state.page = 0; applySoon(); });
$("share").addEventListener("input", () => { state.share = Math.min(100, Math.max(1, Number($("share").value) || 100)); applySoon(); });
$("filter").addEventListener("submit", (event) => event.preventDefault());
$("reset").addEventListener("click", () => {
  Object.assign(state, { expression: "", share: 100, page: 0 });
  $("expression").value = ""; $("share").value = 100;
  const owners = Object.keys(state.brushes);
  state.brushes = {};
  pictures.filter((picture) => owners.includes(picture.id)).forEach((picture) => picture.clear());
  applySoon();
});
apply();
if (DATA.isLive) setInterval(() => { if (!document.hidden && !$("run").open) location.reload(); }, 10000);
