// Profiles of the workers' Python code, and the steps of the next requests that match.

import { ask, get } from "./api.js";
import { h, Table } from "./elements.js";
import { flames } from "./flames.js";
import { duration } from "./texts.js";
import { waterfall } from "./waterfall.js";

const INTERVAL_MS = 500;

export class ProfileView {
  #seconds = h("input", { id: "profile-seconds", type: "number", min: 1, max: 60, value: 10, required: true });
  #take = h("button", { class: "first" }, "Take a profile");
  #told = h("p", { class: "told", role: "status" });
  #hooks = new Table("Time by hook", ["Hook", "<Phase", "time", "share"]);
  #files = h("p", { class: "told" });
  #picture = h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Flame graph of the profile" });
  #urls = [];
  #wanted = h("input", { id: "trace-wanted", type: "search", autocomplete: "off" });
  #slow = h("input", { id: "trace-slow", type: "number", min: 0, value: 0 });
  #count = h("input", { id: "trace-count", type: "number", min: 1, max: 20, value: 3 });
  #trace = h("button", { class: "first" }, "Trace the next requests");
  #waiting = h("p", { class: "told", role: "status" });
  #traced = h("div", {});
  #timer = null;

  constructor() {
    const of = (call) => ({ submit: (event) => { event.preventDefault(); call(); } });
    const profile = h("form", { class: "bar", on: of(() => this.#profile()) }, h("label", {}, "Seconds", this.#seconds), this.#take);
    const trace = h("form", { class: "bar", on: of(() => this.#begin()) },
      h("label", {}, "Target, route or client has", this.#wanted), h("label", {}, "At least milliseconds", this.#slow), h("label", {}, "How many", this.#count), this.#trace);
    this.element = [
      h("section", {}, h("h2", {}, "Profile"), h("p", { class: "faint told" }, "Samples the Python stacks of all workers, by phase and hook. Requests are served meanwhile."), profile, this.#told, this.#hooks.element, this.#files, this.#picture),
      h("section", {}, h("h2", {}, "Trace"), trace, this.#waiting, this.#traced),
    ];
  }

  leave() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#trace.disabled = false;
  }

  async #profile() {
    const seconds = Number(this.#seconds.value);
    this.#take.disabled = true;
    tell(this.#told, `Sampling for ${seconds} s.`, "");
    try {
      this.#show((await ask("POST", "/v1/profile", { seconds })).document);
    } catch (error) {
      tell(this.#told, error.told ?? String(error), "bad");
    } finally {
      this.#take.disabled = false;
    }
  }

  #show(taken) {
    const whole = taken.seconds * taken.workers, { engine_s: engine, idle_s: idle } = taken.profile;
    tell(this.#told, `${taken.profile.samples} samples of ${taken.workers} workers: ${share(engine, whole)} in the engine, ${share(idle, whole)} idle.${taken.missing ? ` ${taken.missing} workers did not respond in time.` : ""}`, "");
    this.#hooks.draw(taken.hooks.map(({ phase, hook, seconds }) => [`${phase} ${hook}`, [hook, phase, duration(seconds), share(seconds, whole)]]));
    for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
    this.#files.replaceChildren(this.#link("profile.svg", taken.svg, "image/svg+xml"), " ", this.#link("profile.speedscope.json", JSON.stringify(taken.speedscope), "application/json"));
    this.#picture.replaceChildren(flames(taken.profile));
  }

  #link(name, text, type) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    this.#urls.push(url);
    return h("a", { href: url, download: name }, `Save ${name}`);
  }

  async #begin() {
    this.leave();
    this.#traced.replaceChildren();
    this.#trace.disabled = true;
    tell(this.#waiting, "Waiting for requests.", "");
    try {
      const { newest } = await get("/v1/requests");
      this.#next(newest, Number(this.#count.value));
    } catch (error) {
      this.#trace.disabled = false;
      tell(this.#waiting, error.told ?? String(error), "bad");
    }
  }

  #next(after, left) {
    this.#timer = setTimeout(async () => {
      try {
        const { newest, requests } = await get(`/v1/requests?after=${after}`);
        if (this.#timer === null) return;
        const found = requests.filter((one) => this.#fits(one)).slice(0, left);
        this.#traced.append(...found.map(traced));
        if (found.length < left) return this.#next(newest, left - found.length);
        tell(this.#waiting, "", "");
      } catch (error) {
        tell(this.#waiting, error.told ?? String(error), "bad");
      }
      this.leave();
    }, INTERVAL_MS);
  }

  #fits(one) {
    const wanted = this.#wanted.value.trim().toLowerCase();
    const isSlow = (one.total_us ?? 0) >= 1000 * Number(this.#slow.value);
    return isSlow && (!wanted || [one.target, one.route, one.client, one.request_id].some((value) => String(value ?? "").toLowerCase().includes(wanted)));
  }
}

function traced(one) {
  return h("div", { class: "traced" }, h("h3", {}, `${one.method ?? ""} ${one.target ?? ""} ${one.status ?? ""}`), waterfall(one));
}

function share(seconds, whole) {
  return `${((100 * seconds) / Math.max(whole, 1e-9)).toFixed(1)} %`;
}

function tell(element, text, colour) {
  element.className = `told ${colour}`.trim();
  element.textContent = text;
}
