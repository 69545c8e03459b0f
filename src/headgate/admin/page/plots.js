// Lines over time, as SVG: a series is a name, a class that gives its colour, and the key of its samples.

import { h, s } from "./elements.js";

const WIDTH = 480, HEIGHT = 170, LEFT = 56, BOTTOM = 20, TOP = 8;

/** A plot of some series; `shown` makes the text of a value. */
export class Plot {
  #drawing = s("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });

  constructor(title, series, shown) {
    Object.assign(this, { title, series, shown });
    const legend = h("ul", { class: "legend" }, series.map(({ name, class: colour }) => h("li", { class: colour }, name)));
    this.element = h("section", {}, h("h2", {}, title), this.#drawing, legend);
  }

  /** Draws these samples, which are in the order of time. */
  draw(samples) {
    const finite = (value) => (value === null || value === undefined ? null : Math.min(value, 120));
    const highest = rounded(Math.max(0, ...samples.flatMap((one) => this.series.map(({ key }) => finite(one[key]) ?? 0))));
    const first = samples[0]?.at ?? 0, last = samples.at(-1)?.at ?? 0;
    const x = (at) => LEFT + ((at - first) / Math.max(last - first, 1)) * (WIDTH - LEFT - 6);
    const y = (value) => HEIGHT - BOTTOM - (value / highest) * (HEIGHT - BOTTOM - TOP);
    const drawn = [];
    for (const part of [0, 0.5, 1]) {
      const height = y(part * highest);
      drawn.push(s("line", { class: "grid", x1: LEFT, x2: WIDTH - 6, y1: height, y2: height }));
      drawn.push(s("text", { x: LEFT - 6, y: height + 4, "text-anchor": "end" }, this.shown(part * highest)));
    }
    if (samples.length > 1) {
      drawn.push(s("text", { x: LEFT, y: HEIGHT - 4 }, `${Math.round(last - first)} s ago`));
      drawn.push(s("text", { x: WIDTH - 6, y: HEIGHT - 4, "text-anchor": "end" }, "now"));
    }
    for (const { key, class: colour } of this.series) {
      drawn.push(s("path", { class: colour, d: line(samples.map((one) => [x(one.at), finite(one[key])]), y) }));
    }
    this.#drawing.replaceChildren(...drawn);
    const newest = samples.at(-1);
    const told = this.series.map(({ name, key }) => `${name} ${this.shown(newest?.[key] ?? null)}`);
    this.#drawing.setAttribute("aria-label", `${this.title}: ${told.join(", ")}`);
  }
}

function line(points, y) {
  let path = "", isOpen = false;
  for (const [at, value] of points) {
    if (value !== null) path += `${isOpen ? "L" : "M"}${at.toFixed(1)} ${y(value).toFixed(1)}`;
    isOpen = value !== null;
  }
  return path;
}

/** The next value that reads well: 1, 2 or 5 times a power of ten. */
function rounded(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value * 0.999) * power;
}

/** A part of a whole, as a bar. */
export function share(part) {
  const bar = s("rect", { class: "part", width: 0, height: 10 });
  const drawing = s("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { class: "whole", width: 100, height: 10 }), bar);
  return { drawing, draw: (value) => bar.setAttribute("width", Math.round(100 * value)) };
}
