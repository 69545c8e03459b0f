// Which route in force takes a request, and why not the others.

import { ask } from "./api.js";
import { h, Table } from "./elements.js";

const COLOURS = { takes: "good", later: "note", function: "warn" };

export class TesterView {
  #method = h("input", { id: "tested-method", value: "GET", size: 8, required: true, autocomplete: "off", spellcheck: "false" });
  #url = h("input", { id: "tested-url", type: "url", value: "https://example.com/", size: 24, required: true, autocomplete: "off" });
  #headers = h("textarea", { id: "tested-headers", class: "few", spellcheck: "false", placeholder: "x-version: 2" });
  #told = h("p", { class: "told", role: "status" });
  #table = new Table("Verdicts", ["Route", "<Verdict"]);

  constructor() {
    const submit = (event) => {
      event.preventDefault();
      this.#test();
    };
    const form = h("form", { on: { submit } },
      h("div", { class: "bar" }, h("label", {}, "Method", this.#method), h("label", {}, "URL", this.#url), h("button", { class: "first" }, "Test")),
      h("details", {}, h("summary", {}, "Header fields"), h("label", {}, "One a line, name: value", this.#headers)));
    const note = h("p", { class: "faint told" }, "The verdicts are those of the router, in the order of choice. Hooks and functions of routes do not run.");
    this.element = [h("section", {}, h("h2", {}, "Which route takes a request"), form, note, this.#told, this.#table.element)];
  }

  async #test() {
    const lines = this.#headers.value.split("\n").filter((line) => line.includes(":"));
    const headers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()]));
    try {
      const { document: found } = await ask("POST", "/v1/routes/-/test", { method: this.#method.value.trim(), url: this.#url.value.trim(), headers });
      this.#told.className = found.status ? "told bad" : "told good";
      this.#told.textContent = summary(found);
      this.#table.draw(found.verdicts.map(({ route, kind, reason }) => [route, [route, { text: reason, class: COLOURS[kind] ?? "faint" }]]));
    } catch (error) {
      this.#told.className = "told bad";
      this.#told.textContent = error.told ?? String(error);
      this.#table.draw([]);
    }
  }
}

function summary({ status, route, path }) {
  if (path === null) return "The request gets 400: its path is not valid.";
  if (route !== null) return `${route} takes ${path}`;
  return status ? `The request gets ${status}.` : "A function decides.";
}
