// What a resource may say: the keys of its kind, from the schema of the Admin API.

import { get } from "./api.js";
import { h } from "./elements.js";

const JSON_TYPE = "application/json", DEPTH = 3;
let asked = null;

/** A list of the keys of a kind, which is asked for when it is opened. */
export function help(kind) {
  const place = h("div");
  const open = async () => {
    if (!details.open || place.hasChildNodes()) return;
    try {
      asked ??= get("/openapi.json");
      place.append(keys(await asked, kind));
    } catch (error) {
      asked = null;
      place.replaceChildren(h("p", { class: "bad told" }, error.told ?? String(error)));
    }
  };
  const details = h("details", { on: { toggle: open } }, h("summary", {}, `Keys of ${kind}`), place);
  return details;
}

function keys(api, kind) {
  const schema = resolved(api, api.paths[`/v1/${kind}/{name}`].put.requestBody.content[JSON_TYPE].schema);
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([key, value]) => h("tr", {},
    h("th", { scope: "row" }, key), h("td", { class: "left" }, `${type(api, value)}${required.has(key) ? ", required" : ""}`), h("td", { class: "left wide" }, value.description ?? "")));
  const head = h("thead", {}, h("tr", {}, ["Key", "Type", "Meaning"].map((title) => h("th", { scope: "col", class: "left" }, title))));
  return h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Keys of ${kind}` }, h("table", {}, head, h("tbody", {}, rows)));
}

function resolved(api, schema) {
  const name = schema.$ref?.split("/").at(-1);
  return name && Object.hasOwn(api.components.schemas, name) ? api.components.schemas[name] : schema;
}

function type(api, schema, depth = DEPTH) {
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices && depth) return [...new Set(choices.map((one) => type(api, one, depth - 1)))].join(" | ");
  if (schema.$ref && depth) return type(api, resolved(api, schema), depth - 1);
  if (schema.type === "array" && schema.items && depth) return `list of ${type(api, schema.items, depth - 1)}`;
  return Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type ?? "object";
}
