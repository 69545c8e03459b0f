// What is in force: the file and the resources together, as JSON.

import { get } from "./api.js";
import { h } from "./elements.js";

const LONGEST = 300_000;

export class ConfigurationView {
  #part = h("select", { id: "part", on: { change: () => this.#draw() } });
  #text = h("pre", { tabindex: "0", "aria-label": "Configuration in force" });
  #told = h("p", { class: "bad told", role: "alert" });
  #whole = {};

  constructor() {
    this.element = [h("section", {}, h("h2", {}, "Configuration in force"), h("div", { class: "bar" }, h("label", {}, "Part", this.#part)), this.#told, this.#text)];
  }

  async open() {
    try {
      this.#whole = await get("/v1/config");
    } catch (error) {
      this.#told.textContent = error.told ?? String(error);
      return;
    }
    this.#told.textContent = "";
    const chosen = this.#part.value;
    this.#part.replaceChildren(...["everything", ...Object.keys(this.#whole)].map((name) => h("option", {}, name)));
    if (chosen && Object.hasOwn(this.#whole, chosen)) this.#part.value = chosen;
    this.#draw();
  }

  #draw() {
    const value = Object.hasOwn(this.#whole, this.#part.value) ? this.#whole[this.#part.value] : this.#whole;
    const text = JSON.stringify(value, null, 2);
    this.#text.textContent = text.length > LONGEST ? `${text.slice(0, LONGEST)}\n... (${text.length - LONGEST} more characters)` : text;
  }
}
