// The page: which view is shown, how the gateway is, and whether the user must enter a token.

import { enter, forget, get, hasToken, Refused } from "./api.js";
import { h } from "./elements.js";
import { LiveView } from "./live.js";
import { Samples } from "./samples.js";
import { age } from "./texts.js";

const INTERVAL_MS = 2000;
// each view by its name: its title, and the module that makes it, which is loaded when it is first shown; the live view is
// there from the start, since it keeps what happens while others are shown
const VIEWS = {
  live: ["Live"],
  requests: ["Requests", async () => new (await import("./requests.js")).RequestsView()],
  resources: ["Resources", async () => new (await import("./resources.js")).ResourcesView()],
  history: ["History", async () => new (await import("./history.js")).HistoryView()],
  configuration: ["Configuration", async () => new (await import("./configuration.js")).ConfigurationView()],
  certificates: ["Certificates", async () => new (await import("./certificates.js")).CertificatesView()],
  consumers: ["Consumers", async () => new (await import("./consumers.js")).ConsumersView()],
  tester: ["Route test", async () => new (await import("./tester.js")).TesterView()],
  profile: ["Profile", async () => new (await import("./profile.js")).ProfileView()],
  breakpoints: ["Breakpoints", async () => new (await import("./breakpoints.js")).BreakpointsView()],
};

const main = document.getElementById("view"), state = document.getElementById("state"), nav = document.getElementById("views");
let views = null, shown = null, newest = null, timer = null, isAsking = false;

function place() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  return Object.hasOwn(VIEWS, name) ? [name, rest] : ["live", []];
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function show() {
  if (!views) return;
  const [name, rest] = place(), wanted = location.hash, known = views;
  const links = Object.entries(VIEWS).map(([key, [title]]) => h("a", { href: `#/${key}`, "aria-current": key === name ? "page" : undefined }, title));
  const out = h("button", { type: "button", hidden: !hasToken(), on: { click: signOut } }, "Sign out");
  nav.replaceChildren(...links, out);
  document.title = `${VIEWS[name][0]} - headgate`;
  let view;
  try {
    view = await viewOf(name);
  } catch {
    return tell("the gateway does not respond", true);
  }
  // meanwhile the user may have gone on, or signed out
  if (views !== known || location.hash !== wanted) return;
  if (view !== shown) {
    shown?.leave?.();
    main.replaceChildren(...view.element);
  }
  shown = view;
  view.open?.(rest);
}

/** A view, made when it is first shown. */
async function viewOf(name) {
  const known = views;
  if (known.has(name)) return known.get(name);
  const made = await VIEWS[name][1]();
  if (known.has(name)) return known.get(name); // it was asked for twice
  known.set(name, made);
  if (newest) give(name, made);
  return made;
}

/** Gives a view what it needs of the newest look. */
function give(name, view) {
  if (name === "live") view.samples.add(newest);
  if (name === "resources") view.caller = newest.caller;
  view.take?.(newest);
}

function signOut() {
  forget();
  signIn("");
}

function signIn(told) {
  shown?.leave?.();
  views = shown = newest = null;
  clearTimeout(timer);
  nav.replaceChildren();
  tell("", false);
  const input = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
  const submit = (event) => {
    event.preventDefault();
    enter(input.value.trim());
    begin();
  };
  const form = h("form", { class: "panel login", on: { submit } },
    h("h2", {}, "Sign in"),
    h("label", { for: "token" }, "Token of the Admin API", input),
    h("p", { class: "bad told", role: "alert" }, told),
    h("button", { class: "first" }, "Sign in"));
  main.replaceChildren(form);
  input.focus();
}

function tell(text, isBad) {
  if (state.textContent !== text) state.textContent = text;
  state.className = isBad ? "bad" : "";
}

/** Asks for the numbers, now and again, while the page is seen. */
async function follow() {
  clearTimeout(timer);
  if (isAsking || document.hidden) return;
  isAsking = true;
  try {
    const look = await get(`/v1/live?after=${newest?.number ?? 0}`);
    if (look.number !== newest?.number) take(look);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) {
      forget();
      return signIn(error.message);
    }
    tell(error.message, true);
  } finally {
    isAsking = false;
    if (views) timer = setTimeout(follow, INTERVAL_MS);
  }
}

function take(look) {
  if (!views) return;
  newest = look;
  for (const [name, view] of views) give(name, view);
  tell(`${look.state}, generation ${look.generation}, up ${age(look.uptime_s)}`, look.state === "stopping");
}

/** Asks who this is, and shows the page to those who may see it. */
async function begin() {
  let look;
  try {
    look = await get("/v1/live");
  } catch (error) {
    const isUnknown = error.status === 401, hadToken = hasToken();
    if (isUnknown) forget();
    return signIn(isUnknown && !hadToken ? "" : error.message);
  }
  views = new Map([["live", new LiveView(new Samples())]]);
  take(look);
  await show();
  timer = setTimeout(follow, INTERVAL_MS);
}

addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => views && follow());
begin();
