// Resources of the store by kind: searched, a page at a time, and opened in the editor.

import { get } from "./api.js";
import { Editor } from "./editor.js";
import { h, Table } from "./elements.js";

const KINDS = ["routes", "upstreams", "plugins", "plugin-sets", "consumers", "consumer-groups", "certificates"];
const PAGE = 50, LONGEST = 120;

export class ResourcesView {
  caller = null;
  #kind = h("select", { id: "kind", on: { change: () => { location.hash = `#/resources/${this.#kind.value}`; } } }, KINDS.map((kind) => h("option", {}, kind)));
  #search = h("input", { type: "search", id: "search", autocomplete: "off", on: { input: () => this.#list() } });
  #table = new Table("Resources", ["Name", "<Content", "revision"]);
  #told = h("p", { class: "told", role: "status" });
  #next = h("button", { type: "button", hidden: true, on: { click: () => this.#list(this.#after) } }, "Show more");
  #new = h("button", { type: "button", class: "first", on: { click: () => this.#editor.create(this.#kind.value) } }, "New resource");
  #editor = new Editor(() => this.#list(), () => { location.hash = `#/resources/${this.#kind.value}`; });
  #items = [];
  #after = null;
  #asked = 0;

  constructor() {
    this.element = [
      h("section", {}, h("h2", {}, "Resources"),
        h("div", { class: "bar" }, h("label", {}, "Kind", this.#kind), h("label", {}, "Search", this.#search), this.#new),
        this.#told, this.#table.element, this.#next),
      this.#editor.element,
    ];
  }

  open([kind = "routes", name]) {
    if (KINDS.includes(kind)) this.#kind.value = kind;
    this.#new.disabled = this.caller?.role === "read";
    if (name) this.#editor.open(this.#kind.value, name, this.caller);
    else this.#editor.close();
    return this.#list();
  }

  async #list(after = null) {
    const asked = ++this.#asked, kind = this.#kind.value;
    const query = new URLSearchParams({ limit: PAGE });
    if (this.#search.value.trim()) query.set("search", this.#search.value.trim());
    if (after) query.set("after", after);
    let page;
    try {
      page = await get(`/v1/${kind}?${query}`);
    } catch (error) {
      this.#told.textContent = error.told ?? String(error);
      return;
    }
    if (asked !== this.#asked) return; // a later question was asked meanwhile
    this.#items = after ? [...this.#items, ...page.items] : page.items;
    this.#after = page.next;
    this.#next.hidden = !page.next;
    this.#told.textContent = this.#items.length ? "" : `No ${kind} in the store fit. What the file defines is shown under Configuration.`;
    this.#table.draw(this.#items.map(({ name, revision, resource }) => {
      const text = JSON.stringify(resource);
      const link = () => h("a", { href: `#/resources/${kind}/${encodeURIComponent(name)}` }, name);
      return [`${kind}/${name}`, [link, { text: text.length > LONGEST ? `${text.slice(0, LONGEST)}...` : text, class: "faint" }, String(revision)]];
    }));
  }
}
