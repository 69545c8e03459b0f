// The page: which view is shown, how the gateway is, and whether the user must enter a token.

import { enter, forget, get, hasToken, Refused } from "./api.js";
import { BreakpointsView } from "./breakpoints.js";
import { CertificatesView } from "./certificates.js";
import { ConfigurationView } from "./configuration.js";
import { ConsumersView } from "./consumers.js";
import { h } from "./elements.js";
import { HistoryView } from "./history.js";
import { LiveView } from "./live.js";
import { ProfileView } from "./profile.js";
import { RequestsView } from "./requests.js";
import { ResourcesView } from "./resources.js";
import { Samples } from "./samples.js";
import { TesterView } from "./tester.js";
import { age } from "./texts.js";

const INTERVAL_MS = 2000;
const VIEWS = { live: "Live", requests: "Requests", resources: "Resources", history: "History", configuration: "Configuration", certificates: "Certificates", consumers: "Consumers", tester: "Route test", profile: "Profile", breakpoints: "Breakpoints" };

const main = document.getElementById("view"), state = document.getElementById("state"), nav = document.getElementById("views");
let views = null, shown = null, timer = null, isAsking = false;

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

function show() {
  if (!views) return;
  const [name, rest] = place();
  const links = Object.entries(VIEWS).map(([key, title]) => h("a", { href: `#/${key}`, "aria-current": key === name ? "page" : undefined }, title));
  const out = h("button", { type: "button", hidden: !hasToken(), on: { click: signOut } }, "Sign out");
  nav.replaceChildren(...links, out);
  document.title = `${VIEWS[name]} - headgate`;
  const view = views[name];
  if (view !== shown) {
    shown?.leave?.();
    main.replaceChildren(...view.element);
  }
  shown = view;
  view.open?.(rest);
}

function signOut() {
  forget();
  signIn("");
}

function signIn(told) {
  shown?.leave?.();
  views = shown = null;
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
    take(await get("/v1/live"));
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
  views.live.samples.add(look);
  views.live.take(look);
  views.certificates.take(look);
  views.resources.caller = look.caller;
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
  views = {
    live: new LiveView(new Samples()), requests: new RequestsView(), resources: new ResourcesView(), history: new HistoryView(),
    configuration: new ConfigurationView(), certificates: new CertificatesView(), consumers: new ConsumersView(), tester: new TesterView(), profile: new ProfileView(), breakpoints: new BreakpointsView(),
  };
  take(look);
  show();
  timer = setTimeout(follow, INTERVAL_MS);
}

addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => views && follow());
begin();
