() => [...document.querySelectorAll("figure")].filter((figure) => figure.querySelector(".sheet")).map((figure) => {
  const found = [], { view } = figure.querySelector(".sheet");
  const walk = (mark, dx, dy) => mark.items.forEach((item) => {
    if (mark.marktype === "group") { item.items.forEach((inner) => walk(inner, dx + (item.x || 0), dy + (item.y || 0))); return; }
    if (mark.marktype !== "text" || !item.text || item.opacity === 0 || (item.angle && item.angle % 90)) return;
    const { x1, x2, y1, y2 } = item.bounds;
    found.push({ left: dx + x1, right: dx + x2, top: dy + y1, bottom: dy + y2, name: `${figure.id} ${item.text}` });
  });
  const padding = view.padding(), [x, y] = view.origin();
  walk(view.scenegraph().root, padding.left + x, padding.top + y);
  const { width, height } = figure.querySelector("canvas").getBoundingClientRect();
  return { found, width, height };
})
