// Which pictures this report has, and which columns they show.
const P = DATA.pictures;
const NUMBERS = PARAMETERS.filter((c) => c.kind === "number");
const ORDER = (P.order || []).map((key) => BY_KEY.get(key)).filter(Boolean);

function addScatter(parent) {
  if (!P.scatter) return;
  const axes = [...NUMBERS, ...PARAMETERS.filter((c) => c.kind === "category" && c.isFew), ...METRICS];
  const chosen = Object.assign({ x: ORDER[0].key, y: OBJECTIVE.key }, state.scatter);
  if (!BY_KEY.has(chosen.x) || !BY_KEY.has(chosen.y)) Object.assign(chosen, { x: ORDER[0].key, y: OBJECTIVE.key });
  const spec = () => withChannel(withChannel(P.scatter.spec, "x", BY_KEY.get(chosen.x).axis), "y", BY_KEY.get(chosen.y).axis);
  const pick = (axis) => (key) => { chosen[axis] = key; state.scatter = chosen; delete state.brushes.scatter; picture.redraw(spec()); applySoon(); };
  const picture = new Picture("scatter", "Any two", parent, { spec: spec(),
    controls: [choice("x", titled(axes), chosen.x, pick("x")), choice("y", titled(axes), chosen.y, pick("y"))],
    note: "Drag to select runs, here and in all other pictures and the table; double click selects all again; Shift and wheel zoom." });
}
function addSlice(parent, key, id, isFixed) {
  if (!P.slice) return;
  let column = BY_KEY.get(key);
  const spec = () => {
    const channel = column.kind === "number" ? column.axis : column.step;
    const made = withChannel(P.slice.spec, "x", channel);
    return column.kind === "number" ? made : { ...made, layer: made.layer.map(({ params, ...unit }) => unit) };
  };
  const data = () => ({ means: column.means || [] });
  const controls = isFixed ? [] : [choice("parameter", titled(PARAMETERS), key, (chosen) => {
    column = BY_KEY.get(chosen);
    state.slice = { x: chosen };
    delete state.brushes[id];
    picture.redraw(spec());
    applySoon();
  })];
  const picture = new Picture(id, isFixed ? `${OBJECTIVE.title} by ${column.title}` : "One parameter", parent, { spec: spec(), data, controls,
    note: "Grey: single runs. Line: the mean of all runs at a value with its 95 % interval." });
}
function addHeat(parent, x, y, id, isFixed) {
  if (!P.heat) return;
  const chosen = Object.assign({ x, y }, isFixed ? {} : state.heat);
  const few = PARAMETERS.filter((c) => c.isFew && c.key !== "sweep");
  const spec = () => {
    const of_y = BY_KEY.get(chosen.y);
    const made = withChannel(P.heat.spec, "x", BY_KEY.get(chosen.x).step);
    return withChannel(made, "y", of_y.reversed);
  };
  const pick = (axis) => (key) => { chosen[axis] = key; state.heat = chosen; delete state.brushes[id]; picture.redraw(spec()); applySoon(); };
  const controls = isFixed ? [] : [choice("x", titled(few), chosen.x, pick("x")), choice("y", titled(few), chosen.y, pick("y"))];
  const title = isFixed ? `${OBJECTIVE.title} by ${BY_KEY.get(x).title} and ${BY_KEY.get(y).title}` : "Two parameters";
  const picture = new Picture(id, title, parent, { spec: spec(), controls,
    note: "The mean of the runs at each pair; blank where no run has a finite result. Click a field to select its runs, double click for all." });
}
function mapPair() {
  const few = ORDER.filter((c) => c.isFew);
  const size = few.find((c) => /(^|[._/])(batch_size|bs)$/.test(c.title)), rate = few.find((c) => /(^|[._/])(lr|step_size|learning_rate)$/.test(c.title));
  return size && rate ? [rate.key, size.key] : few.length > 1 ? [few[0].key, few[1].key] : null;
}

function addFirst() {
  const parent = $("first");
  const real = PARAMETERS.filter((c) => c.key !== "t" && c.key !== "sweep");
  if (!OBJECTIVE || !real.length) return;
  const pair = mapPair();
  if (real.length === 1) addSlice(parent, real[0].key, "first-slice", true);
  else if (real.length === 2 && pair) {
    addHeat(parent, pair[0], pair[1], "first-heat", true);
    addSlice(parent, ORDER[0].key, "first-slice", true);
  } else {
    if (P.importance) new Picture("importance", "Importance", parent, { spec: P.importance.spec, note: P.importance.note });
    if (pair) addHeat(parent, pair[0], pair[1], "first-heat", true);
    else addSlice(parent, ORDER[0].key, "first-slice", true);
  }
  if (P.tradeoff) new Picture("tradeoff", "Quality and cost: the golden middle", parent, P.tradeoff);
}
