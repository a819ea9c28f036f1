// <keyswap-api-keys scope="organization" auth-token="…">: the keys page inside a product's own settings page.

import { Api } from "./api.js";
import { Keys } from "./keys.js";
import { sheet } from "./style.js";

// Where /v1 lives: beside /widget/.
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

  // A token of a portal session, or a function that gives one: it is asked again when a token has run out.
  get authToken() { return this.#token ?? this.getAttribute("auth-token"); }
  set authToken(token) {
    if (token === this.#token) return;
    this.#token = token;
    this.#start();
  }

  // Another way to call /v1, for the hosted pages.
  set calls(api) {
    this.#calls = api;
    this.#start();
  }

  // The product's own words, on the hosted pages.
  set words(own) { this.own = own; }

  get scope() { return this.getAttribute("scope") === "user" ? "user" : "organization"; }
  set scope(scope) { this.setAttribute("scope", scope); }

  connectedCallback() { this.#start(); }
  // What was shown in a dialog is gone with it.
  disconnectedCallback() { this.#keys?.close(); }
  attributeChangedCallback(_, before, now) {
    if (before !== now) this.#start();
  }

  // Once, however many properties are set together.
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
