// Who changed what and when; each revision can be looked at, and be made what is there again.

import { ask, get } from "./api.js";
import { drawn } from "./differences.js";
import { h } from "./elements.js";

const PAGE = 50;

export class HistoryView {
  #list = h("div", { class: "revisions" });
  #told = h("p", { class: "told", role: "status" });
  #more = h("button", { type: "button", hidden: true, on: { click: () => this.#load(this.#last) } }, "Show older ones");
  #last = null;

  constructor() {
    this.element = [h("section", {}, h("h2", {}, "History"), this.#told, this.#list, this.#more)];
  }

  open() {
    this.#list.replaceChildren();
    return this.#load(null);
  }

  async #load(before) {
    try {
      const { entries } = await get(`/v1/history?limit=${PAGE}${before ? `&before=${before}` : ""}`);
      this.#list.append(...entries.map((entry) => this.#entry(entry)));
      this.#last = entries.at(-1)?.revision ?? before;
      this.#more.hidden = entries.length < PAGE;
      if (!entries.length && !before) this.#tell("Nothing was changed yet.", "faint");
    } catch (error) {
      this.#tell(error.told ?? String(error), "bad");
    }
  }

  #tell(text, colour = "good") {
    this.#told.textContent = text;
    this.#told.className = `told ${colour}`;
  }

  #entry({ revision, at, author, note, edits }) {
    const parts = h("div");
    const names = edits.slice(0, 5).map(({ kind, name }) => `${kind}/${name}`).join(", ") + (edits.length > 5 ? `, ${edits.length - 5} more` : "");
    const head = `Revision ${revision}: ${names || "nothing"} by ${author || "unknown"}, ${at.slice(0, 19).replace("T", " ")}${note ? ` (${note})` : ""}`;
    const details = h("details", { "data-revision": revision, on: { toggle: () => details.open && !parts.hasChildNodes() && parts.append(...this.#edits(revision, edits)) } }, h("summary", {}, head), parts);
    return details;
  }

  #edits(revision, edits) {
    const shown = edits.slice(0, 50).flatMap((one) => [h("h3", {}, `${one.kind}/${one.name}${one.secrets_differ ? " (secrets differ)" : ""}`), drawn(one.before, one.after)]);
    const place = h("div");
    const preview = () => this.#preview(revision, place);
    return [...shown, h("button", { type: "button", on: { click: preview } }, `Roll back to revision ${revision}`), place];
  }

  /** What a rollback would change, tried in every worker, and the button that does it. */
  async #preview(revision, place) {
    try {
      const { from, edits } = await get(`/v1/diff?from=${revision}`);
      if (!edits.length) return this.#tell(`Revision ${from} is what is there.`, "faint");
      await ask("POST", "/v1/rollback?dry_run=true", { revision });
      const roll = h("button", { type: "button", class: "first", on: { click: () => this.#rollBack(revision) } }, `Apply: make it as it was at revision ${revision}`);
      place.replaceChildren(...edits.slice(0, 50).flatMap((one) => [h("h3", {}, `${one.kind}/${one.name}`), drawn(one.after, one.before)]), roll);
      return this.#tell(`${edits.length} resources would change.`, "note");
    } catch (error) {
      return this.#tell(error.told ?? String(error), "bad");
    }
  }

  async #rollBack(revision) {
    try {
      const { document } = await ask("POST", "/v1/rollback", { revision });
      await this.open();
      this.#tell(`In force, as revision ${document.revision}.`);
    } catch (error) {
      this.#tell(error.told ?? String(error), "bad");
    }
  }
}
