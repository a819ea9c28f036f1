// Drops a click that follows another one at the same point but would reach another control: the
// first click may have moved, removed or uncovered what is under the pointer. Double clicks do that.

// The longest interval in which two presses are a double click for common systems, with a margin.
const INTERVAL = 700;
// The distance in pixels that a pointer moves during a double click.
const DISTANCE = 10;
const CONTROLS = "a, button, summary, label, input, select, textarea";

// There is one pointer, whichever component it is on.
/** @type {{ at: number, x: number, y: number, control: Element | null | undefined }} */
let last = { at: -Infinity, x: 0, y: 0, control: undefined };
let isDropped = false;

/** @param {PointerEvent} event */
function recordPress({ timeStamp: at, clientX: x, clientY: y, target }) {
  const press = { at, x, y, control: target instanceof Element ? target.closest(CONTROLS) : null };
  const isRepeated = press.at - last.at < INTERVAL && Math.hypot(x - last.x, y - last.y) < DISTANCE;
  isDropped = isRepeated && press.control !== last.control;
  // A dropped press prolongs the interval of the press that acted.
  last = isDropped ? { ...press, control: last.control } : press;
}

/** @param {Event} event */
function dropRepeated(event) {
  // `detail` is 0 for clicks of the keyboard.
  if (!isDropped || /** @type {MouseEvent} */ (event).detail === 0) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

/** @param {ShadowRoot} root */
export function guardClicks(root) {
  root.addEventListener("pointerdown", (event) => recordPress(/** @type {PointerEvent} */ (event)), true);
  // Without `mousedown` the focus stays where it is.
  for (const type of ["mousedown", "click"]) root.addEventListener(type, dropRepeated, true);
}

// Restarts the interval when a dialog closes by itself, for example after a slow response: a press
// at its button now reaches what it covered.
export const restartInterval = () => { last.at = performance.now(); };
