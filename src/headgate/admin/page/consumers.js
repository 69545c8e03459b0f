// Who uses the gateway: the consumers in force, of the file and of the store, by their groups and kinds of credentials.

import { get } from "./api.js";
import { h, Table } from "./elements.js";

const MOST_ROWS = 200;
const CREDENTIALS = ["keys", "basic", "jwt", "hmac", "certificates"];

export class ConsumersView {
  #filter = h("input", { type: "search", id: "consumers-wanted", autocomplete: "off", on: { input: () => this.#draw() } });
  #table = new Table("Consumers", ["Name", "<Groups", "<Credentials", "<Labels", "<Plugin sets"]);
  #told = h("p", { class: "told", role: "status" });
  #all = [];

  constructor() {
    this.element = [h("section", {}, h("h2", {}, "Consumers"), h("div", { class: "bar" }, h("label", {}, "Filter consumers", this.#filter)), this.#told, this.#table.element)];
  }

  async open() {
    try {
      const { consumers = {}, consumer_groups: groups = {} } = await get("/v1/config");
      this.#all = Object.entries(consumers).map(([name, one]) => row(name, one, groups));
      this.#draw();
    } catch (error) {
      this.#told.textContent = error.told ?? String(error);
    }
  }

  #draw() {
    const wanted = this.#filter.value.trim().toLowerCase();
    const found = this.#all.filter((cells) => cells.some((cell) => cell.toLowerCase().includes(wanted)));
    this.#table.draw(found.slice(0, MOST_ROWS).map((cells) => [cells[0], cells]));
    const more = found.length > MOST_ROWS ? ` The first ${MOST_ROWS} are shown.` : "";
    this.#told.textContent = this.#all.length ? `${found.length} of ${this.#all.length} consumers.${more}` : "There are no consumers.";
  }
}

function row(name, one, groups) {
  const sets = [...(one.plugin_sets ?? []), ...one.groups.flatMap((group) => groups[group]?.plugin_sets ?? [])];
  const credentials = CREDENTIALS.filter((kind) => one[kind]?.length).map((kind) => `${kind}: ${one[kind].length}`);
  const labels = Object.entries(one.labels ?? {}).map(([label, value]) => `${label}=${value}`);
  return [name, one.groups.join(", "), credentials.join(", "), labels.join(", "), [...new Set(sets)].join(", ")];
}
