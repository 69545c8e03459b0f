// Python code that blocked an event loop, the newest first, each with its stack.

import { h } from "./elements.js";

export class Holds {
  #list = h("div", {});
  #shown = "";

  constructor() {
    this.element = h("section", { hidden: true }, h("h2", {}, "Python code that blocked the event loop"), this.#list);
  }

  draw(holds) {
    const shown = JSON.stringify(holds);
    if (shown === this.#shown) return; // what is open stays open
    this.#shown = shown;
    this.element.hidden = holds.length === 0;
    this.#list.replaceChildren(...holds.map((one) => {
      const time = new Date(one.at * 1000).toISOString().slice(0, 19).replace("T", " ");
      const request = one.request_id ? `, request ${one.request_id}` : "";
      return h("details", {},
        h("summary", {}, `${time}: ${one.held_ms} ms at ${one.where} (worker ${one.worker}${request})`),
        h("pre", { tabindex: "0", "aria-label": "Stack" }, one.stack));
    }));
  }
}
