// One open view: its content, its permissions, and the report of its errors.

import { Refused } from "../widget/api.js";
import { button, fill, h } from "../widget/dom.js";
import { texts } from "./texts.js";

export class PageView {
  // `view` is a function that draws this page. It is called again after a change.
  constructor(shell, { view, name, id, query }) {
    Object.assign(this, { shell, view, name, id, query });
    this.api = shell.calls();
    this.dialogs = shell.dialogs;
    // The open dialogs. They close when the page is left.
    this.open = new Set();
    this.left = new AbortController();
    this.body = h("div", { class: "page", "aria-busy": "true" });
    this.live = h("p", { class: "live", role: "status" });
    this.element = h("main", { tabindex: "-1" }, this.live, this.body);
  }

  may(...permissions) { return this.shell.may(...permissions); }
  get gone() { return this.left.signal.aborted; }

  // Returns a client whose calls are aborted when the page is left, for long polling.
  waiting(signal) { return this.shell.calls(AbortSignal.any([signal, this.left.signal])); }

  leave() {
    this.left.abort();
    for (const end of this.open) end();
  }

  async show() {
    this.body.setAttribute("aria-busy", "true");
    if (!this.drawn) fill(this.body, h("p", { class: "state" }, texts.loading));
    try {
      await this.view(this);
    } catch (error) {
      this.refused(error);
    }
  }

  // Draws the title, the actions and the content. The heading gets the focus after navigation, or
  // if redrawing has removed the focused element.
  draw({ title, help, actions, back }, ...content) {
    if (this.gone) return;
    const root = this.element.getRootNode();
    const before = root.activeElement;
    const held = this.body.contains(before);
    this.body.setAttribute("aria-busy", "false");
    document.title = texts.titled(title);
    const heading = h("h1", { tabindex: "-1" }, title);
    const top = h("header", { class: "top" }, h("div", {}, back, heading, help && h("p", { class: "hint" }, help)), actions && h("div", { class: "buttons" }, actions));
    fill(this.body, top, content);
    const arrived = !this.drawn && this.shell.moved;
    this.drawn = true;
    if (arrived || (held && !root.activeElement)) heading.focus();
  }

  say(text) { this.live.textContent = text ?? ""; }

  // Reports an error and keeps the content.
  failed(error) {
    if (!(error instanceof Refused)) throw error;
    if (this.gone) return undefined;
    if (error.status === 412) return this.changedElsewhere();
    const faults = error.faults.map((one) => `${one.field}: ${one.message}`).join("; ");
    this.say(error.away ? texts.unreachable : error.forbidden ? texts.mayNot : faults || error.message || texts.failed);
  }

  // Replaces the content with an error message.
  refused(error) {
    if (!(error instanceof Refused)) throw error;
    if (this.gone) return;
    this.drawn = false;
    const again = !error.forbidden && button(texts.again, () => this.show());
    const text = error.forbidden ? texts.mayNot : error.status === 404 ? texts.notFound : error.signedOut ? texts.signedOut : error.away ? texts.unreachable : error.message || texts.failed;
    this.draw({ title: texts.views[this.name] ?? texts.brand }, h("div", { class: "state", role: "alert" }, h("p", {}, text), again));
    this.drawn = false;
  }

  async changedElsewhere() {
    await this.show();
    this.say(texts.changedElsewhere);
  }

  // Redraws the view after a change and reports the change.
  async did(text) {
    await this.show();
    this.say(text);
  }

  // Performs an action without a confirmation. `act` returns the message to report.
  async attempt(act) {
    // A second click while the action runs has no effect.
    if (this.busy) return;
    this.busy = true;
    try {
      const said = await act();
      if (said) await this.did(said);
    } catch (error) {
      this.failed(error);
    } finally {
      this.busy = false;
    }
  }
}
