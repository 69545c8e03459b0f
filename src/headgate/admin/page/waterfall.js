// Where one request's time went, as the network tab of a browser shows it: each step from its begin to its end.
//
// How it works: the line of a request has when each step and hook began and how long it took, as the worker has measured
// it, in microseconds since the head was complete. What was before that has a begin below 0: the axis begins with it, but
// no longer before the head than the request took, since a client may be silent for long after it has connected.

import { h, s } from "./elements.js";
import { duration } from "./texts.js";

export const NAMES = { accept: "accepting", read: "reading the head", queue: "in the queue", connect: "connecting", head: "until the head", body: "body" };
const COLUMNS = ["Step", "begins", "took", "Waterfall"];

/** The steps of a request in the order of their begins: `{name, kind, begin, end, took}`, in microseconds since its head was complete. */
export function steps(one) {
  const step = ({ step, attempt, begin_us, us }) => {
    const name = `${NAMES[step] ?? step}${one.attempts > 1 && attempt > 0 ? `, attempt ${attempt}` : ""}`;
    return { name, kind: step in NAMES ? step : "body", begin: number(begin_us), end: number(begin_us) + number(us), took: number(us) };
  };
  const hook = ({ phase, hook, begin_us, end_us, us }) => ({ name: `${phase} ${hook}`, kind: "hook", begin: number(begin_us), end: number(end_us), took: number(us) });
  return [...(one.steps ?? []).map(step), ...(one.hooks ?? []).map(hook)].sort((left, right) => left.begin - right.begin);
}

/** The steps as a table with bars, the whole in its last row. */
export function waterfall(one) {
  const total = number(one.total_us), found = steps(one);
  const from = Math.max(Math.min(0, ...found.map(({ begin }) => begin)), -total), whole = Math.max(total - from, 1);
  const rows = [...found, { name: "in all, from the complete head", kind: "whole", begin: 0, end: total, took: total }];
  const cells = ({ name, kind, begin, end, took }) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, shown(begin)), h("td", {}, shown(took)), h("td", { class: "left" }, bar(kind, share(begin), share(end))));
  const share = (moment) => Math.min(Math.max((moment - from) / whole, 0), 1);
  const head = h("tr", {}, COLUMNS.map((title, place) => h("th", { scope: "col", class: place === 3 ? "left" : undefined }, title)));
  const table = h("table", { class: "waterfall" }, h("thead", {}, head), h("tbody", {}, rows.map(cells)));
  return h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Timeline" }, table);
}

function bar(kind, begin, end) {
  const width = Math.max(100 * (end - begin), 0.5);
  return s("svg", { class: "steps", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "ground", width: 100, height: 10 }), s("rect", { class: kind, x: Math.min(100 * begin, 100 - width), width, height: 10 }));
}

function shown(microseconds) {
  return `${microseconds < 0 ? "-" : ""}${duration(Math.abs(microseconds) / 1e6)}`;
}

function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}
