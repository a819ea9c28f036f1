// Sign-in: a page at first, and a dialog over the current view when the session has ended.

/** @import { Children } from "../widget/dom.js" */
/** @import { DialogHost } from "../widget/modal.js" */
import { ApiError } from "../widget/api.js";
import { button, field, h, uniqueId } from "../widget/dom.js";
import { openModal } from "../widget/modal.js";
import { signIn } from "./session.js";
import { texts } from "./texts.js";

/** @param {ApiError} error */
function describeRefusal(error) {
  if (error.status === 401) return texts.signIn.unknown;
  if (error.status === 403) return error.message || texts.signIn.noPermission;
  if (error.status === 429) return texts.signIn.throttled(error.retryAfter);
  return error.isUnavailable ? texts.unavailable : error.message || texts.failed;
}

// A form that calls `onSignedIn` when the key is accepted, after removing the key from its field.
/**
 * @param {Children} heading
 * @param {() => unknown} onSignedIn
 * @param {Children} [cancel]
 */
function signInForm(heading, onSignedIn, cancel) {
  const key = field(texts.signIn.key, h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true }), texts.signIn.keyHint);
  const submit = h("button", { type: "submit", class: "primary" }, texts.signIn.submit);
  const element = h("form", { method: "dialog", novalidate: true, class: "sign-in" }, heading, key.element, h("div", { class: "buttons" }, cancel, submit));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = key.control.value.trim();
    key.setError(value ? undefined : texts.signIn.needed);
    if (!value) return key.control.focus();
    submit.disabled = true;
    try {
      await signIn(value);
      key.control.value = "";
      await onSignedIn();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      key.setError(describeRefusal(error));
      key.control.focus();
    } finally {
      submit.disabled = false;
    }
  });
  return {
    element,
    focus(/** @type {string | undefined} */ fault) {
      key.setError(fault);
      key.control.focus();
    },
  };
}

/** @param {() => unknown} onSignedIn */
export function signInPage(onSignedIn) {
  const heading = [h("p", { class: "brand" }, texts.brand), h("h1", { tabindex: "-1" }, texts.signIn.title), h("p", { class: "hint" }, texts.signIn.help)];
  const { element, focus } = signInForm(heading, onSignedIn);
  return { element: h("main", { class: "sign-in-page" }, element), focus };
}

// Returns whether the user has signed in again. Input in the view below is preserved.
/** @param {DialogHost} host */
export async function signInAgain(host) {
  const id = uniqueId("sign-in");
  const heading = [h("h3", { id }, texts.signIn.again), h("p", { class: "hint" }, texts.signIn.againHelp)];
  const { closed } = openModal(host, { "aria-labelledby": id }, (/** @type {(signedIn?: boolean) => void} */ close) =>
    signInForm(heading, () => close(true), button(texts.cancel, () => close())).element);
  return Boolean(await closed);
}
