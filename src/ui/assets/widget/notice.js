// The notice at the top of a view: the result of the last action. Its space is reserved, and a long
// text covers what is below, so that nothing moves when it appears.

import { button, h } from "./dom.js";

/** @param {string} dismissLabel */
export function createNotice(dismissLabel) {
  // Screen readers announce a change of this element, so it exists before its text.
  const status = h("p", { role: "status" });
  const dismiss = button("×", () => show(""), { "aria-label": dismissLabel, hidden: true });
  const element = h("div", { class: "notice" }, h("div", {}, status, dismiss));
  const show = (/** @type {string} */ text) => {
    status.textContent = text;
    dismiss.hidden = !text;
  };
  return { element, show };
}
