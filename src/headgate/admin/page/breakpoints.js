// Breakpoints: set at a line or a function of the running code, and what they have seen, hit by hit.

import { ask, get } from "./api.js";
import { h, Table } from "./elements.js";

const INTERVAL_MS = 1000;
const MOST_KEPT = 200;

export class BreakpointsView {
  #at = h("input", { id: "break-at", autocomplete: "off", required: true, maxlength: 1000, placeholder: "gate.py:12 or gate:function" });
  #condition = h("input", { id: "break-if", autocomplete: "off", maxlength: 1000, placeholder: "request.path == '/x'" });
  #show = h("input", { id: "break-show", autocomplete: "off", placeholder: "request.path; len(tokens)" });
  #count = h("input", { id: "break-count", type: "number", min: 1, max: 1000, value: 10, required: true });
  #seconds = h("input", { id: "break-seconds", type: "number", min: 1, max: 3600, value: 60, required: true });
  #told = h("p", { class: "told", role: "status" });
  #table = new Table("Breakpoints", ["Place", "<Condition", "hits", "<State", "<Look", "<End"]);
  #seen = h("section", { hidden: true, "aria-label": "What the breakpoint has seen" });
  #hits = h("div", {});
  #shown = null;
  #newest = 0;
  #timer = null;

  constructor() {
    const submit = (event) => { event.preventDefault(); this.#set(); };
    const form = h("form", { class: "bar", on: { submit } },
      h("label", {}, "Line or function", this.#at), h("label", {}, "Only if (Python)", this.#condition), h("label", {}, "Show, with ; between (all locals if empty)", this.#show),
      h("label", {}, "Hits", this.#count), h("label", {}, "Seconds at most", this.#seconds), h("button", { class: "first" }, "Set a breakpoint"));
    this.element = [
      h("section", {}, h("h2", {}, "Breakpoints"), h("p", { class: "faint told" }, "Requests are not stopped: each hit shows values and goes on. Expressions run in the workers."), form, this.#told, this.#table.element),
      this.#seen,
    ];
  }

  open() {
    this.leave();
    return this.#follow();
  }

  leave() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #set() {
    const show = this.#show.value.split(";").map((one) => one.trim()).filter(Boolean);
    const order = { at: this.#at.value.trim(), show, count: Number(this.#count.value), seconds: Number(this.#seconds.value) };
    if (this.#condition.value.trim()) order.condition = this.#condition.value.trim();
    this.#tell("Setting it.", "");
    try {
      const { document } = await ask("POST", "/v1/breakpoints", order);
      this.#tell(`Set at ${document.place}.`, "good");
      this.#look(document);
      await this.open();
    } catch (error) {
      this.#tell(error.told ?? String(error), "bad");
    }
  }

  async #remove(one) {
    try {
      await ask("DELETE", `/v1/breakpoints/${one.number}`);
      if (this.#shown === one.number) this.#close();
      await this.open();
    } catch (error) {
      this.#tell(error.told ?? String(error), "bad");
    }
  }

  async #follow() {
    const timer = (this.#timer = setTimeout(() => this.#follow(), INTERVAL_MS));
    if (document.hidden) return;
    try {
      const { breakpoints } = await get("/v1/breakpoints");
      if (this.#timer !== timer) return;
      this.#draw(breakpoints);
      if (breakpoints.some((one) => one.number === this.#shown && one.newest > this.#newest)) await this.#read();
    } catch (error) {
      this.leave();
      this.#tell(error.told ?? String(error), "bad");
    }
  }

  #draw(breakpoints) {
    this.#table.draw(breakpoints.map((one) => {
      const look = () => h("button", { type: "button", class: "plain", on: { click: () => this.#look(one) } }, `Show hits of ${one.number}`);
      const remove = () => h("button", { type: "button", on: { click: () => this.#remove(one) } }, `Remove ${one.number}`);
      const state = one.ended ? { text: `ended by ${one.ended}`, class: "faint" } : { text: "looking", class: "good" };
      return [one.number, [one.place || one.at, one.condition ?? "", String(one.newest), state, look, remove]];
    }));
  }

  #look(one) {
    this.#shown = one.number;
    this.#newest = 0;
    this.#hits.replaceChildren();
    const close = h("button", { type: "button", on: { click: () => this.#close() } }, "Close");
    this.#seen.replaceChildren(h("h2", {}, `Hits of ${one.number}, ${one.place || one.at}`), this.#hits, close);
    this.#seen.hidden = false;
    this.#read();
  }

  #close() {
    this.#shown = null;
    this.#seen.hidden = true;
  }

  async #read() {
    const number = this.#shown;
    const { newest, hits } = await get(`/v1/breakpoints/${number}?after=${this.#newest}`);
    if (this.#shown !== number) return;
    this.#newest = newest;
    this.#hits.prepend(...hits.toReversed().map(told));
    while (this.#hits.children.length > MOST_KEPT) this.#hits.lastElementChild.remove();
  }

  #tell(text, colour) {
    this.#told.className = `told ${colour}`.trim();
    this.#told.textContent = text;
  }
}

/** One hit: when, in which request, and the values. */
function told(hit) {
  if (hit.error) return h("p", { class: "told bad" }, hit.error);
  const request = hit.request ? ` ${hit.request.method} ${hit.request.target}` : "";
  const time = new Date(hit.time_unix * 1000).toISOString().slice(11, 23);
  const rows = Object.entries(hit.values).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "left" }, value)));
  const lost = hit.lost ? h("p", { class: "faint told" }, `${hit.lost} hits before it came too fast.`) : null;
  return h("div", { class: "traced" }, h("h3", {}, `${time}${request}`), lost,
    h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Values of hit ${hit.number}` }, h("table", {}, h("tbody", {}, rows))));
}
