"use strict";
// Sorting by a click on a column's head, and opening the runs behind a cell when its link is followed.
const minus = /\u2212/g;
const asNumber = (text) => {
  const found = text.replace(minus, "-").match(/^[+]?-?\d+(\.\d+)?/);
  return found ? Number(found[0]) : null;
};
const order = (a, b) => {
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== null && y !== null) return x - y;
  return a.localeCompare(b, "en");
};
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = (row) => row.cells[column].textContent.trim();
      // A cell without a number stays last in both directions.
      const empty = (row) => text(row) === "" || text(row).startsWith("\u2013");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => empty(a) - empty(b) || (down ? -1 : 1) * order(text(a), text(b)));
      table.tBodies[0].append(...rows);
    });
  });
}
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target && target.closest("details");
  if (details) { details.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", open);
open();
