// Creates elements from plain values. Texts always become text nodes, so user input is never parsed
// as markup. A function that returns an element has the name of the element.

/** @typedef {Node | string | false | null | undefined} Child */
/** @typedef {Child | Children[]} Children */
/** @typedef {Record<string, string | number | boolean | null | undefined | (() => unknown)>} Properties */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Properties} [properties]
 * @param {Children[]} children
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  fill(element, children);
  return element;
}

// Replaces the children of an element. Nested lists are flattened; false and missing children are
// dropped.
/**
 * @param {Element | ShadowRoot} element
 * @param {Children[]} children
 */
export function fill(element, ...children) {
  const flat = /** @type {Child[]} */ (/** @type {unknown[]} */ (children).flat(Infinity));
  element.replaceChildren(...flat.filter((child) => child !== undefined && child !== null && child !== false));
}

// Returns an id that is unique in the page.
let count = 0;
export const uniqueId = (/** @type {string} */ name) => `ks-${name}-${++count}`;

/**
 * @param {Children} text
 * @param {() => unknown} onclick
 * @param {Properties} [properties]
 */
export function button(text, onclick, properties = {}) {
  return h("button", { type: "button", part: "button", onclick, ...properties }, text);
}

/**
 * @param {Record<string, string>} options
 * @param {string} value
 * @param {(value: string) => unknown} [onChange]
 */
export function select(options, value, onChange) {
  const control = h("select", {}, Object.entries(options).map(([value, text]) => h("option", { value }, text)));
  control.value = value;
  if (onChange) control.addEventListener("change", () => onChange(control.value));
  return control;
}

// A checkbox with the name of the choice and its description.
/**
 * @param {Properties} properties
 * @param {Children} label
 * @param {string | null} [description]
 */
export function checkbox(properties, label, description) {
  const control = h("input", { type: "checkbox", ...properties });
  return { control, element: h("label", { class: "choice" }, control, h("span", {}, label, description && h("small", {}, description))) };
}

export const errorText = (text = "", properties = {}) => h("p", { class: "error", role: "alert", hidden: true, ...properties }, text);

// A control with a label, a hint and an error message.
/**
 * @template {HTMLElement} Control
 * @param {string} label
 * @param {Control} control
 * @param {string} [hint]
 */
export function field(label, control, hint) {
  const id = uniqueId("field");
  const fault = errorText("", { id: `${id}-fault` });
  control.id = id;
  control.setAttribute("aria-describedby", hint ? `${id}-hint ${id}-fault` : `${id}-fault`);
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, label), hint && h("p", { class: "hint", id: `${id}-hint` }, hint), control, fault),
    control,
    setError(/** @type {string | undefined} */ text) {
      fault.textContent = text ?? "";
      fault.hidden = !text;
      if (text) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    },
  };
}

/**
 * @param {Properties} properties
 * @param {Children[]} titles
 * @param {Children} rows
 */
export function table(properties, titles, rows) {
  return h("table", properties, h("thead", {}, h("tr", {}, titles.map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, rows));
}

// A cell that shows its column title on narrow screens.
/**
 * @param {string} title
 * @param {Children[]} content
 */
export const cell = (title, ...content) => h("td", { "data-label": title }, h("span", { class: "cell" }, content));

export const splitLines = (/** @type {string} */ text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
