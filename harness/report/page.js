"use strict";
// Sorting, filtering and choosing in tables; opening the runs behind a row. Without it every table still reads.

const minus = /\u2212/g;
const numbers = (text) => (text.replace(minus, "-").match(/-?\d+(\.\d+)?/g) || []).map(Number);
const asNumber = (text) => (/^[+\u2212-]?\d/.test(text) ? numbers(text)[0] : null);
const textOf = (row, column) => (row.cells[column] ? row.cells[column].textContent.trim() : "");

const make = (tag, parts = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), parts);
  element.append(...children);
  return element;
};

// Sorting: a click on a column's head, largest first at first; cells without a value stay last in both directions.
const compare = (a, b) => {
  const [x, y] = [asNumber(a), asNumber(b)];
  return x !== null && y !== null ? x - y : a.localeCompare(b, "en");
};
const sort = (head, down) => {
  const table = head.closest("table");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const column = head.cellIndex;
  const keys = [...table.tBodies[0].rows].map((row) => [textOf(row, column), row]);
  const empty = (text) => text === "" || text.startsWith("\u2013");
  keys.sort(([a], [b]) => empty(a) - empty(b) || (down ? -1 : 1) * compare(a, b));
  table.tBodies[0].append(...keys.map(([, row]) => row));
};
const sortable = (head) => {
  const button = make("button", { type: "button" }, ...head.childNodes);
  button.addEventListener("click", () => sort(head, head.getAttribute("aria-sort") !== "descending"));
  head.append(button);
};

// Filtering: rows that hold all the words.
const filter = (table, words, told) => {
  const rows = [...table.tBodies[0].rows];
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !wanted.every((word) => text.includes(word));
  }
  told.textContent = wanted.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
};
const filterable = (table, tools) => {
  const input = make("input", { type: "search", placeholder: "words in a row" });
  const told = make("output");
  input.addEventListener("input", () => filter(table, input.value, told));
  tools.append(make("label", {}, "Filter ", input), told);
  table.refilter = () => filter(table, input.value, told);
};

