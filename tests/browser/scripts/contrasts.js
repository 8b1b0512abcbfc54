() => {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const read = (color) => {
    context.clearRect(0, 0, 1, 1); context.fillStyle = color; context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
  const behind = (node) => (node ? over(read(getComputedStyle(node).backgroundColor), behind(node.parentElement)) : [255, 255, 255, 1]);
  const light = (color) => color.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (a, b) => { const [low, high] = [light(a), light(b)].sort((p, q) => p - q); return (high + 0.05) / (low + 0.05); };
  const found = [];
  const check = (what, node, color, below, least) => {
    const ratio = contrast(over(read(color), below), below);
    found.push({ what, text: (node.textContent || node.id || node.tagName).trim().slice(0, 40), ratio, isEnough: ratio >= least });
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode()); ) {
    const node = text.parentElement;
    if (!text.textContent.trim() || !node.checkVisibility() || node.closest("script, style, noscript, :disabled, option")) continue;
    const style = getComputedStyle(node), size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    check("text", node, style.color, behind(node), isLarge ? 3 : 4.5);
  }
  for (const node of document.querySelectorAll("input, select, button")) {
    if (node.disabled || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    if (node.tagName !== "BUTTON") check("value", node, style.color, behind(node), 4.5);
    if (node.placeholder) check("placeholder", node, getComputedStyle(node, "::placeholder").color, behind(node), 4.5);
    if (parseFloat(style.borderTopWidth) > 0 && node.type !== "checkbox") check("border", node, style.borderTopColor, behind(node.parentElement), 3);
  }
  return found;
}
