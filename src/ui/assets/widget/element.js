// <keyswap-api-keys scope="organization" auth-token="…">: the keys component for a settings page of
// the product.

/** @import { Scope } from "./keys_view.js" */
import { Api } from "./api.js";
import { guardClicks } from "./click_guard.js";
import { KeysView } from "./keys_view.js";
import { sheet } from "./style.js";

/** @typedef {string | (() => string | Promise<string>) | null | undefined} TokenSource */

// The base URL. /v1 and /widget/ are directly below it.
/** @type {URL} */
let base;

export class KeyswapApiKeys extends HTMLElement {
  static observedAttributes = ["scope", "auth-token"];
  /** @type {TokenSource} */
  #token;
  /** @type {Api | undefined} */
  #api;
  /** @type {V1.BrandingTexts | undefined} */
  #brandTexts;
  /** @type {KeysView | undefined} */
  #view;
  #isStarting = false;
  #root = this.attachShadow({ mode: "open" });

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet];
    guardClicks(this.#root);
  }

  // The token of a portal session, or a function that returns one. The function is called again
  // when a token has expired.
  /** @returns {TokenSource} */
  get authToken() { return this.#token ?? this.getAttribute("auth-token"); }
  set authToken(token) {
    if (token === this.#token) return;
    this.#token = token;
    this.#start();
  }

  // Sets another client for /v1 and the texts of the product, for the hosted pages.
  /**
   * @param {Api} api
   * @param {V1.BrandingTexts} brandTexts
   */
  configure(api, brandTexts) {
    this.#api = api;
    this.#brandTexts = brandTexts;
    this.#start();
  }

  /** @returns {Scope} */
  get scope() { return this.getAttribute("scope") === "user" ? "user" : "organization"; }
  set scope(scope) { this.setAttribute("scope", scope); }

  connectedCallback() { this.#start(); }
  // Closes the dialogs and thereby removes a displayed value.
  disconnectedCallback() { this.#view?.close(); }
  /**
   * @param {string} _
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(_, before, after) {
    if (before !== after) this.#start();
  }

  // Starts once, even if several properties are set together.
  #start() {
    if (!this.isConnected || this.#isStarting) return;
    this.#isStarting = true;
    queueMicrotask(() => {
      this.#isStarting = false;
      /** @type {string | null | undefined} */
      let token;
      const authorize = async (/** @type {boolean} */ renew) => {
        const source = this.authToken;
        if (renew && typeof source !== "function") return undefined;
        if (renew || !token) token = typeof source === "function" ? await source() : source;
        return token ? { Authorization: `Bearer ${token}` } : undefined;
      };
      const notify = (/** @type {string} */ event, /** @type {unknown} */ detail) => this.dispatchEvent(new CustomEvent(`keyswap-${event}`, { detail, bubbles: true, composed: true }));
      this.#view?.close();
      const view = (this.#view = new KeysView(this.#api ?? new Api(base, authorize), this.scope, notify, this.#brandTexts));
      this.#root.replaceChildren(view.element, view.dialogs);
      view.start();
    });
  }
}

/** @param {URL} url */
export function define(url) {
  base = url;
  if (!customElements.get("keyswap-api-keys")) customElements.define("keyswap-api-keys", KeyswapApiKeys);
}
