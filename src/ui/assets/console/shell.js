// <keyswap-console>: the caller, the navigation and the current view.

import { button, fill, h } from "../widget/dom.js";
import { sheet } from "../widget/style.js";
import { address, parse } from "./address.js";
import { chartStyle } from "./chart_style.js";
import { PageView } from "./page_view.js";
import { idOf } from "./parts.js";
import { ADMIN } from "./permitted.js";
import { groups, routes } from "./routes.js";
import { Calls, Refused, plain, signOut } from "./session.js";
import { signInAgain, signInPage } from "./sign_in.js";
import { style } from "./style.js";
import { texts } from "./texts.js";

export class KeyswapConsole extends HTMLElement {
  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet, style, chartStyle];
    this.stage = h("div");
    this.dialogs = h("div");
    this.open = new Set();
    this.shadowRoot.append(this.stage, this.dialogs);
  }

  connectedCallback() {
    addEventListener("hashchange", (event) => this.go(event));
    // Another tab may have signed in with a different key in the meantime.
    document.addEventListener("visibilitychange", () => { if (this.navigation && !document.hidden) this.learn().then(() => this.drawNavigation(), () => undefined); });
    this.enter();
  }

  // Returns whether the caller holds one of the permissions.
  may(...permissions) {
    return [ADMIN, ...permissions].some((permission) => this.who?.permissions.includes(permission));
  }

  calls(signal) { return new Calls(() => this.again(), signal); }

  // Opens one dialog, however many calls find that the session has ended. A different key may have
  // other permissions.
  again() {
    this.asking ??= signInAgain(this).then(async (signedIn) => {
      this.asking = undefined;
      // If the browser did not store the session, the user is not asked again.
      return signedIn && this.learn().then(() => this.drawNavigation() ?? true, () => false);
    });
    return this.asking;
  }

  async learn() { this.who = await plain().call("GET", "caller"); }

  // `fresh` is set directly after a sign-in.
  async enter(fresh) {
    try {
      await this.learn();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.forbidden) return this.drawGate(texts.signIn.nothing);
      return error.signedOut ? this.drawGate(fresh && texts.signIn.noCookie) : this.drawAway(error);
    }
    this.draw();
    this.go();
  }

  drawGate(why) {
    this.page?.leave();
    this.page = this.navigation = undefined;
    document.title = texts.titled(texts.signIn.title);
    const gate = signInPage(() => this.enter(true));
    fill(this.stage, gate.element);
    gate.focus(why);
  }

  drawAway(error) {
    const text = error.away ? texts.unreachable : error.message || texts.failed;
    fill(this.stage, h("main", { class: "gate" }, h("div", { class: "sign-in", role: "alert" }, h("h1", {}, texts.brand), h("p", {}, text), button(texts.again, () => this.enter()))));
  }

  draw() {
    this.navigation = h("nav", { "aria-label": texts.navigation, id: "navigation" });
    const toggle = button(texts.menu, () => this.unfold(!this.navigation.classList.contains("open")), { class: "menu", "aria-controls": "navigation", "aria-expanded": "false" });
    this.toggle = toggle;
    this.place = h("div", { class: "place" });
    const skip = button(texts.skip, () => this.page.element.focus(), { class: "skip" });
    const side = h("header", { class: "side" }, h("div", { class: "head" }, h("span", { class: "brand" }, texts.brand), toggle), this.navigation);
    this.drawNavigation();
    fill(this.stage, skip, h("div", { class: "frame" }, side, this.place));
  }

  unfold(open) {
    this.navigation.classList.toggle("open", open);
    this.toggle.setAttribute("aria-expanded", String(open));
  }

  drawNavigation() {
    if (!this.navigation) return;
    const link = (name) => h("li", {}, h("a", { href: address(name), "data-view": name }, texts.views[name]));
    const parts = groups.map(([group, names]) => {
      const seen = names.filter((name) => this.may(...routes[name].needs));
      return seen.length > 0 && [group && h("h2", {}, texts.groups[group]), h("ul", {}, seen.map(link))];
    });
    const { type, id } = this.who.actor;
    const me = h("div", { class: "me" }, h("small", {}, texts.signedInWith), h("code", {}, id ? idOf(id) : type), button(texts.signOut, () => this.out()));
    fill(this.navigation, parts, me);
    this.mark();
  }

  mark() {
    for (const link of this.navigation.querySelectorAll("a")) {
      if (link.dataset.view === this.page?.name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  async out() {
    try {
      await signOut();
    } catch (error) {
      if (!error.signedOut) return this.page.failed(error);
    }
    this.who = undefined;
    this.drawGate();
  }

  first() { return groups.flatMap(([, names]) => names).find((name) => this.may(...routes[name].needs)); }

  go(event) {
    if (!this.navigation) return;
    // A dialog may contain input, or a value that is shown once. Navigation does not close it.
    if (event && (this.page?.open.size || this.open.size)) return history.replaceState(null, "", event.oldURL);
    const { name, id, query } = parse(location.hash);
    const known = Object.hasOwn(routes, name) && (id === undefined || routes[name].one) ? name : undefined;
    if (!known) return location.replace(address(this.first() ?? "overview"));
    this.moved = Boolean(event) && Boolean(this.page);
    this.page?.leave();
    const view = id === undefined ? routes[known].show : routes[known].one;
    this.page = new PageView(this, { view, name: known, id, query });
    fill(this.place, this.page.element);
    this.unfold(false);
    this.mark();
    scrollTo(0, 0);
    this.page.show();
  }
}
