// The one moment in which a key's value is shown. It is in this dialog alone, and gone with it.

import { button, h, unique } from "./dom.js";
import { texts } from "./texts.js";

function save(name, value) {
  const url = URL.createObjectURL(new Blob([`${value}\n`], { type: "text/plain" }));
  const link = h("a", { href: url, download: `${name.replace(/[^\w.-]+/g, "-") || "api-key"}.txt` });
  link.click();
  URL.revokeObjectURL(url);
}

export function secret(keys, { name, value }) {
  return new Promise((resolve) => {
    const [heading, help] = [unique("secret"), unique("secret-help")];
    const shown = h("output", { class: "value", tabindex: "0", "aria-label": texts.columns.key }, value);
    const curl = h("pre", { tabindex: "0" }, `curl -X POST ${new URL("v1/exchange", keys.api.base)} \\\n  -H "Authorization: Bearer ${value}"`);
    const status = h("span", { role: "status" });
    const copy = button(texts.copy, async () => {
      await navigator.clipboard.writeText(value);
      status.textContent = texts.copied;
    });
    const dialog = h(
      "dialog",
      { part: "dialog", "aria-labelledby": heading, "aria-describedby": help },
      h("h3", { id: heading }, texts.secretTitle),
      h("p", { id: help }, texts.secretHelp),
      shown,
      h("div", { class: "buttons start" }, copy, button(texts.download, () => save(name, value)), status),
      h("details", {}, h("summary", {}, texts.curl), curl),
      h("div", { class: "buttons" }, button(texts.done, () => dialog.close(), { class: "primary", part: "button primary" })),
    );
    const warn = (event) => event.preventDefault();
    // Escape would lose it: there is one way out, and it says what it means.
    dialog.addEventListener("cancel", warn);
    window.addEventListener("beforeunload", warn);
    // A page that is left may be kept by the browser as it was, to come back to.
    const left = () => dialog.close();
    window.addEventListener("pagehide", left);
    dialog.addEventListener("close", () => {
      window.removeEventListener("beforeunload", warn);
      window.removeEventListener("pagehide", left);
      dialog.replaceChildren();
      dialog.remove();
      resolve();
    });
    keys.element.append(dialog);
    dialog.showModal();
    copy.focus();
  });
}
