// Sorts a table by a column: numbers by value, texts by their letters, what is empty comes last.
function compare(a, b, sign) {
  const difference = parseFloat(a) - parseFloat(b) || a.localeCompare(b, "en", { numeric: true });
  return (a === "–") - (b === "–") || sign * difference;
}
for (const head of document.querySelectorAll("table.sort thead th")) {
  const button = document.createElement("button");
  button.append(head.textContent);
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    for (const other of head.parentNode.cells) other.ariaSort = null;
    head.ariaSort = sign > 0 ? "ascending" : "descending";
    const [body] = head.closest("table").tBodies;
    const text = (row) => row.cells[head.cellIndex].textContent;
    body.append(...[...body.rows].sort((a, b) => compare(text(a), text(b), sign)));
  });
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
