// What happened between two looks at `/v1/live`, and the samples of the last minutes. What is kept is bounded, however
// long the page is open and however many routes there are.

export const MOST_SAMPLES = 300;
export const MOST_KEPT = 200;
const CLASSES = ["2xx", "3xx", "4xx", "5xx"];

/** The bound under which this share of the calls stayed: seconds, Infinity for the last bucket, null without calls. */
export function quantile(calls, share) {
  const total = calls.reduce((sum, [, count]) => sum + count, 0);
  let counted = 0;
  for (const [bound, count] of calls) {
    counted += count;
    if (total > 0 && counted >= share * total) return bound;
  }
  return null;
}

/** The calls by bound, in order, that came to a histogram; `now` and `before` are pairs of place and count. */
function since(now, bounds, before, boundsBefore) {
  const old = new Map((before ?? []).map(([place, count]) => [boundsBefore[place], count]));
  return now.map(([place, count]) => [bounds[place] ?? Infinity, count - (old.get(bounds[place]) ?? 0)]).filter(([, count]) => count > 0);
}

function merged(lists) {
  const sums = new Map();
  for (const [bound, count] of lists.flat()) sums.set(bound, (sums.get(bound) ?? 0) + count);
  return [...sums].sort(([one], [other]) => one - other);
}

function sample(calls, classes, elapsed, requests) {
  const per = (count) => Math.max(count ?? 0, 0) / elapsed;
  return {
    rate: per(requests),
    ...Object.fromEntries(CLASSES.map((name) => [name, per(classes[name])])),
    p50: quantile(calls, 0.5), p90: quantile(calls, 0.9), p99: quantile(calls, 0.99),
  };
}

/** Follows looks; `latest` has the newest sample of every key, `kept` the last ones of those with traffic. */
export class Samples {
  kept = new Map();
  latest = new Map();
  /** The key whose samples are shown: it is kept without traffic too. */
  pinned = "all";
  #before = null;

  /** Takes a look; gives whether there was one before, to compare it with. */
  add(look) {
    const before = this.#before;
    this.#before = look;
    const elapsed = before ? look.at_s - before.at_s : 0;
    if (elapsed <= 0) return this.latest.size > 0;
    this.latest = new Map();
    this.#routes(look, before, elapsed);
    this.#servers(look, before, elapsed);
    this.#keep(look.at_s);
    return true;
  }

  #routes(look, before, elapsed) {
    const all = [], sums = {};
    for (const [name, route] of Object.entries(look.routes)) {
      const old = Object.hasOwn(before.routes, name) ? before.routes[name] : { classes: {} };
      const classes = {};
      for (const [status, count] of Object.entries(route.classes)) {
        classes[status] = Math.max(count - (old.classes[status] ?? 0), 0);
        sums[status] = (sums[status] ?? 0) + classes[status];
      }
      const calls = since(route.buckets, look.bounds, old.buckets, before.bounds);
      all.push(calls);
      this.latest.set(`route ${name}`, sample(calls, classes, elapsed, Object.values(classes).reduce((sum, one) => sum + one, 0)));
    }
    this.latest.set("all", sample(merged(all), sums, elapsed, look.totals.requests - before.totals.requests));
  }

  #servers(look, before, elapsed) {
    const old = new Map(before.servers.map((one) => [`${one.upstream} ${one.server}`, one]));
    const upstreams = new Map();
    for (const one of look.servers) {
      const key = `${one.upstream} ${one.server}`;
      const calls = since(one.buckets, look.bounds, old.get(key)?.buckets, before.bounds);
      const failed = Math.max(one.failures - (old.get(key)?.failures ?? 0), 0) / elapsed;
      const taken = { ...sample(calls, {}, elapsed, calls.reduce((sum, [, count]) => sum + count, 0)), failed };
      this.latest.set(`server ${key}`, taken);
      const group = upstreams.get(one.upstream) ?? { calls: [], failed: 0 };
      group.calls.push(calls);
      group.failed += failed;
      upstreams.set(one.upstream, group);
    }
    for (const [name, { calls, failed }] of upstreams) {
      const together = merged(calls);
      this.latest.set(`upstream ${name}`, { ...sample(together, {}, elapsed, together.reduce((sum, [, count]) => sum + count, 0)), failed });
    }
  }

  #keep(at) {
    for (const [key, taken] of this.latest) {
      if (key.startsWith("server ")) continue;
      let samples = this.kept.get(key);
      if (taken.rate > 0 || this.#stays(key)) {
        this.kept.delete(key); // those with traffic go to the end
        this.kept.set(key, (samples ??= []));
      }
      if (samples) samples.push({ at, ...taken });
    }
    for (const [key, samples] of this.kept) {
      if (samples.length > MOST_SAMPLES) samples.splice(0, samples.length - MOST_SAMPLES);
      const isIdle = !this.latest.has(key) || !samples.some(({ rate }) => rate > 0);
      if (!this.#stays(key) && (isIdle || this.kept.size > MOST_KEPT)) this.kept.delete(key);
    }
  }

  #stays(key) {
    return key === "all" || key === this.pinned;
  }
}
