// The live view: what happens now, of the whole gateway, or of the route or upstream that is chosen.

import { Bars } from "./bars.js";
import { h, Table } from "./elements.js";
import { Holds } from "./holds.js";
import { Plot, share } from "./plots.js";
import { Pools } from "./pools.js";
import { amount, duration, mebibytes } from "./texts.js";

const MOST_ROWS = 50;

export class LiveView {
  title = "Live";
  #chosen = h("h2", {}, "Whole gateway");
  #back = h("button", { type: "button", hidden: true, on: { click: () => this.#choose("all", "Whole gateway") } }, "Show the whole gateway");
  #filter = h("input", { type: "search", id: "filter", autocomplete: "off", on: { input: () => this.draw() } });
  #tiles = {};
  #more = h("p", { class: "faint told" });
  #hint = h("p", { class: "warn told", role: "note" });
  #shares = new Map();
  #rates = new Plot("Requests per second", [
    { name: "2xx", class: "good", key: "2xx" }, { name: "3xx", class: "note", key: "3xx" },
    { name: "4xx", class: "warn", key: "4xx" }, { name: "5xx", class: "bad", key: "5xx" },
  ], amount);
  #total = new Plot("Requests per second", [{ name: "requests", class: "note", key: "rate" }, { name: "failed", class: "bad", key: "failed" }], amount);
  #times = new Plot("Latency", [{ name: "p50", class: "good", key: "p50" }, { name: "p90", class: "note", key: "p90" }, { name: "p99", class: "bad", key: "p99" }], duration);
  #routes = new Table("Routes", ["Route", "req/s", "2xx", "3xx", "4xx", "5xx", "p50", "p90", "p99"]);
  #upstreams = new Table("Upstreams", ["Upstream", "req/s", "failed/s", "p50", "p90", "p99"]);
  #pools = new Pools();
  #servers = new Table("Servers", ["Server", "<Upstream", "<Health", "<Share", "req/s", "failed/s", "active", "idle", "weight", "p50", "p99"]);
  #workers = new Table("Workers", ["Worker", "<State", "connections", "memory", "CPU seconds"]);
  #hooks = new Bars("Time in hooks");
  #holds = new Holds();
  #failures = new Table("Failures", ["Kind", "in all"]);

  constructor(samples) {
    this.samples = samples;
    this.look = null;
    const tiles = { rate: "requests/s", active: "in flight", queued: "in queues", connections: "connections", errors: "5xx share", p50: "median", p99: "99th percentile" };
    const list = h("dl", { class: "tiles" }, Object.entries(tiles).map(([key, title]) => h("div", {}, h("dt", {}, title), (this.#tiles[key] = h("dd", { "data-tile": key }, "-")))));
    this.#total.element.hidden = true;
    this.element = [
      this.#hint, list,
      h("div", { class: "bar" }, this.#chosen, this.#back),
      h("div", { class: "plots" }, this.#rates.element, this.#total.element, this.#times.element),
      h("section", {}, h("h2", {}, "Routes"), h("div", { class: "bar" }, h("label", {}, "Filter routes and servers", this.#filter)), this.#routes.element, this.#more),
      h("section", {}, h("h2", {}, "Upstreams"), this.#upstreams.element),
      h("section", {}, h("h2", {}, "Servers"), this.#servers.element),
      this.#pools.element, this.#hooks.element, this.#holds.element,
      h("div", { class: "plots" },
        h("section", {}, h("h2", {}, "Workers"), this.#workers.element),
        h("section", {}, h("h2", {}, "Failures"), this.#failures.element)),
    ];
  }

  /** Takes a look that is in the samples already. */
  take(look) {
    this.look = look;
    this.draw();
  }

  #choose(key, title) {
    this.samples.pinned = key;
    this.#chosen.textContent = title;
    this.#back.hidden = key === "all";
    this.draw();
  }

  draw() {
    const look = this.look;
    if (!look) return;
    this.#hint.textContent = look.is_counted ? "" : "No requests are counted by route yet. hint: `metrics: true` in the configuration counts them.";
    this.#drawTiles(look);
    const key = this.samples.pinned, kept = this.samples.kept.get(key) ?? [];
    const isUpstream = key.startsWith("upstream ") || !look.is_counted;
    this.#rates.element.hidden = isUpstream;
    this.#total.element.hidden = !isUpstream;
    (isUpstream ? this.#total : this.#rates).draw(kept);
    this.#times.draw(kept);
    this.#drawRoutes(look);
    this.#drawUpstreams();
    this.#drawServers(look);
    this.#pools.draw(look, (...names) => this.#isWanted(...names));
    this.#hooks.draw(look.hooks, look.at_s);
    this.#holds.draw(look.loop_holds);
    this.#workers.draw(look.workers.map((one) => [one.pid, [String(one.pid), one.state, amount(one.connections), mebibytes(one.rss_bytes), amount(one.cpu_s)]]));
    const failures = Object.entries(look.failures).sort(([, one], [, other]) => other - one).slice(0, MOST_ROWS);
    this.#failures.draw(failures.map(([kind, count]) => [kind, [kind, amount(count)]]));
  }

  #drawTiles(look) {
    const now = this.samples.latest.get("all");
    const shown = {
      rate: amount(now?.rate), active: amount(look.totals.active), queued: amount(look.totals.queued), connections: amount(look.totals.connections),
      errors: now?.rate ? `${(100 * now["5xx"] / now.rate).toFixed(1)} %` : "-", p50: duration(now?.p50), p99: duration(now?.p99),
    };
    for (const [key, text] of Object.entries(shown)) this.#tiles[key].textContent = text;
  }

  #isWanted(...names) {
    const wanted = this.#filter.value.trim().toLowerCase();
    return !wanted || names.some((name) => name.toLowerCase().includes(wanted));
  }

  #button(key, title, text) {
    return () => h("button", { type: "button", class: "plain", on: { click: () => this.#choose(key, title) } }, text);
  }

  #drawRoutes(look) {
    const counts = Object.entries(look.routes).map(([name, { classes }]) => [name, Object.values(classes).reduce((sum, one) => sum + one, 0)]);
    const wanted = counts.filter(([name]) => this.#isWanted(name));
    const rate = (name) => this.samples.latest.get(`route ${name}`)?.rate ?? 0;
    wanted.sort(([one, inAll], [other, otherInAll]) => rate(other) - rate(one) || otherInAll - inAll || (one < other ? -1 : 1));
    this.#routes.draw(wanted.slice(0, MOST_ROWS).map(([name]) => {
      const now = this.samples.latest.get(`route ${name}`) ?? {};
      const classes = [["2xx", "good"], ["3xx", "note"], ["4xx", "warn"], ["5xx", "bad"]].map(([key, colour]) => (now[key] ? { text: amount(now[key]), class: colour } : ""));
      const button = this.#button(`route ${name}`, name ? `Route ${name}` : "Requests without a route", name || "(no route)");
      return [name, [button, amount(now.rate), ...classes, duration(now.p50), duration(now.p90), duration(now.p99)]];
    }));
    this.#more.textContent = wanted.length > MOST_ROWS ? `The busiest ${MOST_ROWS} of ${wanted.length} routes are shown.` : "";
  }

  #drawUpstreams() {
    const found = [...this.samples.latest].filter(([key]) => key.startsWith("upstream ") && this.#isWanted(key.slice(9)));
    found.sort(([one, { rate }], [other, { rate: otherRate }]) => otherRate - rate || (one < other ? -1 : 1));
    this.#upstreams.draw(found.slice(0, MOST_ROWS).map(([key, now]) => {
      const name = key.slice(9);
      return [key, [this.#button(key, `Upstream ${name}`, name), amount(now.rate), failed(now), duration(now.p50), duration(now.p90), duration(now.p99)]];
    }));
  }

  #drawServers(look) {
    const latest = (one) => this.samples.latest.get(`server ${one.upstream} ${one.server}`) ?? { rate: 0 };
    const wanted = look.servers.filter((one) => this.#isWanted(one.upstream, one.server));
    wanted.sort((one, other) => latest(other).rate - latest(one).rate);
    const shares = new Map();
    this.#servers.draw(wanted.slice(0, MOST_ROWS).map((one) => {
      const key = `${one.upstream} ${one.server}`, now = latest(one);
      const group = this.samples.latest.get(`upstream ${one.upstream}`)?.rate ?? 0;
      const bar = this.#shares.get(key) ?? labelledShare();
      bar.draw(group ? now.rate / group : null);
      shares.set(key, bar);
      const cells = [one.server, one.upstream, health(one), () => bar.element, amount(now.rate), failed(now), amount(one.active), amount(one.idle), `${one.weight} %`, duration(now.p50), duration(now.p99)];
      return [key, cells];
    }));
    this.#shares = shares;
  }
}

function labelledShare() {
  const { drawing, draw } = share(), text = h("span");
  return {
    element: h("span", {}, drawing, text),
    draw(part) {
      draw(part ?? 0);
      text.textContent = part === null ? "-" : `${Math.round(100 * part)} %`;
    },
  };
}

function failed(now) {
  return now.failed ? { text: amount(now.failed), class: "bad" } : "";
}

function health({ state, is_up: isUp }) {
  if (state) return { text: state, class: state === "down" || state === "ejected" ? "bad" : "warn" };
  return isUp ? { text: "up", class: "good" } : { text: "not up", class: "bad" };
}
