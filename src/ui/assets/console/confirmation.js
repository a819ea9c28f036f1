// Confirmation dialogs and result messages.

/** @import { Children } from "../widget/dom.js" */
/** @import { FormHost } from "../widget/form_dialog.js" */
import { button, h, uniqueId } from "../widget/dom.js";
import { openFormDialog } from "../widget/form_dialog.js";
import { openModal } from "../widget/modal.js";
import { texts } from "./texts.js";

/**
 * @template Result
 * @param {FormHost} host
 * @param {{ title: string, help: string, submit: string }} labels
 * @param {() => Promise<Result>} send
 */
export const confirmAction = (host, { title, help, submit }, send) => openFormDialog(host, { title, submit }, h("p", {}, help), async () => (await send()) ?? true);

// Shows a message that requires no decision.
/**
 * @param {FormHost} host
 * @param {string} title
 * @param {Children[]} content
 */
export function showMessage(host, title, ...content) {
  const id = uniqueId("message");
  return openModal(host, { "aria-labelledby": id }, (close) => [
    h("h3", { id }, title),
    content,
    h("div", { class: "buttons" }, button(texts.close, () => close(), { class: "primary" })),
  ]).closed;
}

// The response to a replayed request does not contain the secret.
export const reportLostSecret = (/** @type {FormHost} */ host) => showMessage(host, texts.secretLost, h("p", {}, texts.secretLostHelp));
