// A dialog above everything else, held open while leaving it would lose something.

import { h } from "./dom.js";

export function modal(keys, labels, content) {
  const dialog = h("dialog", { part: "dialog", ...labels }, content);
  let held = false;
  const stop = (event) => { if (held) event.preventDefault(); };
  dialog.addEventListener("cancel", stop);
  // Browsers let a page refuse the first of two closings alone; a key that closes nothing asks for none.
  dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(event); });
  let settle;
  const done = new Promise((resolve) => { settle = resolve; });
  const end = (result) => {
    keys.open.delete(end);
    dialog.close();
    dialog.replaceChildren();
    dialog.remove();
    settle(result);
  };
  dialog.addEventListener("close", () => end());
  keys.open.add(end);
  return {
    dialog,
    done,
    end,
    hold(on) {
      held = on;
      dialog.setAttribute("closedby", on ? "none" : "closerequest");
    },
    show() {
      keys.dialogs.append(dialog);
      dialog.showModal();
    },
  };
}
