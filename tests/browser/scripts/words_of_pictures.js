() => [...document.querySelectorAll(".sheet")].flatMap((sheet) => {
  const found = [];
  const walk = (mark) => mark.items.forEach((item) => {
    if (mark.marktype === "group") item.items.forEach(walk);
    else if (mark.marktype === "text" && item.text && item.opacity !== 0) found.push(item.fill);
  });
  walk(sheet.view.scenegraph().root);
  return found;
})
