() => [...document.querySelectorAll("h1, h2, h3, p, a, button, label, input, select, summary, figure, canvas, output, dt, dd, .legend")]
  .filter((node) => node.checkVisibility() && !node.closest(".scroll, dialog, .skip")).filter((node) => {
    const { left, right } = node.getBoundingClientRect();
    return left < 0 || right > innerWidth || (!["INPUT", "SELECT", "CANVAS"].includes(node.tagName) && node.scrollWidth > node.clientWidth + 1 && node.clientWidth);
  }).map((node) => `${node.tagName} ${node.id} ${node.className} ${node.textContent.slice(0, 40)}`)
