// Requests to the Admin API, with the token that the user has entered. It is kept for this tab only.

const KEPT = "headgate-token";

/** What the API has refused; `status` is 0 where nobody has responded. */
export class Refused extends Error {
  constructor(status, document) {
    super(document.detail ?? document.title ?? `status ${status}`);
    this.status = status;
    this.hint = document.hint;
    this.errors = document.errors ?? [];
  }

  /** All that is said, for the user. */
  get told() {
    const lines = [this.message, ...(this.hint ? [`hint: ${this.hint}`] : [])];
    for (const { message, hint } of this.errors) {
      if (message !== this.message) lines.push(`${message}${hint ? ` (hint: ${hint})` : ""}`);
    }
    return lines.join("\n");
  }
}

export function enter(token) {
  sessionStorage.setItem(KEPT, token);
}

export function forget() {
  sessionStorage.removeItem(KEPT);
}

export function hasToken() {
  return sessionStorage.getItem(KEPT) !== null;
}

/** `{document, etag}` of a response; throws `Refused`. */
export async function ask(method, path, body, headers = {}) {
  const token = sessionStorage.getItem(KEPT);
  const sent = { ...headers };
  if (token) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] ??= "application/json";
  let response, text;
  try {
    response = await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store", credentials: "omit", redirect: "error" });
    text = await response.text();
  } catch {
    throw new Refused(0, { detail: "the gateway does not respond" });
  }
  let document = {};
  try {
    if (text) document = JSON.parse(text);
  } catch {
    throw new Refused(response.status, { detail: "the response is not JSON" });
  }
  if (!response.ok) throw new Refused(response.status, document);
  return { document, etag: response.headers.get("etag") };
}

export async function get(path) {
  return (await ask("GET", path)).document;
}
