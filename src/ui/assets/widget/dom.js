// Creates elements from plain values. Texts always become text nodes, so user input is never parsed
// as markup.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

// Flattens nested lists, and drops children that are false or missing.
const present = (children) => children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false);

export const fill = (element, ...children) => element.replaceChildren(...present(children));

// Returns an id that is unique in the page.
let count = 0;
export const unique = (name) => `ks-${name}-${++count}`;

export function button(text, onclick, properties = {}) {
  return h("button", { type: "button", part: "button", onclick, ...properties }, text);
}

// A control with a label, a hint and an error message.
export function field(label, control, hint) {
  const id = unique("field");
  const fault = h("p", { class: "fault", id: `${id}-fault`, role: "alert", hidden: true });
  control.id = id;
  const described = [hint && `${id}-hint`, `${id}-fault`].filter(Boolean).join(" ");
  control.setAttribute("aria-describedby", described);
  const element = h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    control,
    fault,
  );
  return {
    element,
    control,
    complain(text) {
      fault.textContent = text ?? "";
      fault.hidden = !text;
      control.toggleAttribute("aria-invalid", Boolean(text));
      if (text) control.setAttribute("aria-invalid", "true");
    },
  };
}
