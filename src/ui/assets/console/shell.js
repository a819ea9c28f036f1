// <keyswap-console>: the caller, the navigation and the current view.

/** @import { ViewName } from "./routes.js" */
import { ApiError, describeError } from "../widget/api.js";
import { guardClicks } from "../widget/click_guard.js";
import { button, fill, h } from "../widget/dom.js";
import { sheet } from "../widget/style.js";
import { formatAddress, parseAddress } from "./address.js";
import { chartStyle } from "./chart_style.js";
import { shortId } from "./elements.js";
import { PageView } from "./page_view.js";
import { ADMIN } from "./permission_names.js";
import { groups, routes } from "./routes.js";
import { ConsoleApi, signOut } from "./session.js";
import { signInAgain, signInPage } from "./sign_in.js";
import { style } from "./style.js";
import { texts } from "./texts.js";

export class KeyswapConsole extends HTMLElement {
  /** @type {Calls.Response<"GET caller"> | undefined} */
  caller;
  /** @type {PageView | undefined} */
  page;
  // Whether the current view was opened by navigation, not by loading the console.
  hasNavigated = false;
  dialogs = h("div");
  /** @type {Set<() => void>} */
  openDialogs = new Set();
  #root = this.attachShadow({ mode: "open" });
  #content = h("div");
  #view = h("div", { class: "view" });
  #menu = button(texts.menu, () => this.#toggleMenu(!this.#navigation?.classList.contains("open")), { class: "menu", "aria-controls": "navigation", "aria-expanded": "false" });
  // The navigation exists while the user is signed in.
  /** @type {HTMLElement | undefined} */
  #navigation;
  /** @type {Promise<boolean> | undefined} */
  #signingIn;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet, style, chartStyle];
    this.#root.append(this.#content, this.dialogs);
    guardClicks(this.#root);
  }

  connectedCallback() {
    addEventListener("hashchange", (event) => this.#navigate(event));
    // Another tab may have signed in with a different key in the meantime.
    document.addEventListener("visibilitychange", () => { if (this.#navigation && !document.hidden) this.#reloadCaller(); });
    this.#start();
  }

  // Returns whether the caller holds one of the permissions.
  /** @param {string[]} permissions */
  hasPermission(...permissions) {
    return [ADMIN, ...permissions].some((permission) => this.caller?.permissions.includes(permission));
  }

  /** @param {AbortSignal} [signal] */
  createApi(signal) { return new ConsoleApi(() => this.#signInAgain(), signal); }

  // Opens one dialog, however many calls find that the session has ended. A different key may have
  // other permissions. If the browser did not store the session, the user is not asked again.
  #signInAgain() {
    this.#signingIn ??= signInAgain(this).then((signedIn) => {
      this.#signingIn = undefined;
      return signedIn && this.#reloadCaller();
    });
    return this.#signingIn;
  }

  async #loadCaller() { this.caller = await new ConsoleApi().call("GET caller"); }

  // Returns whether there is a session.
  async #reloadCaller() {
    try {
      await this.#loadCaller();
    } catch {
      return false;
    }
    this.#drawNavigation();
    return true;
  }

  /** @param {boolean} [hasSignedIn] directly before */
  async #start(hasSignedIn) {
    try {
      await this.#loadCaller();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.isForbidden) return this.#drawSignIn(texts.signIn.noPermission);
      return error.isSignedOut ? this.#drawSignIn(hasSignedIn ? texts.signIn.noCookie : undefined) : this.#drawError(error);
    }
    this.#draw();
    this.#navigate();
  }

  /** @param {string} [fault] */
  #drawSignIn(fault) {
    this.page?.leave();
    this.page = this.#navigation = undefined;
    document.title = texts.documentTitle(texts.signIn.title);
    const page = signInPage(() => this.#start(true));
    fill(this.#content, page.element);
    page.focus(fault);
  }

  /** @param {ApiError} error */
  #drawError(error) {
    const retry = button(texts.retry, () => this.#start());
    fill(this.#content, h("main", { class: "sign-in-page" }, h("div", { class: "sign-in", role: "alert" }, h("h1", {}, texts.brand), h("p", {}, describeError(error, texts)), retry)));
  }

  #draw() {
    this.#navigation = h("nav", { "aria-label": texts.navigation, id: "navigation" });
    const skip = button(texts.skip, () => this.page?.element.focus(), { class: "skip" });
    const side = h("header", { class: "side" }, h("div", { class: "head" }, h("span", { class: "brand" }, texts.brand), this.#menu), this.#navigation);
    this.#drawNavigation();
    fill(this.#content, skip, h("div", { class: "frame" }, side, this.#view));
  }

  /** @param {boolean} open */
  #toggleMenu(open) {
    this.#navigation?.classList.toggle("open", open);
    this.#menu.setAttribute("aria-expanded", String(open));
  }

  /** @param {ViewName[]} views */
  #permitted(views) { return views.filter((view) => this.hasPermission(...routes[view].permissions)); }

  #drawNavigation() {
    if (!this.#navigation || !this.caller) return;
    const link = (/** @type {ViewName} */ name) => h("li", {}, h("a", { href: formatAddress(name), "data-view": name }, texts.views[name]));
    const parts = groups.map(({ title, views }) => {
      const permitted = this.#permitted(views);
      return permitted.length > 0 && [title && h("h2", {}, title), h("ul", {}, permitted.map(link))];
    });
    const { type, id } = this.caller.actor;
    const account = h("div", { class: "account" }, h("small", {}, texts.signedInWith), h("code", {}, id ? shortId(id) : type), button(texts.signOut, () => this.#signOut()));
    fill(this.#navigation, parts, account);
    this.#markCurrent();
  }

  #markCurrent() {
    for (const link of this.#navigation?.querySelectorAll("a") ?? []) {
      if (link.dataset.view === this.page?.name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  async #signOut() {
    try {
      await signOut();
    } catch (error) {
      if (!(error instanceof ApiError && error.isSignedOut)) return this.page?.reportError(error);
    }
    this.caller = undefined;
    this.#drawSignIn();
  }

  /** @param {HashChangeEvent} [event] */
  #navigate(event) {
    if (!this.#navigation) return;
    // A dialog may contain input, or a value that is shown once. Navigation does not close it.
    if (event && (this.page?.openDialogs.size || this.openDialogs.size)) return history.replaceState(null, "", event.oldURL);
    const { name, id, query } = parseAddress(location.hash);
    const route = Object.hasOwn(routes, name) ? routes[/** @type {ViewName} */ (name)] : undefined;
    const view = id === undefined ? route?.list : route?.detail;
    if (!view) return location.replace(formatAddress(this.#permitted(groups.flatMap(({ views }) => views))[0] ?? "overview"));
    this.hasNavigated = Boolean(event) && Boolean(this.page);
    this.page?.leave();
    this.page = new PageView(this, { view, name, id, query });
    fill(this.#view, this.page.element);
    this.#toggleMenu(false);
    this.#markCurrent();
    scrollTo(0, 0);
    this.page.show();
  }
}
