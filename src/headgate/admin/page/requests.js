// Requests as they end, the newest on top, and where one request's time went. Asked for while this view is shown.

import { get } from "./api.js";
import { h, Table } from "./elements.js";
import { Steps } from "./steps.js";
import { duration } from "./texts.js";
import { waterfall } from "./waterfall.js";

const INTERVAL_MS = 1000;
export const MOST_KEPT = 500;

export class RequestsView {
  #filter = h("input", { type: "search", id: "wanted", autocomplete: "off", on: { input: () => this.#draw() } });
  #status = h("select", { id: "status", on: { change: () => this.#draw() } }, ["all", "2xx", "3xx", "4xx", "5xx"].map((name) => h("option", {}, name)));
  #pause = h("button", { type: "button", "aria-pressed": "false", on: { click: () => this.#paused() } }, "Pause");
  #table = new Table("Requests", ["Time", "<Method", "<Host", "<Target", "status", "<Route", "<Server", "<Error", "took"], { isLong: true });
  #told = h("p", { class: "told faint", role: "status" });
  #details = h("section", { hidden: true, class: "details", "aria-label": "Details of the request" });
  #steps = new Steps();
  #kept = [];
  #opener = null;
  #newest = 0;
  #isPaused = false;
  #timer = null;

  constructor() {
    const bar = h("div", { class: "bar" }, h("label", {}, "Filter", this.#filter), h("label", {}, "Status", this.#status), this.#pause);
    this.element = [h("section", {}, h("h2", {}, "Requests"), bar, this.#told, this.#table.element), this.#details, this.#steps.element];
  }

  open() {
    this.leave();
    return this.#follow();
  }

  leave() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #follow() {
    const timer = (this.#timer = setTimeout(() => this.#follow(), INTERVAL_MS));
    if (document.hidden || this.#isPaused) return;
    try {
      const { newest, lost, requests } = await get(`/v1/requests?after=${this.#newest}`);
      this.#newest = newest;
      this.#kept = [...requests.toReversed(), ...this.#kept].slice(0, MOST_KEPT);
      this.#told.textContent = this.#note(lost);
      if (this.#timer === timer) this.#draw();
    } catch (error) {
      this.#told.textContent = error.told ?? String(error);
    }
  }

  #note(lost) {
    if (lost) return `${lost} requests were too many to be shown.`;
    if (this.#kept.length === MOST_KEPT) return `The newest ${MOST_KEPT} are kept.`;
    return this.#kept.length ? "" : "Waiting for requests.";
  }

  #paused() {
    this.#isPaused = !this.#isPaused;
    this.#pause.setAttribute("aria-pressed", String(this.#isPaused));
  }

  #isWanted(one) {
    const wanted = this.#filter.value.trim().toLowerCase(), status = this.#status.value;
    if (status !== "all" && String(one.status)[0] !== status[0]) return false;
    return !wanted || [one.method, one.host, one.target, one.route, one.server, one.client, one.error, one.request_id].some((value) => String(value ?? "").toLowerCase().includes(wanted));
  }

  #draw() {
    const found = this.#kept.filter((one) => this.#isWanted(one));
    this.#table.draw(found.map((one) => {
      const button = () => h("button", { type: "button", class: "plain", on: { click: (event) => this.#show(one, event.currentTarget) } }, String(one.time).slice(11, 23));
      const colour = { 2: "good", 3: "note", 4: "warn", 5: "bad" }[String(one.status)[0]] ?? "";
      return [one, [button, shown(one.method), shown(one.host), shown(one.target), { text: shown(one.status), class: colour }, shown(one.route), shown(one.server), shown(one.error), took(one.total_us)]];
    }));
    this.#steps.draw(found);
  }

  /** Shows one, which stays when its row has left the table. */
  #show(one, opener) {
    this.#opener?.removeAttribute("aria-current");
    this.#opener = opener;
    opener.setAttribute("aria-current", "true");
    const rows = Object.entries(one).filter(([, value]) => value !== null && value !== "").map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "left" }, typeof value === "object" ? JSON.stringify(value) : String(value))));
    const close = h("button", { type: "button", on: { click: () => this.#close() } }, "Close");
    this.#details.replaceChildren(h("h2", {}, `${shown(one.method)} ${shown(one.target)}`), waterfall(one), h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Fields" }, h("table", {}, h("tbody", {}, rows))), close);
    this.#details.hidden = false;
    // the row that was chosen and its details, both in sight
    this.#table.element.scrollIntoView({ block: "start" });
    opener.scrollIntoView({ block: "nearest" });
  }

  #close() {
    this.#details.hidden = true;
    this.#opener.removeAttribute("aria-current");
    this.#opener.focus();
  }
}

function shown(value) {
  return value === null || value === undefined ? "" : String(value);
}

function took(microseconds) {
  return typeof microseconds === "number" ? duration(microseconds / 1e6) : "-";
}
