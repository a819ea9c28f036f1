// Shows the value of a key once. Only this dialog contains the value, and closing it removes the
// value.

import { button, h, unique } from "./dom.js";
import { modal } from "./modal.js";
import { texts } from "./texts.js";

function save(name, value) {
  const url = URL.createObjectURL(new Blob([`${value}\n`], { type: "text/plain" }));
  const link = h("a", { href: url, download: `${name.replace(/[^\w.-]+/g, "-") || "api-key"}.txt` });
  link.click();
  URL.revokeObjectURL(url);
}

// `said` are the texts for another kind of secret.
export async function secret(keys, { name, value }, said = texts) {
  const [heading, help] = [unique("secret"), unique("secret-help")];
  const shown = h("output", { class: "value", tabindex: "0", "aria-label": said.columns.key }, value);
  const curl = h("pre", { tabindex: "0" }, `curl -X POST ${new URL("v1/exchange", keys.api.base)} \\\n  -H "Authorization: Bearer ${value}"`);
  const status = h("span", { role: "status" });
  const copy = button(texts.copy, async () => {
    const copied = await navigator.clipboard?.writeText(value).then(() => true, () => false);
    status.textContent = copied ? texts.copied : texts.notCopied;
    if (!copied) getSelection().selectAllChildren(shown);
  });
  const { dialog, done, end, hold, show } = modal(keys, { "aria-labelledby": heading, "aria-describedby": help }, [
    h("h3", { id: heading }, said.secretTitle),
    h("p", { id: help }, said.secretHelp),
    shown,
    h("div", { class: "buttons start" }, copy, button(texts.download, () => save(name, value)), status),
    said.curl && h("details", {}, h("summary", {}, said.curl), curl),
    h("div", { class: "buttons" }, button(said.done, () => end(), { class: "primary", part: "button primary" })),
  ]);
  // Only the button that confirms the copy closes the dialog.
  hold(true);
  const warn = (event) => event.preventDefault();
  // The browser may keep a page that is left in its back/forward cache.
  const left = () => end();
  window.addEventListener("beforeunload", warn);
  window.addEventListener("pagehide", left);
  show();
  copy.focus();
  await done;
  window.removeEventListener("beforeunload", warn);
  window.removeEventListener("pagehide", left);
}
