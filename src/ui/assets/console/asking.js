// Confirmation dialogs and result messages.

import { ask } from "../widget/dialogs.js";
import { button, field, h, unique } from "../widget/dom.js";
import { modal } from "../widget/modal.js";
import { texts } from "./texts.js";

export { ask };

// Requires the user to type `word`.
export function typed(page, { title, help, word, submit }, send) {
  const box = field(texts.typeToConfirm(word), h("input", { type: "text", autocomplete: "off", spellcheck: "false" }));
  const parts = [h("p", {}, help), box.element];
  return ask(page, title, submit, parts, async () => {
    const right = box.control.value.trim() === word;
    box.complain(right ? undefined : texts.typeToConfirm(word));
    return right ? (await send()) ?? true : undefined;
  }, { danger: true });
}

// Requires a confirmation.
export const sure = (page, { title, help, submit, danger }, send) => ask(page, title, submit, [h("p", {}, help)], async () => (await send()) ?? true, { danger });

// Shows a message that requires no decision.
export function tell(page, title, ...content) {
  const id = unique("told");
  const { done, end, show } = modal(page, { "aria-labelledby": id }, [
    h("h3", { id }, title),
    content,
    h("div", { class: "buttons" }, button(texts.close, () => end(), { class: "primary" })),
  ]);
  show();
  return done;
}

// The response to a replayed request does not contain the secret.
export const lost = (page) => tell(page, texts.secretLost, h("p", {}, texts.secretLostHelp));
