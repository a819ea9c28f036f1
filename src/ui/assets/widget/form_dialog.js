// A form in a dialog.

/** @import { Children } from "./dom.js" */
/** @import { DialogHost } from "./modal.js" */
import { ApiError, describeError } from "./api.js";
import { button, errorText, field, h, uniqueId } from "./dom.js";
import { openModal } from "./modal.js";
import { texts } from "./texts.js";

/** @typedef {DialogHost & { reloadAfterConflict: () => unknown }} FormHost */

// Returns the result of `send`, or undefined if the form was closed. The form stays open if `send`
// returns nothing, and input is preserved if /v1 rejects the request.
/**
 * @template Result
 * @param {FormHost} host
 * @param {{ title: string, submit: string, danger?: boolean }} labels
 * @param {Children} content
 * @param {() => Promise<Result | undefined>} send
 */
export async function openFormDialog(host, { title, submit, danger }, content, send) {
  const id = uniqueId("dialog");
  const fault = errorText();
  const showError = (/** @type {string} */ text) => {
    fault.textContent = text;
    fault.hidden = !text;
  };
  const submitButton = h("button", { type: "submit", class: danger ? "danger" : "primary", part: "button primary" }, submit);
  const cancel = button(texts.cancel, () => modal.close());
  const form = h("form", { method: "dialog", novalidate: true }, h("h3", { id }, title), content, fault, h("div", { class: "buttons" }, cancel, submitButton));
  // The dialog stays open while a request is in flight: the key would be created anyway, and its
  // value lost.
  const setBusy = (/** @type {boolean} */ on) => {
    modal.setLocked(on);
    submitButton.disabled = cancel.disabled = on;
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showError("");
    setBusy(true);
    try {
      const result = await send();
      if (result) return modal.close(result);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 412) {
        modal.close();
        return host.reloadAfterConflict();
      }
      showError(describeError(error, texts));
    } finally {
      setBusy(false);
    }
    /** @type {HTMLElement | null} */ (form.querySelector("[aria-invalid=true]"))?.focus();
  });
  /** @type {ReturnType<typeof openModal<Result>>} */
  const modal = openModal(host, { "aria-labelledby": id }, () => form);
  return modal.closed;
}

// Asks before an action that stops something and can be taken back.
/**
 * @template Result
 * @param {FormHost} host
 * @param {{ title: string, help: string, submit: string }} labels
 * @param {() => Promise<Result>} send
 */
export const confirmAction = (host, { title, help, submit }, send) => openFormDialog(host, { title, submit }, h("p", {}, help), async () => (await send()) ?? true);

// Requires the user to type `word`.
/**
 * @template Result
 * @param {FormHost} host
 * @param {{ title: string, help: string, word: string, submit: string }} labels
 * @param {() => Promise<Result>} send
 */
export function confirmByTyping(host, { title, help, word, submit }, send) {
  const typed = field(texts.typeToConfirm(word), h("input", { type: "text", autocomplete: "off", spellcheck: "false" }));
  return openFormDialog(host, { title, submit, danger: true }, [h("p", {}, help), typed.element], async () => {
    const matches = typed.control.value.trim() === word;
    typed.setError(matches ? undefined : texts.typeToConfirm(word));
    return matches ? (await send()) ?? true : undefined;
  });
}
