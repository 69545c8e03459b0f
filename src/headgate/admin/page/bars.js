// How much time the hooks of each phase, hook and plugin take: bars of seconds a second, since the look before.

import { h, s, Table } from "./elements.js";
import { amount, duration } from "./texts.js";

const MOST_ROWS = 30;
const BY = { hook: "hook", phase: "phase", plugin: "plugin" };

export class Bars {
  #by = h("select", { id: "bars-by", on: { change: () => this.#show() } }, Object.keys(BY).map((name) => h("option", {}, name)));
  #table = new Table("Time in hooks", ["Name", "<Share of a core's time", "calls/s", "mean", "in all"]);
  #bars = new Map();
  #before = null;
  #now = null;

  constructor(title) {
    this.element = h("section", { hidden: true }, h("h2", {}, title), h("div", { class: "bar" }, h("label", {}, "Time by", this.#by)), this.#table.element);
  }

  /** Takes the sums of hooks at a time. */
  draw(hooks, at) {
    if (!this.#now || at > this.#now.at) {
      this.#before = this.#now;
      this.#now = { hooks, at };
    }
    this.element.hidden = hooks.length === 0;
    this.#show();
  }

  #show() {
    if (!this.#now) return;
    const by = this.#by.value, elapsed = this.#before ? this.#now.at - this.#before.at : 0;
    const now = summed(this.#now.hooks, by), before = summed(this.#before?.hooks ?? [], by);
    const rows = [...now].map(([name, one]) => {
      const old = before.get(name) ?? { calls: 0, seconds: 0 };
      const calls = Math.max(one.calls - old.calls, 0), seconds = Math.max(one.seconds - old.seconds, 0);
      return { name, calls: elapsed ? calls / elapsed : null, share: elapsed ? seconds / elapsed : 0, mean: one.calls ? one.seconds / one.calls : null, whole: one.seconds };
    });
    rows.sort((one, other) => other.share - one.share || other.whole - one.whole);
    const shown = rows.slice(0, MOST_ROWS), highest = Math.max(...shown.map(({ share }) => share), 1e-9);
    this.#table.draw(shown.map((one) => [`${by} ${one.name}`, [one.name, () => this.#bar(`${by} ${one.name}`), amount(one.calls), duration(one.mean), duration(one.whole)]]));
    for (const { name, share } of shown) {
      const { part, text } = this.#bars.get(`${by} ${name}`);
      part.setAttribute("width", String((100 * share) / highest));
      text.textContent = `${(100 * share).toFixed(1)} %`;
    }
  }

  #bar(key) {
    const part = s("rect", { class: "part", width: 0, height: 10 }), text = h("span", {});
    this.#bars.set(key, { part, text });
    return h("span", {}, s("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { class: "whole", width: 100, height: 10 }), part), text);
  }
}

function summed(hooks, by) {
  const sums = new Map();
  for (const one of hooks) {
    const name = by === "hook" ? `${one.phase} ${one.hook}` : one[BY[by]];
    if (!name) continue;
    const sum = sums.get(name) ?? { calls: 0, seconds: 0 };
    sums.set(name, { calls: sum.calls + one.calls, seconds: sum.seconds + one.seconds });
  }
  return sums;
}
