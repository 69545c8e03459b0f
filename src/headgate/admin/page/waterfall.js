// Where one request's time went, as the network tab of a browser shows it: each step from its begin to its end.
//
// How it works: the line of a request has how long its steps took, and not when they began. Most follow each other in a
// known order, so each begins where the one before has ended: hooks that decide, the queue, connecting, the wait for the
// head, hooks of the response, the body. Hooks of bodies run while those go by. Time between two steps is not in the
// line; it goes to the rest, at the end. Of several attempts the sums are known only.

import { h, s } from "./elements.js";
import { duration } from "./texts.js";

const BEFORE = ["rewrite", "request", "balance"];
const AT_SERVER = ["upstream_request"];
const WITH_HEAD = ["request_body"];
const WITH_BODY = ["response_body", "websocket_message"];
const COLUMNS = ["Step", "begins", "took", "Waterfall"];

/** The steps of a request in their order: `{name, kind, begin, took}`, in microseconds since its head was complete. */
export function steps(one) {
  const total = number(one.total_us), found = [];
  let now = 0;
  const add = (name, kind, took, begin = now) => {
    const from = Math.min(begin, total), length = Math.min(took, total - from);
    if (length > 0) found.push({ name, kind, begin: from, took: length });
    return from + length;
  };
  const hooks = (isWanted) => (one.hooks ?? []).filter(({ phase }) => isWanted(phase));
  const inTurn = (list, begin = now) => list.reduce((end, { phase, hook, us }) => add(`${phase} ${hook}`, "hook", number(us), end), begin);
  const after = (phase) => ![...BEFORE, ...AT_SERVER, ...WITH_HEAD, ...WITH_BODY].includes(phase);
  now = inTurn(hooks((phase) => BEFORE.includes(phase)));
  now = add("in the queue", "queue", number(one.queue_us));
  now = inTurn(hooks((phase) => AT_SERVER.includes(phase)));
  now = add("connecting", "connect", number(one.connect_us));
  const head = add("until the head", "head", number(one.head_us));
  now = Math.max(head, inTurn(hooks((phase) => WITH_HEAD.includes(phase))));
  now = inTurn(hooks(after));
  add("body and the rest", "rest", total - now);
  inTurn(hooks((phase) => WITH_BODY.includes(phase)));
  return found;
}

/** The steps as a table with bars, the whole in its last row. */
export function waterfall(one) {
  const total = Math.max(number(one.total_us), 1);
  const rows = [...steps(one), { name: "in all", kind: "whole", begin: 0, took: number(one.total_us) }];
  const cells = ({ name, kind, begin, took }) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, shown(begin)), h("td", {}, shown(took)), h("td", { class: "left" }, bar(kind, begin / total, took / total)));
  const head = h("tr", {}, COLUMNS.map((title, place) => h("th", { scope: "col", class: place === 3 ? "left" : undefined }, title)));
  const told = one.attempts > 1 ? `${one.attempts} attempts: the times of each step are added up, and the waits for those that failed are in the rest.` : "";
  const table = h("table", { class: "waterfall" }, h("thead", {}, head), h("tbody", {}, rows.map(cells)));
  return h("div", {}, h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Timeline" }, table), h("p", { class: "told faint" }, told));
}

function bar(kind, begin, took) {
  const width = Math.max(100 * took, 0.5);
  return s("svg", { class: "steps", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "ground", width: 100, height: 10 }), s("rect", { class: kind, x: Math.min(100 * begin, 100 - width), width, height: 10 }));
}

function shown(microseconds) {
  return duration(microseconds / 1e6);
}

function number(value) {
  return typeof value === "number" && value > 0 ? value : 0;
}
