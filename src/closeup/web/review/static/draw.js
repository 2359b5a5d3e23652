// Boxes on a photo: drag one, one of its corners, or elsewhere for a new one; or use the keys.
const SVG = "http://www.w3.org/2000/svg";
const GRIP = 16; // pixels on the screen
const SAME_OBJECT = 0.6; // as decisions/kinds.py

export function iou(one, other) {
  const across = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const down = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const both = Math.max(0, across) * Math.max(0, down);
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return both / (area(one) + area(other) - both) || 0;
}

export const apart = (box, others) => others.filter((other) => iou(box, other) <= SAME_OBJECT);

export class Editor {
  // `svg` has the photo's size as its view box, so everything is in the photo's pixels.
  constructor(svg, width, height, boxes, active) {
    Object.assign(this, { svg, width, height, boxes, active });
    this.adding = false;
    this.layer = document.createElementNS(SVG, "g");
    svg.append(this.layer);
    svg.classList.add("editing");
    this.stop = new AbortController();
    const listen = (name, what) => svg.addEventListener(name, what, { signal: this.stop.signal });
    listen("pointerdown", (event) => this.down(event));
    listen("pointermove", (event) => this.move(event));
    listen("pointerup", () => this.up());
    listen("pointercancel", () => this.up());
    this.paint();
  }

  end() {
    this.stop.abort();
    this.layer.remove();
    this.svg.classList.remove("editing");
  }

  scale() {
    return this.width / (this.svg.getBoundingClientRect().width || 1);
  }

  place(event) {
    const there = this.svg.getBoundingClientRect();
    return [
      Math.min(Math.max((event.clientX - there.left) / there.width, 0), 1) * this.width,
      Math.min(Math.max((event.clientY - there.top) / there.height, 0), 1) * this.height,
    ];
  }

  corner([x, y]) {
    const near = GRIP * this.scale();
    const [x1, y1, x2, y2] = this.boxes[this.active] ?? [NaN, NaN, NaN, NaN];
    const at = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
    return at.findIndex(([cx, cy]) => Math.abs(cx - x) < near && Math.abs(cy - y) < near);
  }

  down(event) {
    if (event.button || this.drag) return;
    event.preventDefault();
    document.activeElement?.blur(); // Enter then saves, whatever button was pressed before
    this.svg.setPointerCapture(event.pointerId);
    const at = this.place(event);
    const corner = this.adding ? -1 : this.corner(at);
    const inside = ([x1, y1, x2, y2]) => x1 <= at[0] && at[0] <= x2 && y1 <= at[1] && at[1] <= y2;
    const order = [this.active, ...this.boxes.keys()];
    const hit = this.adding ? undefined : order.find((n) => this.boxes[n] && inside(this.boxes[n]));
    if (corner >= 0) {
      const [x1, y1, x2, y2] = this.boxes[this.active];
      this.drag = { anchor: [[x2, y2], [x1, y2], [x1, y1], [x2, y1]][corner] };
    } else if (hit !== undefined) {
      this.active = hit;
      this.drag = { from: at, box: [...this.boxes[hit]] };
    } else {
      this.drag = { anchor: at, was: this.active };
      if (this.adding || !this.boxes[this.active]) this.active = this.boxes.length;
    }
    this.paint();
  }

  move(event) {
    if (!this.drag) return;
    const at = this.place(event);
    if (this.drag.from) {
      this.boxes[this.active] = this.drag.box;
      this.shift(at[0] - this.drag.from[0], at[1] - this.drag.from[1]);
      return;
    }
    const { anchor } = this.drag;
    const box = [Math.min(anchor[0], at[0]), Math.min(anchor[1], at[1]),
      Math.max(anchor[0], at[0]), Math.max(anchor[1], at[1])];
    const least = Math.max(1, 4 * this.scale());
    if (box[2] - box[0] >= least && box[3] - box[1] >= least) {
      this.boxes[this.active] = box;
      this.adding = false;
    }
    this.paint();
  }

  up() {
    if (!this.boxes[this.active]) this.active = this.drag?.was ?? -1; // pressed, but drew nothing
    this.drag = null;
    this.paint();
  }

  shift(x, y) {
    const [x1, y1, x2, y2] = this.boxes[this.active];
    const dx = Math.min(Math.max(x, -x1), this.width - x2);
    const dy = Math.min(Math.max(y, -y1), this.height - y2);
    this.boxes[this.active] = [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
    this.paint();
  }

  stretch(x, y) {
    const [x1, y1, x2, y2] = this.boxes[this.active];
    this.boxes[this.active] = [x1, y1, Math.min(Math.max(x2 + x, x1 + 1), this.width),
      Math.min(Math.max(y2 + y, y1 + 1), this.height)];
    this.paint();
  }

  // Another box: drawn next, or placed in the middle if keys are used.
  add(byKeys) {
    this.adding = !byKeys;
    if (byKeys) {
      const { width: w, height: h } = this;
      this.boxes.push([w * 0.3, h * 0.3, w * 0.7, h * 0.7]);
      this.active = this.boxes.length - 1;
    }
    this.paint();
  }

  remove() {
    if (this.active >= 0) this.boxes.splice(this.active, 1);
    this.active = this.boxes.length - 1;
    this.paint();
  }

  // Whether the key does something here.
  key(event) {
    const step = Math.max(1, Math.max(this.width, this.height) / (event.ctrlKey ? 1000 : 100));
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const way = ways[event.key];
    if (way && this.boxes[this.active]) {
      if (event.shiftKey) this.stretch(...way);
      else this.shift(...way);
    } else if (event.key === "+") this.add(true);
    else if (event.key === "Delete" || event.key === "Backspace") this.remove();
    else return Boolean(way);
    return true;
  }

  paint() {
    this.layer.replaceChildren();
    const shape = (name, attributes) => {
      const made = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      this.layer.append(made);
    };
    this.boxes.forEach(([x1, y1, x2, y2], place) => {
      const at = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
      shape("rect", { ...at, class: "under" });
      shape("rect", { ...at, class: place === this.active ? "box mine" : "box other" });
    });
    const [x1, y1, x2, y2] = this.boxes[this.active] ?? [];
    if (x1 === undefined) return;
    for (const [cx, cy] of [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) {
      shape("circle", { cx, cy, r: 6 * this.scale(), class: "grip" });
    }
  }
}
