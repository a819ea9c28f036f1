// Forms built from field descriptions.

import { field, h } from "../widget/dom.js";
import { texts } from "./texts.js";

// The value of a field whose content cannot be sent.
export const WRONG = Symbol("wrong");

const chosen = (options) => options.map(({ value, text = value }) => h("option", { value }, text));

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

function typed(spec, value, control, read) {
  const made = field(spec.label, control, spec.hint);
  if (spec.required) control.setAttribute("required", "");
  return {
    element: made.element,
    read() {
      try {
        const result = read(control.value.trim());
        const missing = spec.required && (result === undefined || result === null || result.length === 0);
        made.complain(missing ? texts.needed : undefined);
        return missing ? WRONG : result;
      } catch (error) {
        made.complain(error.message);
        return WRONG;
      }
    },
  };
}

const kinds = {
  text(spec, value) {
    const control = h("input", { type: spec.type ?? "text", value: value ?? "", autocomplete: "off", maxlength: spec.maxlength ?? 2048, list: spec.list });
    return typed(spec, value, control, (text) => text || spec.empty);
  },
  number(spec, value) {
    const control = h("input", { type: "number", min: spec.min ?? 0, step: 1, value: value ?? "" });
    return typed(spec, value, control, (text) => (text ? Number(text) : null));
  },
  lines(spec, value) {
    const control = h("textarea", { rows: spec.rows ?? 3, spellcheck: "false", value: (value ?? []).join("\n") });
    return typed(spec, value, control, (text) => (text ? lines(text) : "empty" in spec ? spec.empty : []));
  },
  json(spec, value) {
    const control = h("textarea", { rows: spec.rows ?? 4, spellcheck: "false", value: value && Object.keys(value).length ? JSON.stringify(value, null, 2) : "" });
    return typed(spec, value, control, (text) => {
      let read;
      try { read = text ? JSON.parse(text) : {}; } catch { read = undefined; }
      if (read === null || typeof read !== "object" || Array.isArray(read)) throw new Error(texts.noObject);
      return read;
    });
  },
  select(spec, value, options) {
    const control = h("select", {}, chosen(options));
    control.value = value ?? options[0]?.value ?? "";
    return typed(spec, value, control, (text) => (text === "" ? spec.empty : text));
  },
  check(spec, value) {
    const box = h("input", { type: "checkbox", checked: Boolean(value) });
    return { element: h("label", { class: "choice" }, box, h("span", {}, spec.label, spec.hint && h("small", {}, spec.hint))), read: () => box.checked };
  },
  // A multiple choice. If `any` is checked, null is sent: it means all options, including future
  // ones.
  choices(spec, value, options) {
    const known = new Set(options.map((option) => option.value));
    const all = [...options, ...(value ?? []).filter((one) => !known.has(one)).map((one) => ({ value: one }))];
    const boxes = all.map(({ value: name, hint }) => {
      const box = h("input", { type: "checkbox", value: name, checked: Boolean(value?.includes(name)) });
      return { box, line: h("label", { class: "choice" }, box, h("span", {}, h("code", {}, name), hint && h("small", {}, hint))) };
    });
    const any = spec.any && h("input", { type: "checkbox", checked: !value });
    const few = h("div", {}, all.length ? boxes.map(({ line }) => line) : h("p", { class: "hint" }, spec.none ?? texts.noChoices));
    const toggle = () => { few.hidden = Boolean(any?.checked); };
    any?.addEventListener("change", toggle);
    toggle();
    const fault = h("p", { class: "fault", role: "alert", hidden: true }, texts.needed);
    const element = h("fieldset", { class: spec.wide && "wide" }, h("legend", {}, spec.label), spec.hint && h("p", { class: "hint" }, spec.hint), any && h("label", { class: "choice" }, any, h("span", {}, spec.any)), few, fault);
    return {
      element,
      read() {
        if (any?.checked) return null;
        const read = boxes.filter(({ box }) => box.checked).map(({ box }) => box.value);
        fault.hidden = !(spec.required && read.length === 0);
        return fault.hidden ? read : WRONG;
      },
    };
  },
};

// Fields are { name, label, kind, hint, required, options(page), from(item), empty, on }. Input is
// preserved while the form is open.
export async function form(page, fields, item) {
  const here = fields.filter(({ on }) => !on || on === (item ? "edit" : "create"));
  const offered = await Promise.all(here.map(({ options }) => (typeof options === "function" ? options(page) : options)));
  const made = here.map((spec, index) => {
    const value = item ? (spec.from ? spec.from(item) : item[spec.name]) : spec.initial;
    return [spec.name, (kinds[spec.kind ?? "text"] ?? spec.kind)(spec, value, offered[index])];
  });
  return {
    parts: made.map(([, { element }]) => element),
    // Returns the values to send, or undefined if a field is invalid.
    read() {
      const read = made.map(([name, one]) => [name, one.read()]);
      if (read.some(([, value]) => value === WRONG)) return undefined;
      return Object.fromEntries(read.filter(([, value]) => value !== undefined));
    },
  };
}

// Identical input reuses the idempotency key, so that a retry after a lost response creates nothing
// twice. Changed input gets a new idempotency key.
export function repeatable() {
  let tried = {};
  return (body) => {
    const asked = JSON.stringify(body);
    if (tried.asked !== asked) tried = { asked, once: crypto.randomUUID() };
    return tried.once;
  };
}

// Loads all items of a /v1 list for a choice, up to about 2000.
export async function every(page, path, query) {
  const all = [];
  let after;
  do {
    const answer = await page.api.call("GET", path, { query: { ...query, limit: 100, after } });
    all.push(...answer.data);
    after = answer.next;
  } while (after && all.length < 2000);
  return all;
}

export const permissions = (to) => async (page) => (await every(page, "permissions", { assignable_to: to })).map(({ name, description }) => ({ value: name, hint: description }));

export const roleNames = async (page) => (await every(page, "roles")).map(({ name, description }) => ({ value: name, hint: description }));
