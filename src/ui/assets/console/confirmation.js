// Changes that ask first, and messages.

/** @import { Children } from "../widget/dom.js" */
/** @import { FormHost } from "../widget/form_dialog.js" */
/** @import { PageView } from "./page_view.js" */
import { button, h, uniqueId } from "../widget/dom.js";
import { confirmAction } from "../widget/form_dialog.js";
import { openModal } from "../widget/modal.js";
import { texts } from "./texts.js";

// Asks, performs a change, and reports it.
/**
 * @param {PageView} page
 * @param {{ title: (name: string) => string, help: string, submit: string, done: (name: string) => string }} labels
 * @param {string} name
 * @param {() => Promise<unknown>} send
 */
export async function confirmChange(page, { title, help, submit, done }, name, send) {
  const confirmed = await confirmAction(page, { title: title(name), help, submit }, send);
  if (confirmed) await page.reportChange(done(name));
}

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
