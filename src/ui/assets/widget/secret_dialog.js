// Shows the value of a key once. Only this dialog contains the value, and closing it removes the
// value.

/** @import { DialogHost } from "./modal.js" */
import { button, h, uniqueId } from "./dom.js";
import { openModal } from "./modal.js";
import { texts } from "./texts.js";

/**
 * @param {string} name
 * @param {string} value
 */
function download(name, value) {
  const url = URL.createObjectURL(new Blob([`${value}\n`], { type: "text/plain" }));
  const link = h("a", { href: url, download: `${name.replace(/[^\w.-]+/g, "-") || "api-key"}.txt` });
  link.click();
  URL.revokeObjectURL(url);
}

/** @typedef {{ label: string, title: string, help: string, example?: string }} SecretTexts */

/**
 * @param {DialogHost & { api: { base: URL } }} host
 * @param {{ name: string, value: string }} secret
 * @param {SecretTexts} [labels] the texts for another kind of secret
 */
export async function showSecret(host, { name, value }, labels = texts.secret) {
  const [heading, help] = [uniqueId("secret"), uniqueId("secret-help")];
  const output = h("output", { class: "value", tabindex: "0", "aria-label": labels.label }, value);
  const example = h("pre", { tabindex: "0" }, `curl -X POST ${new URL("v1/exchange", host.api.base)} \\\n  -H "Authorization: Bearer ${value}"`);
  const status = h("span", { role: "status" });
  const copy = button(texts.copy, async () => {
    // `clipboard` is missing in insecure contexts.
    const copied = await /** @type {Clipboard | undefined} */ (navigator.clipboard)?.writeText(value).then(() => true, () => false);
    status.textContent = copied ? texts.copied : texts.notCopied;
    if (!copied) getSelection()?.selectAllChildren(output);
  });
  const modal = openModal(host, { "aria-labelledby": heading, "aria-describedby": help }, (close) => [
    h("h3", { id: heading }, labels.title),
    h("p", { id: help }, labels.help),
    output,
    h("div", { class: "buttons start" }, copy, button(texts.download, () => download(name, value)), status),
    labels.example && h("details", {}, h("summary", {}, labels.example), example),
    h("div", { class: "buttons" }, button(texts.done, () => close(), { class: "primary", part: "button primary" })),
  ]);
  // Only the button that confirms the copy closes the dialog.
  modal.setLocked(true);
  const warn = (/** @type {Event} */ event) => event.preventDefault();
  // The browser may keep a page that is left in its back/forward cache.
  const close = () => modal.close();
  window.addEventListener("beforeunload", warn);
  window.addEventListener("pagehide", close);
  copy.focus();
  await modal.closed;
  window.removeEventListener("beforeunload", warn);
  window.removeEventListener("pagehide", close);
}
