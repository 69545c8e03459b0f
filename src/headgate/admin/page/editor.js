// One resource as JSON: tried in every worker, compared with what is there, applied, deleted.

import { ask } from "./api.js";
import { drawn, patch, text } from "./differences.js";
import { h } from "./elements.js";
import { help } from "./help.js";

const MASK = "**********";

export class Editor {
  #name = h("input", { id: "name", autocomplete: "off" });
  #title = h("h2", {}, "");
  #text = h("textarea", { id: "document", spellcheck: "false", "aria-label": "Resource as JSON", on: { input: () => this.#changed() } });
  #told = h("p", { class: "told", role: "status", id: "outcome" });
  #differences = h("div");
  #help = h("div");
  #nameLabel = h("label", {}, "Name", this.#name);
  #validate = button("Validate", () => this.#try());
  #compare = button("Show differences", () => this.#compared());
  #apply = button("Apply", () => this.#applied(), "first");
  #delete = button("Delete", () => this.#deleted());
  #kind = "";
  #before = null;
  #etag = null;

  constructor(applied, closed) {
    this.told = applied;
    const bar = h("div", { class: "bar" }, this.#validate, this.#compare, this.#apply, this.#delete, button("Close", closed));
    this.element = h("section", { class: "editor", hidden: true }, this.#title, h("div", { class: "bar" }, this.#nameLabel), this.#text, this.#told, bar, this.#differences, this.#help);
  }

  create(kind) {
    this.#show(kind, "", null, null);
    this.#text.value = "{}";
    this.#name.focus();
  }

  async open(kind, name, caller) {
    try {
      const { document, etag } = await ask("GET", path(kind, name));
      this.#show(kind, name, document, etag);
      this.#may(caller?.role !== "read");
    } catch (error) {
      this.#show(kind, name, null, null);
      this.#tell(error.told ?? String(error), "bad");
    }
  }

  close() {
    this.element.hidden = true;
  }

  #show(kind, name, document, etag) {
    Object.assign(this, { isSure: false });
    if (kind !== this.#kind) this.#help.replaceChildren(help(kind));
    [this.#kind, this.#before, this.#etag] = [kind, document, etag];
    this.#title.textContent = document === null ? `New: ${kind}` : `${kind}/${name}`;
    this.#name.value = name;
    this.#nameLabel.hidden = document !== null;
    this.#delete.hidden = document === null;
    this.#delete.textContent = "Delete";
    this.#text.value = text(document);
    this.#differences.replaceChildren();
    this.#tell("", "");
    this.#may(true);
    this.element.hidden = false;
  }

  #may(change) {
    for (const one of [this.#validate, this.#apply, this.#delete]) one.disabled = !change;
    this.#text.readOnly = !change;
  }

  #changed() {
    this.#differences.replaceChildren();
    this.#tell("", "");
  }

  #tell(text, colour) {
    this.#told.textContent = text;
    this.#told.className = `told ${colour}`;
  }

  /** The document that the user has written; tells what is wrong with it, and gives undefined. */
  #written() {
    try {
      return JSON.parse(this.#text.value);
    } catch (error) {
      this.#tell(`This is not JSON: ${error.message}`, "bad");
      return undefined;
    }
  }

  /** Sends what was written. Masked secrets stay as they are: then only what differs is sent. */
  #send(document, query) {
    const target = path(this.#kind, this.#name.value.trim()) + query;
    if (this.#before === null) return ask("PUT", target, document, { "If-None-Match": "*" });
    if (!this.#text.value.includes(MASK)) return ask("PUT", target, document, { "If-Match": this.#etag });
    return ask("PATCH", target, patch(this.#before, document) ?? {}, { "If-Match": this.#etag, "Content-Type": "application/merge-patch+json" });
  }

  async #try() {
    const document = this.#written();
    if (document === undefined || !this.#isNamed()) return;
    try {
      await this.#send(document, "?dry_run=true");
      const changed = { op: "put", kind: this.#kind, name: this.#name.value.trim(), resource: document };
      const hasMask = this.#text.value.includes(MASK);
      const found = hasMask ? [] : (await ask("POST", "/v1/validate", { operations: [changed] })).document.warnings;
      const warnings = found.map(({ message, hint }) => `\nwarning: ${message}${hint ? ` (hint: ${hint})` : ""}`);
      this.#tell(`Valid: every worker can serve it.${warnings.join("")}`, warnings.length ? "warn" : "good");
    } catch (error) {
      this.#tell(error.told ?? String(error), "bad");
    }
  }

  #compared() {
    const document = this.#written();
    if (document !== undefined) this.#differences.replaceChildren(drawn(this.#before, document));
  }

  async #applied() {
    const document = this.#written();
    if (document === undefined || !this.#isNamed()) return;
    try {
      const { document: after, etag } = await this.#send(document, "");
      this.#show(this.#kind, this.#name.value.trim(), after, etag);
      this.#tell("In force in every worker.", "good");
      this.told();
    } catch (error) {
      const hint = error.status === 412 ? "\nSomebody has changed it meanwhile: copy your text, close it, and open it again." : "";
      this.#tell(`${error.told ?? error}${hint}`, "bad");
    }
  }

  async #deleted() {
    if (!this.isSure) {
      this.isSure = true;
      this.#delete.textContent = "Delete it now";
      return this.#tell("Press again to delete it.", "warn");
    }
    try {
      const name = this.#name.value.trim();
      await ask("DELETE", path(this.#kind, name), undefined, { "If-Match": this.#etag });
      this.#show(this.#kind, name, null, null);
      this.#tell("It is deleted.", "good");
      return this.told();
    } catch (error) {
      return this.#tell(error.told ?? String(error), "bad");
    }
  }

  #isNamed() {
    const isNamed = this.#name.value.trim() !== "";
    if (!isNamed) this.#tell("A resource has a name.", "bad");
    return isNamed;
  }
}

function path(kind, name) {
  return `/v1/${kind}/${encodeURIComponent(name)}`;
}

function button(title, click, name) {
  return h("button", { type: "button", class: name, on: { click } }, title);
}
