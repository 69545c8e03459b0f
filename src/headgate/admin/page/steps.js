// How the time of many requests divides into the steps of a request: bars of their sums.

import { h, s, Table } from "./elements.js";
import { duration } from "./texts.js";
import { NAMES as STEPS, steps } from "./waterfall.js";

const NAMES = { ...STEPS, hook: "in hooks" };

/** The sums of these requests by kind of step: `{kind: {count, us}}`. */
export function summed(requests) {
  const sums = Object.fromEntries(Object.keys(NAMES).map((kind) => [kind, { count: 0, us: 0 }]));
  for (const { kind, took } of requests.flatMap(steps)) {
    sums[kind].count += 1;
    sums[kind].us += took;
  }
  return sums;
}

export class Steps {
  #table = new Table("Time by step", ["Step", "<Share", "requests' steps", "mean", "in all"]);
  #bars = Object.fromEntries(Object.keys(NAMES).map((kind) => [kind, { part: s("rect", { class: kind, height: 10, width: 0 }), text: h("span") }]));

  constructor() {
    this.element = h("section", { hidden: true }, h("h2", {}, "Time by step, of the requests above"), this.#table.element);
  }

  /** Draws the sums of these requests. */
  draw(requests) {
    this.element.hidden = requests.length === 0;
    const sums = summed(requests), whole = Object.values(sums).reduce((sum, { us }) => sum + us, 0);
    for (const [kind, { us }] of Object.entries(sums)) {
      const part = whole ? (100 * us) / whole : 0;
      this.#bars[kind].part.setAttribute("width", String(part));
      this.#bars[kind].text.textContent = `${part.toFixed(1)} %`;
    }
    this.#table.draw(Object.entries(sums).map(([kind, { count, us }]) => [kind, [NAMES[kind], () => this.#bar(kind), String(count), count ? duration(us / count / 1e6) : "-", duration(us / 1e6)]]));
  }

  #bar(kind) {
    const { part, text } = this.#bars[kind];
    return h("span", {}, s("svg", { class: "steps few", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { class: "ground", width: 100, height: 10 }), part), text);
  }
}
