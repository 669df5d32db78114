"use strict";
// Shows the figures of a chart's own table under the pointer. Without it the table says the same.
for (const figure of document.querySelectorAll("figure.chart")) {
  const plot = figure.querySelector(".plot");
  const rows = [...figure.querySelectorAll("tr[data-at]")];
  const heads = [...figure.querySelectorAll("thead th")].map((head) => head.textContent);
  if (!plot || rows.length === 0) continue;
  const add = (name) => {
    const part = document.createElement("div");
    part.className = name;
    part.hidden = true;
    part.setAttribute("aria-hidden", "true");
    return plot.appendChild(part);
  };
  const cursor = add("cursor");
  const tip = add("tip");
  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * 100;
    const far = (row) => Math.abs(row.dataset.at - at);
    const row = rows.reduce((best, next) => (far(next) < far(best) ? next : best));
    tip.replaceChildren(
      ...[...row.cells].map((cell, place) => {
        const line = document.createElement("div");
        line.textContent = `${heads[place]}: ${cell.textContent.trim()}`;
        return line;
      }),
    );
    cursor.hidden = tip.hidden = false;
    const x = (row.dataset.at / 100) * box.width;
    cursor.style.left = `${x}px`;
    const left = x + tip.offsetWidth + 12 > box.width ? x - tip.offsetWidth - 8 : x + 8;
    tip.style.left = `${Math.max(left, -40)}px`;
  };
  const hide = () => {
    cursor.hidden = tip.hidden = true;
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}
