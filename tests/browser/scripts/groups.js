() => {
  const place = (node) => { const { left, top, right, bottom } = node.getBoundingClientRect();
    return { left, top, right, bottom, name: `${node.tagName} ${node.id} ${node.className} ${node.textContent.slice(0, 30)}` }; };
  const seen = (nodes) => [...nodes].filter((node) => node.checkVisibility() && node.getBoundingClientRect().width);
  const parents = "header, nav, main, main > section, #sentences, #filter, #brushes, .pictures, figure, figcaption, .controls, .together, #failures .content";
  const groups = [...document.querySelectorAll(parents)].filter((one) => one.checkVisibility()).map((one) => seen(one.children).map(place));
  groups.push(seen(document.querySelectorAll("figure")).map(place), seen(document.querySelectorAll(".parallel .axis")).map(place),
    seen(document.querySelectorAll(".parallel .end")).map(place));
  for (const figure of document.querySelectorAll("figure")) groups.push(seen(figure.querySelectorAll("h3, button:not(.axis), select, summary, .legend, .sheet, .parallel, .note")).map(place));
  for (const row of document.querySelectorAll("#table tr")) groups.push([...row.cells].map(place));
  return groups;
}
