// A modal dialog, which can be kept open while closing it would lose data.

import { h } from "./dom.js";

export function modal(keys, labels, content) {
  const dialog = h("dialog", { part: "dialog", ...labels }, content);
  let held = false;
  const stop = (event) => { if (held) event.preventDefault(); };
  dialog.addEventListener("cancel", stop);
  // Browsers let a page cancel only the first of two close requests. A cancelled Escape key causes
  // no close request.
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
