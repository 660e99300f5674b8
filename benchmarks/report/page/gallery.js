"use strict";
// The gallery: two arms under a slider, item by item. Uses the helpers of page.js.

const ORDERS = ["as they come", "worst of the left arm first", "best of the left arm first", "largest difference first"];

class Viewer {
  constructor(element, galleries) {
    this.element = element;
    this.galleries = galleries;
    this.which = options(make("select"), galleries.map((one) => one.title));
    this.left = make("select");
    this.right = make("select");
    this.order = options(make("select"), ORDERS);
    this.item = make("input", { type: "range", min: 0, step: 1, class: "item-range", "aria-label": "Item" });
    this.wipe = make("input", { type: "range", min: 0, max: 100, value: 50, class: "wipe-range" });
    this.stage = make("div", { class: "stage" });
    this.quick = make("p", { class: "warn" }, make("strong", {}, "quick: not for comparison"));
    this.where = make("p", { class: "count", role: "status" });
    const back = make("button", { type: "button" }, "Previous item");
    const next = make("button", { type: "button" }, "Next item");
    back.addEventListener("click", () => this.step(-1));
    next.addEventListener("click", () => this.step(1));
    this.which.addEventListener("change", () => this.open());
    for (const control of [this.left, this.right, this.order]) {
      control.addEventListener("change", () => this.sort());
    }
    this.item.addEventListener("input", () => this.show());
    this.wipe.addEventListener("input", () => this.cut());
    element.append(
      make("div", { class: "controls" },
        labelled("Comparison", this.which), labelled("Left arm", this.left),
        labelled("Right arm", this.right),
        labelled("Order of items", this.order), back, next),
      this.quick, this.item, this.where, this.stage);
    element.hidden = false;
    this.open();
  }

  open() {
    this.gallery = this.galleries[Number(this.which.value)];
    const { rows, ids } = this.gallery;
    this.quick.hidden = !this.gallery.quick;
    this.arms = rows.map((row, index) => index).filter((index) => !rows[index].end);
    const labels = this.arms.map((index) => rows[index].label);
    options(this.left, labels);
    options(this.right, labels);
    this.left.value = Math.max(0, labels.length - 2);
    this.right.value = Math.max(0, labels.length - 1);
    this.item.max = Math.max(0, ids.length - 1);
    this.sort();
  }

  // Which item stands where on the slider; an item without a score comes last.
  sort() {
    const { rows, ids } = this.gallery;
    const [left, right] = [this.left, this.right].map((arm) => rows[this.arms[Number(arm.value)]]);
    this.items = ids.map((_, item) => item);
    const score = (row, item) => (row && row.scores[item] ? Number(row.scores[item]) : NaN);
    const good = left && left.better === "higher" ? 1 : -1;
    const key = {
      [ORDERS[1]]: (item) => good * score(left, item),
      [ORDERS[2]]: (item) => -good * score(left, item),
      [ORDERS[3]]: (item) => -Math.abs(score(left, item) - score(right, item)),
    }[ORDERS[Number(this.order.value)]];
    if (key) {
      const keys = this.items.map(key);
      this.items.sort((a, b) => Number.isNaN(keys[a]) - Number.isNaN(keys[b]) || keys[a] - keys[b] || a - b);
    }
    this.item.value = 0;
    this.show();
  }

  step(by) {
    this.item.value = Number(this.item.value) + by; // the control keeps to its own ends
    this.show();
  }

  picture(index, item) {
    const row = this.gallery.rows[index];
    if (row.texts) return make("blockquote", {}, row.texts[item]);
    const [left, top, width, height] = row.boxes[item];
    const svg = make("svg", {
      viewBox: `${left} ${top} ${width} ${height}`, role: "img",
      "aria-label": `${row.label}, item ${this.gallery.ids[item]}`,
    });
    svg.append(make("image", {
      href: byId(`${this.gallery.anchor}-${index}`).src, width: row.width, height: row.height,
    }));
    return svg;
  }

  caption(index, item) {
    const row = this.gallery.rows[index];
    const score = row.scores[item];
    return score ? `${row.label}: ${row.metric} ${score}` : row.label;
  }

  figure(index, item) {
    return make("figure", {}, this.picture(index, item),
      make("figcaption", {}, this.caption(index, item)));
  }

  show() {
    const { rows, ids } = this.gallery;
    const place = Number(this.item.value);
    const item = this.items[place];
    if (!ids.length) {
      this.where.textContent = "No item that all rows hold.";
      this.stage.replaceChildren();
      return;
    }
    this.where.textContent = `Item ${ids[item]}, ${place + 1} of ${ids.length}`;
    this.item.setAttribute("aria-valuetext", `item ${ids[item]}`);
    const figures = rows.map((row, index) => index).filter((index) => rows[index].end)
      .map((index) => this.figure(index, item));
    this.upper = null;
    if (this.arms.length) {
      const left = this.arms[Number(this.left.value)];
      const right = this.arms[Number(this.right.value)];
      if (rows[left].texts || rows[right].texts) {
        figures.push(this.figure(left, item), this.figure(right, item));
      } else {
        figures.push(this.compared(left, right, item));
      }
    }
    this.stage.replaceChildren(...figures);
    this.cut();
  }

  compared(left, right, item) {
    this.upper = this.picture(left, item);
    this.edge = make("div", { class: "edge" });
    const box = make("div", { class: "wipe" }, this.picture(right, item), this.upper, this.edge);
    const move = (event) => {
      const { left: start, width } = box.getBoundingClientRect();
      this.wipe.value = (100 * (event.clientX - start)) / width;
      this.cut();
    };
    box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); move(event); });
    box.addEventListener("pointermove", (event) => { if (event.buttons) move(event); });
    this.wipe.setAttribute("aria-label",
      `Edge between ${this.gallery.rows[left].label} and ${this.gallery.rows[right].label}`);
    return make("figure", { class: "compared" }, box, this.wipe, make("figcaption", {},
      `Left: ${this.caption(left, item)}`, make("br"), `Right: ${this.caption(right, item)}`));
  }

  cut() {
    if (!this.upper) return;
    const part = Number(this.wipe.value);
    this.upper.style.clipPath = `inset(0 ${100 - part}% 0 0)`;
    this.edge.style.left = `${part}%`;
    this.wipe.setAttribute("aria-valuetext", `${part} % of the left arm`);
  }
}

const galleries = data("gallery");
if (galleries.some((one) => one.rows.length)) new Viewer(byId("viewer"), galleries);
