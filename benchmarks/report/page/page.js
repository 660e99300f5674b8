"use strict";
// Everything a reader needs stands in the page already. This sorts, filters, pages and compares.
// Text goes into the page as textContent only: whatever a record holds, it stays text.
const PAGE = 100; // rows of a long table at a time
const PRINTED = 2000; // rows of it on paper
const byId = (id) => document.getElementById(id);
const data = (name) => JSON.parse(byId(`data-${name}`).textContent);

function make(tag, attributes = {}, ...children) {
  const SVG = ["svg", "image"];
  const made = SVG.includes(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function labelled(text, control) {
  return make("label", {}, text, control);
}

function options(select, texts) {
  select.replaceChildren(...texts.map((text, index) => make("option", { value: index }, text)));
  return select;
}

function say(text) {
  byId("said").textContent = text;
}

// ---- commands -------------------------------------------------------------------------------

async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch (refused) {
    // Pages from disk may not use the clipboard everywhere: select the text and copy that.
    const area = make("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  say(done ? "Copied" : "Not copied: select the text and copy it by hand");
  button.textContent = done ? "Copied" : "Not copied";
  button.focus();
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function cell(kind, text) {
  const made = make("td", { class: `k-${kind}` });
  if (kind === "verdict" && text) {
    made.append(make("span", { class: `badge v-${text.replaceAll(" ", "_")}` }, text));
  } else if (kind === "key") {
    made.append(make("code", {}, text));
  } else if (kind === "command" && text) {
    const button = make("button", { type: "button", "aria-label": `Copy the command ${text}` }, "Copy");
    button.addEventListener("click", () => copy(text, button));
    made.append(make("code", { class: "command" }, text), button);
  } else {
    made.append(text);
  }
  return made;
}

// ---- long tables ----------------------------------------------------------------------------

class Sheet {
  constructor(element) {
    this.element = element;
    const { columns, first, count } = data(element.dataset.sheet);
    this.columns = columns;
    this.count = count;
    this.first = first; // rows shown until somebody asks for all; null where these are all
    this.all = first === null;
    this.search = "";
    this.chosen = columns.map(() => -1);
    this.sorted = { column: -1, down: false };
    this.page = 0;
    this.controls();
    this.heads();
    this.show();
  }

  controls() {
    const [above, below] = this.element.querySelectorAll(".controls");
    const search = make("input", { type: "search", autocomplete: "off" });
    search.addEventListener("input", () => { this.search = search.value; this.restart(); });
    above.append(labelled("Search", search));
    if (this.first !== null) {
      const scores = options(make("select"), ["primary scores", "all scores"]);
      scores.addEventListener("change", () => { this.all = scores.value === "1"; this.restart(); });
      above.append(labelled("Show", scores));
    }
    this.columns.forEach((column, index) => {
      if (!column.filter || column.texts.length < 2) return;
      const select = options(make("select"), ["all", ...column.texts]);
      select.addEventListener("change", () => {
        this.chosen[index] = Number(select.value) - 1;
        this.restart();
      });
      above.append(labelled(column.label, select));
    });
    this.back = make("button", { type: "button" }, "Previous rows");
    this.next = make("button", { type: "button" }, "Next rows");
    this.back.addEventListener("click", () => this.turn(-1));
    this.next.addEventListener("click", () => this.turn(1));
    below.append(this.back, this.next);
    above.hidden = false;
    this.below = below;
  }

  heads() {
    this.head = [...this.element.querySelectorAll("thead th")];
    this.head.forEach((th, index) => {
      const button = make("button", { type: "button" }, th.textContent);
      button.addEventListener("click", () => {
        const again = this.sorted.column === index;
        this.sorted = { column: index, down: again && !this.sorted.down };
        this.restart();
      });
      th.replaceChildren(button);
      th.setAttribute("aria-sort", "none");
    });
  }

  restart() {
    this.page = 0;
    this.show();
  }

  turn(by) {
    this.page += by;
    this.show();
    this.element.querySelector(".count").scrollIntoView({ block: "nearest" });
  }

  matching() {
    // A word that is looked for is looked for once in each distinct text, not in each row.
    const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = words.map((word) =>
      this.columns.map((column) => column.texts.map((text) => text.toLowerCase().includes(word))));
    const rows = this.all ? Array.from({ length: this.count }, (_, row) => row) : [...this.first];
    return rows.filter((row) =>
      this.chosen.every((code, c) => code < 0 || this.columns[c].codes[row] === code) &&
      hits.every((columns) => columns.some((hit, c) => hit[this.columns[c].codes[row]] === true)));
  }

  show(size = PAGE) {
    const rows = this.matching();
    const { column, down } = this.sorted;
    if (column >= 0) {
      const codes = this.columns[column].codes;
      // What has no value comes last both ways; equal rows keep the order of the leaderboard.
      rows.sort((a, b) => (codes[a] < 0) - (codes[b] < 0) ||
        (down ? codes[b] - codes[a] : codes[a] - codes[b]) || a - b);
    }
    const pages = Math.max(1, Math.ceil(rows.length / size));
    const from = size === PAGE ? this.page * size : 0;
    const shown = rows.slice(from, from + size);
    this.element.querySelector("tbody").replaceChildren(...shown.map((row) =>
      make("tr", {}, ...this.columns.map((one) => {
        const code = one.codes[row];
        return cell(one.kind, code < 0 ? "" : one.texts[code]);
      }))));
    this.head.forEach((th, index) => th.setAttribute(
      "aria-sort", index !== column ? "none" : down ? "descending" : "ascending"));
    const range = shown.length ? `Rows ${from + 1} to ${from + shown.length}` : "No row";
    this.element.querySelector(".count").textContent =
      `${range} of ${rows.length} that match, ${this.count} in all`;
    this.below.hidden = pages === 1;
    this.back.disabled = this.page === 0;
    this.next.disabled = this.page >= pages - 1;
  }
}

// ---- start and paper ------------------------------------------------------------------------

const sheets = [...document.querySelectorAll("[data-sheet]")].map((one) => new Sheet(one));

let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((one) => { one.open = true; });
  sheets.forEach((one) => one.show(PRINTED));
});
window.addEventListener("afterprint", () => {
  closed.forEach((one) => { one.open = false; });
  sheets.forEach((one) => one.show());
});
