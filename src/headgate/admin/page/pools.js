// The pool of connections of each upstream, added up over its servers, and the queues of those whose workers fetch requests.

import { h, Table } from "./elements.js";
import { amount, duration } from "./texts.js";

const MOST_ROWS = 50;

export class Pools {
  #pools = new Table("Pools", ["Upstream", "servers", "in rotation", "requests now", "idle connections"]);
  #queues = new Table("Pull queues", ["Upstream", "waiting", "running", "workers", "mean wait"]);
  #inQueues = h("section", { hidden: true }, h("h2", {}, "Pull queues"), this.#queues.element);

  constructor() {
    this.element = h("div", { class: "plots" }, h("section", {}, h("h2", {}, "Pools"), this.#pools.element), this.#inQueues);
  }

  /** Draws a look; `isWanted` says which upstreams are shown. */
  draw({ servers, pulls }, isWanted) {
    const pools = [...summed(servers)].filter(([name]) => isWanted(name)).sort(([, one], [, other]) => other.active - one.active || other.idle - one.idle);
    this.#pools.draw(pools.slice(0, MOST_ROWS).map(([name, { known, up, active, idle }]) => [name, [name, amount(known), { text: amount(up), class: up ? "" : "bad" }, amount(active), amount(idle)]]));
    this.#inQueues.hidden = pulls.length === 0;
    const queues = pulls.filter(({ upstream }) => isWanted(upstream)).sort((one, other) => other.waiting - one.waiting);
    this.#queues.draw(queues.slice(0, MOST_ROWS).map((one) => [one.upstream, [one.upstream, amount(one.waiting), amount(one.running), { text: amount(one.workers), class: one.workers ? "" : "bad" }, one.waits ? duration(one.waited_s / one.waits) : "-"]]));
  }
}

/** The servers of each upstream added up. */
function summed(servers) {
  const sums = new Map();
  for (const { upstream, server, is_up: isUp, active, idle } of servers) {
    if (!server) continue; // the circuit of the upstream
    const sum = sums.get(upstream) ?? { known: 0, up: 0, active: 0, idle: 0 };
    sums.set(upstream, { known: sum.known + 1, up: sum.up + (isUp ? 1 : 0), active: sum.active + active, idle: sum.idle + idle });
  }
  return sums;
}
