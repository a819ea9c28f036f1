// <keyswap-api-keys scope="organization" auth-token="…">: the keys component for a settings page of
// the product.

import { Api } from "./api.js";
import { Keys } from "./keys.js";
import { sheet } from "./style.js";

// The base URL. /v1 and /widget/ are directly below it.
let base;

export class KeyswapApiKeys extends HTMLElement {
  static observedAttributes = ["scope", "auth-token"];
  #token;
  #calls;
  #keys;

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
  }

  // The token of a portal session, or a function that returns one. The function is called again
  // when a token has expired.
  get authToken() { return this.#token ?? this.getAttribute("auth-token"); }
  set authToken(token) {
    if (token === this.#token) return;
    this.#token = token;
    this.#start();
  }

  // Another client for /v1, for the hosted pages.
  set calls(api) {
    this.#calls = api;
    this.#start();
  }

  // The product's own texts, for the hosted pages.
  set words(own) { this.own = own; }

  get scope() { return this.getAttribute("scope") === "user" ? "user" : "organization"; }
  set scope(scope) { this.setAttribute("scope", scope); }

  connectedCallback() { this.#start(); }
  // Closes the dialogs and thereby removes a displayed value.
  disconnectedCallback() { this.#keys?.close(); }
  attributeChangedCallback(_, before, now) {
    if (before !== now) this.#start();
  }

  // Starts once, even if several properties are set together.
  #start() {
    if (!this.isConnected || this.starting) return;
    this.starting = true;
    queueMicrotask(() => {
      this.starting = false;
      let current;
      const authorize = async (again) => {
        const source = this.authToken;
        if (again && typeof source !== "function") return undefined;
        if (again || !current) current = typeof source === "function" ? await source() : source;
        return current ? { Authorization: `Bearer ${current}` } : undefined;
      };
      const told = (what, detail) => this.dispatchEvent(new CustomEvent(`keyswap-${what}`, { detail, bubbles: true, composed: true }));
      const keys = new Keys(this.#calls ?? new Api(base, authorize), this.scope, told, this.own);
      this.#keys?.close();
      this.#keys = keys;
      this.shadowRoot.replaceChildren(keys.element, keys.dialogs);
      keys.start();
    });
  }
}

export function define(url) {
  base = url;
  if (!customElements.get("keyswap-api-keys")) customElements.define("keyswap-api-keys", KeyswapApiKeys);
}
