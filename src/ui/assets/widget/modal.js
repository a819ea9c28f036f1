// A modal dialog. While it is locked, only its own buttons close it.

/** @import { Children, Properties } from "./dom.js" */
import { restartInterval } from "./click_guard.js";
import { h } from "./dom.js";

// The component that shows dialogs: their container, and the functions that close the open ones.
/** @typedef {{ dialogs: HTMLElement, openDialogs: Set<() => void> }} DialogHost */

/**
 * @template Result
 * @param {DialogHost} host
 * @param {Properties} labels
 * @param {(close: (result?: Result) => void) => Children} getContent
 */
export function openModal(host, labels, getContent) {
  let locked = false;
  /** @type {(result?: Result) => void} */
  let resolve = () => undefined;
  /** @type {Promise<Result | undefined>} */
  const closed = new Promise((settle) => { resolve = settle; });
  /** @param {Result} [result] */
  const close = (result) => {
    restartInterval();
    host.openDialogs.delete(dismiss);
    dialog.close();
    dialog.replaceChildren();
    dialog.remove();
    resolve(result);
  };
  const dialog = h("dialog", { part: "dialog", ...labels }, getContent(close));
  const preventIfLocked = (/** @type {Event} */ event) => { if (locked) event.preventDefault(); };
  dialog.addEventListener("cancel", preventIfLocked);
  // Browsers let a page cancel only the first of two close requests. A cancelled Escape key causes
  // no close request.
  dialog.addEventListener("keydown", (event) => { if (event.key === "Escape") preventIfLocked(event); });
  const dismiss = () => close();
  dialog.addEventListener("close", dismiss);
  host.openDialogs.add(dismiss);
  host.dialogs.append(dialog);
  dialog.showModal();
  return {
    closed,
    close,
    setLocked(/** @type {boolean} */ on) {
      locked = on;
      dialog.setAttribute("closedby", on ? "none" : "closerequest");
    },
  };
}