// Choosing: another selection rule, or one metric with its intervals drawn; the texts were written with the page.
const choices = JSON.parse(document.getElementById("choices").textContent);
const chosen = { rule: choices.rules ? choices.rules.findIndex(([name]) => name === choices.now) : -1, metric: "" };
const place = new Map((choices.cells || []).map((cell, at) => [cell, at]));
const titles = new Set((choices.metrics || []).map(([title]) => title));
const chooser = (title, options, value, choose) => {
  const select = make("select", {}, ...options.map(([key, text]) => make("option", { value: key, textContent: text })));
  select.value = value;
  select.addEventListener("change", () => choose(select.value));
  return make("label", {}, `${title} `, select);
};
const span = (rows, texts) => {
  let [low, high] = [Infinity, -Infinity];
  for (const row of rows) {
    const [mean, half = 0] = numbers((texts[place.get(row.dataset.cell)] || "").replace(/\(n=\d+\)/, ""));
    if (mean !== undefined) [low, high] = [Math.min(low, mean - half), Math.max(high, mean + half)];
  }
  return [low, high > low ? high : low + 1];
};
const drawn = (text, [low, high]) => {
  const cell = make("td", { className: "plot" });
  const [mean, half = 0] = numbers(text.replace(/\(n=\d+\)/, ""));
  if (mean === undefined) return cell;
  const at = (value) => `${((value - low) / (high - low)) * 100}%`;
  const [bar, dot] = [make("i"), make("b")];
  bar.style.left = at(mean - half);
  bar.style.width = `${((2 * half) / (high - low)) * 100}%`;
  dot.style.left = at(mean);
  cell.append(make("span", {}, bar, dot));
  return cell;
};
// What stands before the metrics stays. What else is said between or behind them (`said`) holds for the rule that the
// page came with, and only for that.
const prepare = (table) => {
  const heads = [...table.tHead.rows[0].cells];
  const metric = heads.map((head) => titles.has(head.textContent));
  table.fixed = metric.indexOf(true);
  table.rowsAtFirst = [...table.tBodies[0].rows];
  for (const row of table.rows) {
    row.cellsAtFirst = [...row.cells];
    row.said = row.cellsAtFirst.filter((_, at) => at > table.fixed && !metric[at]);
  }
};
const asAtFirst = (table) => {
  for (const row of table.rows) row.replaceChildren(...row.cellsAtFirst);
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
};
const show = (table) => {
  const rule = choices.rules[chosen.rule];
  const rows = table.rowsAtFirst;
  table.tBodies[0].append(...rows);
  if (rule[0] === choices.now && chosen.metric === "") asAtFirst(table);
  else fill(table, rows, choices.texts[chosen.rule], rule[0] === choices.now);
  table.classList.toggle("on-test", rule[0] === "best_test");
  const told = table.closest("figure").querySelector("figcaption .rule");
  if (told) told.textContent = rule[1];
  table.refilter?.();
};
const fill = (table, rows, texts, sameRule) => {
  const one = chosen.metric !== "";
  const shown = one ? [Number(chosen.metric)] : choices.metrics.flatMap(([, first], at) => (first ? [at] : []));
  const heads = table.tHead.rows[0];
  for (const row of table.rows) row.replaceChildren(...row.cellsAtFirst.slice(0, table.fixed));
  for (const at of shown) {
    const head = make("th", { scope: "col", className: "metric", textContent: choices.metrics[at][0] });
    heads.append(head);
    sortable(head);
    for (const row of rows) row.append(make("td", { textContent: texts[at][place.get(row.dataset.cell)] || "" }));
  }
  if (one) {
    const range = span(rows, texts[shown[0]]);
    heads.append(make("th", { scope: "col", className: "plot", textContent: range.map((end) => end.toPrecision(3)).join(" to ") }));
    for (const row of rows) row.append(drawn(textOf(row, table.fixed), range));
  }
  if (sameRule) for (const row of table.rows) row.append(...row.said);
  sort(heads.cells[table.fixed], true);
};
const choosable = document.querySelectorAll("table[data-choose]");
const choose = (change) => {
  Object.assign(chosen, change);
  choosable.forEach(show);
  for (const select of document.querySelectorAll("select[data-what]")) select.value = chosen[select.dataset.what];
};
const offer = (tools) => {
  const rules = chooser("Selection rule", choices.rules.map(([, title], at) => [at, title]), chosen.rule, (value) => choose({ rule: Number(value) }));
  const metrics = chooser("Metric", [["", "all of quality"], ...choices.metrics.map(([title], at) => [at, title])], "", (value) => choose({ metric: value }));
  rules.querySelector("select").dataset.what = "rule";
  metrics.querySelector("select").dataset.what = "metric";
  tools.append(rules, metrics);
};

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.hasAttribute("data-choose") && choices.rules) prepare(table);
  [...table.tHead.rows[0].cells].forEach(sortable);
  const tools = make("div", { className: "tools" });
  if (table.hasAttribute("data-choose") && choices.rules) offer(tools);
  if (table.tBodies[0].rows.length > 7) filterable(table, tools);
  if (tools.childNodes.length) table.closest(".wide").before(tools);
}

// Behind a row: a click anywhere in it opens its runs over the page; an address that names them opens them in place.
const dialog = make("dialog", { id: "behind" });
document.body.append(dialog);
const reveal = (name) => {
  const runs = document.getElementById(name);
  if (!runs) return;
  const copy = [...runs.children].map((child) => child.cloneNode(true));
  for (const part of copy) part.querySelectorAll("[id]").forEach((element) => element.removeAttribute("id"));
  const close = make("button", { type: "button", className: "close", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(close, make("h3", {}, ...copy[0].childNodes), ...copy.slice(1));
  dialog.showModal();
};
document.addEventListener("click", (event) => {
  if (event.target === dialog) return dialog.close();
  if (event.ctrlKey || event.metaKey || event.shiftKey || String(getSelection())) return;
  const link = event.target.closest("a");
  const row = event.target.closest("tr[data-cell]");
  if (!row || (link && link.getAttribute("href") !== `#${row.dataset.cell}`)) return;
  event.preventDefault();
  reveal(row.dataset.cell);
});
const open = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target && target.closest("details");
  if (details) { details.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", open);
open();
