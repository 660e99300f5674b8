"use strict";
// Sorts a table by a column: numbers by value, texts by their letters, what is empty comes last.
function text(row, column) {
  return row.cells[column].textContent.trim().replace(/^–$/, "");
}
function compare(a, b, sign) {
  const difference = parseFloat(a) - parseFloat(b) || a.localeCompare(b, "en", { numeric: true });
  return !a - !b || sign * difference;
}
for (const table of document.querySelectorAll("table.sort")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compare(text(a, column), text(b, column), sign));
      table.tBodies[0].append(...rows);
    });
  });
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
