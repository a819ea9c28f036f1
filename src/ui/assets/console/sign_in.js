// Sign-in: a page at first, and a dialog over the current view when the session has ended.

import { button, field, h, unique } from "../widget/dom.js";
import { modal } from "../widget/modal.js";
import { Refused, signIn } from "./session.js";
import { texts } from "./texts.js";

// Returns the message for a key that was not accepted.
function reason(error) {
  if (error.status === 401) return texts.signIn.unknown;
  if (error.status === 403) return error.message || texts.signIn.nothing;
  if (error.status === 429) return texts.signIn.slowly(error.retryAfter);
  return error.away ? texts.unreachable : error.message || texts.failed;
}

// A form that calls `done` when the key is accepted, after removing the key from its field.
function form(heading, done, cancel) {
  const key = field(texts.signIn.key, h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true }), texts.signIn.keyHint);
  const go = h("button", { type: "submit", class: "primary" }, texts.signIn.submit);
  const element = h("form", { method: "dialog", novalidate: true, class: "sign-in" }, heading, key.element, h("div", { class: "buttons" }, cancel, go));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = key.control.value.trim();
    key.complain(value ? undefined : texts.signIn.needed);
    if (!value) return key.control.focus();
    go.disabled = true;
    try {
      await signIn(value);
      key.control.value = "";
      await done();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      key.complain(reason(error));
      key.control.focus();
    } finally {
      go.disabled = false;
    }
  });
  return { element, focus: (why) => { key.complain(why || undefined); key.control.focus(); } };
}

export function signInPage(done) {
  const heading = [h("p", { class: "brand" }, texts.brand), h("h1", { tabindex: "-1" }, texts.signIn.title), h("p", { class: "hint" }, texts.signIn.help)];
  const { element, focus } = form(heading, done);
  return { element: h("main", { class: "gate" }, element), focus };
}

// Returns whether the user has signed in again. Input in the view below is preserved.
export async function signInAgain(place) {
  const id = unique("sign-in");
  const cancel = button(texts.cancel, () => dialog.end());
  const heading = [h("h3", { id }, texts.signIn.again), h("p", { class: "hint" }, texts.signIn.againHelp)];
  const { element } = form(heading, () => dialog.end(true), cancel);
  const dialog = modal(place, { "aria-labelledby": id }, element);
  dialog.show();
  return Boolean(await dialog.done);
}
