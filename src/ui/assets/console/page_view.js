// One open view: its content, its permissions, and the report of its errors.

/** @import { Children, Properties } from "../widget/dom.js" */
/** @import { TableOptions } from "../widget/list_table.js" */
/** @import { KeyswapConsole } from "./shell.js" */
import { ApiError, describeError } from "../widget/api.js";
import { button, fill, h } from "../widget/dom.js";
import { ListTable } from "../widget/list_table.js";
import { createNotice } from "../widget/notice.js";
import { emptyState, lookUp } from "./elements.js";
import { texts } from "./texts.js";

/** @typedef {(page: PageView) => Promise<void>} View */

export class PageView {
  // The dialogs close when the page is left.
  /** @type {Set<() => void>} */
  openDialogs = new Set();
  #left = new AbortController();
  #body = h("div", { class: "page", "aria-busy": "true" });
  #notice = createNotice(texts.dismiss);
  #isDrawn = false;
  #isActing = false;
  element = h("main", { tabindex: "-1" }, this.#notice.element, this.#body);

  // `view` is a function that draws this page. It is called again after a change.
  /**
   * @param {KeyswapConsole} shell
   * @param {{ view: View, name: string, id?: string, query: Record<string, string> }} options
   */
  constructor(shell, { view, name, id = "", query }) {
    this.shell = shell;
    this.view = view;
    this.name = name;
    this.id = id;
    this.query = query;
    this.api = shell.createApi();
    this.dialogs = shell.dialogs;
  }

  /** @param {string[]} permissions */
  hasPermission(...permissions) { return this.shell.hasPermission(...permissions); }
  get isLeft() { return this.#left.signal.aborted; }

  // Returns a client whose calls are aborted when the page is left, for long polling.
  /** @param {AbortSignal} signal */
  createPollingApi(signal) { return this.shell.createApi(AbortSignal.any([signal, this.#left.signal])); }

  /**
   * @template {Calls.Collection} Path
   * @param {TableOptions<Path>} options
   * @returns {ListTable<Path>}
   */
  createTable(options) {
    return new ListTable({ ...options, api: this.api, texts, isStopped: () => this.isLeft });
  }

  leave() {
    this.#left.abort();
    for (const close of this.openDialogs) close();
  }

  async show() {
    this.#body.setAttribute("aria-busy", "true");
    if (!this.#isDrawn) fill(this.#body, emptyState(texts.loading));
    try {
      await this.view(this);
    } catch (error) {
      this.showError(error);
    }
  }

  // Draws the title, the actions and the content. The heading gets the focus after navigation, or
  // if redrawing has removed the focused element.
  /**
   * @param {{ title: string, help?: Children, actions?: Children, back?: string }} header
   * @param {Children[]} content
   */
  draw({ title, help, actions, back }, ...content) {
    if (this.isLeft) return;
    const root = /** @type {ShadowRoot} */ (this.element.getRootNode());
    const hadFocus = this.#body.contains(root.activeElement);
    this.#body.setAttribute("aria-busy", "false");
    document.title = texts.documentTitle(title);
    const heading = h("h1", { tabindex: "-1" }, title);
    const backLink = back && h("a", { class: "back", href: `#/${back}` }, lookUp(texts.views, back));
    const top = h("header", { class: "top" }, h("div", {}, backLink, heading, help && h("p", { class: "hint" }, help)), actions && h("div", { class: "buttons" }, actions));
    fill(this.#body, top, content);
    const arrived = !this.#isDrawn && this.shell.hasNavigated;
    this.#isDrawn = true;
    if (arrived || (hadFocus && !root.activeElement)) heading.focus();
  }

  // A button whose errors this page reports.
  /**
   * @param {string} text
   * @param {() => Promise<unknown>} act
   * @param {Properties} [properties]
   */
  button(text, act, properties) {
    return button(text, () => act().catch((error) => this.reportError(error)), properties);
  }

  announce(text = "") { this.#notice.show(text); }

  // Reports an error and keeps the content.
  /** @param {unknown} error */
  reportError(error) {
    if (!(error instanceof ApiError)) throw error;
    if (this.isLeft) return undefined;
    if (error.status === 412) return this.reloadAfterConflict();
    this.announce(error.isForbidden ? texts.forbidden : describeError(error, texts));
  }

  // Replaces the content with an error message.
  /** @param {unknown} error */
  showError(error) {
    if (!(error instanceof ApiError)) throw error;
    if (this.isLeft) return;
    this.#isDrawn = false;
    const retry = !error.isForbidden && button(texts.retry, () => this.show());
    const text = error.isForbidden ? texts.forbidden : error.status === 404 ? texts.notFound : describeError(error, texts);
    this.draw({ title: lookUp(texts.views, this.name) }, h("div", { class: "message", role: "alert" }, h("p", {}, text), retry));
    this.#isDrawn = false;
  }

  async reloadAfterConflict() {
    await this.show();
    this.announce(texts.changedElsewhere);
  }

  // Redraws the view after a change and reports the change.
  /** @param {string} text */
  async reportChange(text) {
    await this.show();
    this.announce(text);
  }

  // Performs an action without a confirmation. `act` returns the message to report.
  /** @param {() => Promise<string | undefined | void>} act */
  async perform(act) {
    // A second click while the action runs has no effect.
    if (this.#isActing) return;
    this.#isActing = true;
    try {
      const message = await act();
      if (message) await this.reportChange(message);
    } catch (error) {
      this.reportError(error);
    } finally {
      this.#isActing = false;
    }
  }
}
