// Which pictures this report has, and which columns they show.
const P = DATA.pictures;
const ORDER = (P.order || []).map((key) => BY_KEY.get(key)).filter(Boolean);
const FEW = ORDER.filter((c) => c.isFew);
const MAX_NAMED = 12, ALL_RUNS = "all";
const BOUNDS = P.bounds ? ` ${P.bounds}` : "";
const STEP_SIZE = /(^|[._/])(lr|step_size|learning_rate)$/, BATCH_SIZE = /(^|[._/])(batch_size|bs)$/;

// Another column for a picture: what was selected in it by the last one is selected no more.
function change(picture, spec) {
  setBrush(picture.id, {}, true);
  picture.redraw(spec);
  remember();
}
function addScatter(parent) {
  if (!P.scatter) return;
  const axes = [...PARAMETERS.filter((c) => c.kind === "number" || c.isFew), ...METRICS];
  const chosen = { x: ORDER[0].key, y: OBJECTIVE.key, ...state.scatter };
  const isNumber = () => [chosen.x, chosen.y].every((key) => BY_KEY.get(key).kind === "number");
  const base = () => (isNumber() ? P.scatter.spec : withoutZoom(P.scatter.spec));
  const spec = () => withChannels(base(), { x: BY_KEY.get(chosen.x).x, y: BY_KEY.get(chosen.y).y });
  const pick = (axis) => (key) => { chosen[axis] = key; state.scatter = chosen; change(picture, spec()); };
  const picture = new Picture("scatter", "Any two", parent, { spec: spec(),
    controls: [choice("x", titled(axes), chosen.x, pick("x")), choice("y", titled(axes), chosen.y, pick("y"))],
    note: "Drag to select runs, here and in all other pictures and the table; double click selects all again; Shift and wheel zoom." });
}
function addSlice(parent, key, id, isFixed) {
  if (!P.slice) return;
  let column = BY_KEY.get(key);
  const isNumber = () => column.kind === "number";
  const spec = () => withChannels(P.slice[column.kind].spec, { x: isNumber() ? column.x : column.stepX });
  const noteOf = () => (column.isFew || !isNumber() ? "Grey: single runs. Blue: the mean of the runs at a value, whatever their other parameters, with its 95 % interval."
    : "Grey: single runs. Blue: the mean of each twelfth of the runs with its 95 % interval.") + BOUNDS;
  const controls = isFixed ? [] : [choice("parameter", titled(PARAMETERS.filter((c) => P.slice[c.kind])), key, (chosen) => {
    column = BY_KEY.get(chosen);
    state.slice = { x: chosen };
    picture.note = noteOf();
    change(picture, spec());
  })];
  const picture = new Picture(id, isFixed ? `${OBJECTIVE.title} by ${column.title}` : "One parameter", parent,
    { spec: spec(), data: () => ({ means: meansBy(shown, column, OBJECTIVE) }), controls, note: noteOf() });
}
function addHeat(parent, x, y, id, isFixed) {
  if (!P.heat) return;
  const chosen = isFixed ? { x, y } : { x, y, ...state.heat };
  const few = PARAMETERS.filter((c) => c.isFew && c.key !== "sweep");
  const spec = () => withChannels(P.heat.spec, { x: BY_KEY.get(chosen.x).stepX, y: BY_KEY.get(chosen.y).stepY });
  const cells = () => ({ cells: meansByPair(shown, BY_KEY.get(chosen.x), BY_KEY.get(chosen.y), OBJECTIVE) });
  const pick = (axis) => (key) => { chosen[axis] = key; state.heat = chosen; change(picture, spec()); };
  const controls = isFixed ? [] : [choice("x", titled(few), chosen.x, pick("x")), choice("y", titled(few), chosen.y, pick("y"))];
  const title = isFixed ? `${OBJECTIVE.title} by ${BY_KEY.get(x).title} and ${BY_KEY.get(y).title}` : "Two parameters";
  const picture = new Picture(id, title, parent, { spec: spec(), data: cells, controls, isFollowing: true,
    note: `The mean of the runs at each pair; × where none has a finite result of all its seeds. Click a field to select its runs, double click for all.${BOUNDS}` });
}
// The objective against one parameter, a line for each value of another: where is each line's best?
function addLines(parent) {
  const along = FEW.filter((c) => c.kind === "number");
  if (!P.lines || !along.length || FEW.length < 2) return;
  const others = (key) => FEW.filter((c) => c.key !== key);
  const x = along.find((c) => STEP_SIZE.test(c.title)) || along[0];
  const chosen = { x: x.key, group: (others(x.key).find((c) => c.kind === "number") || others(x.key)[0]).key, ...state.lines };
  const text = (column, value) => JSON.stringify([column.title, value]);
  const rest = () => others(chosen.x).filter((c) => c.key !== chosen.group && new Set(RUNS.map((row) => row[c.key])).size <= MAX_NAMED);
  const single = () => rest().flatMap((c) => [...new Set(RUNS.map((row) => row[c.key]))].filter((value) => !isMissing(value)).map((value) => [text(c, value), `${c.title} = ${general(value)}`]));
  function complete() {
    if (!along.some((c) => c.key === chosen.x)) chosen.x = x.key;
    if (!FEW.some((c) => c.key === chosen.group)) chosen.group = chosen.x;
    if (chosen.group === chosen.x) chosen.group = others(chosen.x)[0].key;
    const kinds = rest().find((c) => c.kind === "category"), best = RANKED[0];
    if (chosen.only !== ALL_RUNS && !single().some(([key]) => key === chosen.only)) delete chosen.only;
    chosen.only ??= kinds && best && !isMissing(best[kinds.key]) ? text(kinds, best[kinds.key]) : ALL_RUNS;
  }
  complete();
  const column = (name) => BY_KEY.get(chosen[name]);
  const spec = () => withChannels(P.lines.spec, { x: column("x").x, color: column("group").group });
  function means() {
    const [title, value] = chosen.only === ALL_RUNS ? [] : JSON.parse(chosen.only);
    const own = COLUMNS.find((c) => c.title === title);
    return { means: meansByGroup(own ? shown.filter((row) => row[own.key] === value) : shown, column("x"), column("group"), OBJECTIVE) };
  }
  const controls = element("div", { class: "controls" });
  const pick = (name) => (key) => { chosen[name] = key; complete(); state.lines = chosen; keepingFocus(controls, drawControls); change(picture, spec()); };
  function drawControls() {
    controls.replaceChildren(choice("along", titled(along), chosen.x, pick("x")), choice("a line for each", titled(others(chosen.x)), chosen.group, pick("group")),
      ...(single().length ? [choice("of", [[ALL_RUNS, "all runs"], ...single()], chosen.only, pick("only"))] : []));
  }
  drawControls();
  const picture = new Picture("lines", "One parameter, for each value of another", parent, { spec: spec(), data: means, controls: [controls], isFollowing: true,
    note: `The mean of the runs at each value, with its 95 % interval; a ring is the best of a line.${BOUNDS}` });
}
function mapPair() {
  const size = FEW.find((c) => BATCH_SIZE.test(c.title)), rate = FEW.find((c) => STEP_SIZE.test(c.title));
  return size && rate ? [rate.key, size.key] : FEW.length > 1 ? [FEW[0].key, FEW[1].key] : null;
}
function addFirst() {
  const parent = $("first");
  if (!ORDER.length) return;
  const pair = mapPair();
  if (ORDER.length > 2 && P.importance) new Picture("importance", "Importance", parent, P.importance);
  if (ORDER.length > 1 && pair) addHeat(parent, ...pair, "first-heat", true);
  if (ORDER.length < 3 || !pair) addSlice(parent, ORDER[0].key, "first-slice", true);
  if (P.pareto) new Picture("pareto", "Several objectives", parent, P.pareto);
  if (P.tradeoff) new Picture("tradeoff", "Quality and cost: the golden middle", parent, P.tradeoff);
}
function addParameters() {
  if (!ORDER.length) return;
  $("parameters").hidden = false;
  const parent = $("parameters").querySelector(".pictures");
  if (mapPair()) addHeat(parent, ...mapPair(), "heat", false);
  addSlice(parent, state.slice.x || ORDER[0].key, "slice", false);
  addLines(parent);
  addScatter(parent);
}
function addCourse() {
  const [parent, wide] = $("course").querySelectorAll(".pictures");
  if (P.best) new Picture("best", "Best so far", parent, P.best);
  if (P.edf) new Picture("edf", "Share of runs at least as good", parent, { ...P.edf, note: "Runs that failed or diverged never count as good." });
  if (P.timeline) new Picture("timeline", "Who ran where and when", wide, P.timeline);
  $("course").hidden = !P.best && !P.timeline;
}
