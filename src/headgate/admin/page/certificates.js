// Certificates of the listeners, the one that ends first on top.

import { h, Table } from "./elements.js";

const DAY_S = 86400;

export class CertificatesView {
  #table = new Table("Certificates", ["Name", "<Listener", "<Expires", "left"]);
  #none = h("p", { class: "faint told" });

  constructor() {
    this.element = [h("section", {}, h("h2", {}, "Certificates"), this.#table.element, this.#none)];
  }

  take({ certificates }) {
    const now = Date.now() / 1000;
    const sorted = certificates.toSorted((one, other) => one.expires_at - other.expires_at);
    this.#table.draw(sorted.map(({ name, listener, expires_at: end }) => {
      const days = Math.floor((end - now) / DAY_S);
      const colour = days < 7 ? "bad" : days < 30 ? "warn" : "good";
      return [`${listener} ${name}`, [name, listener, new Date(end * 1000).toISOString().slice(0, 16).replace("T", " "), { text: end < now ? "expired" : `${days} days`, class: colour }]];
    }));
    this.#none.textContent = certificates.length ? "" : "No certificate is known yet. They are looked at while there is traffic, and counted with `metrics: true`.";
  }
}
