// Forms built from field descriptions.

/** @import { PageView } from "./page_view.js" */
import { checkbox, field, h, select, splitLines } from "../widget/dom.js";
import { texts } from "./texts.js";

// The value of a field whose content cannot be sent.
export const INVALID = Symbol("invalid");

/** @typedef {{ value: string, text?: string, hint?: string | null }} Option */
// `read` returns a value to send, undefined for none, or INVALID.
/** @typedef {{ element: HTMLElement, read: () => unknown }} FormField */
/** @typedef {(spec: FieldSpec, value: unknown, options: Option[]) => FormField} FieldFactory */
/**
 * @template {string} [Name=string]
 * @typedef {object} FieldSpec
 * @property {Name} name
 * @property {string} label
 * @property {string} [hint]
 * @property {keyof typeof kinds | FieldFactory} [kind]
 * @property {boolean} [required]
 * @property {Option[] | ((page: PageView) => Promise<Option[]>)} [options]
 * @property {"create" | "edit"} [on] the only form that has this field
 * @property {unknown} [initial]
 * @property {(value: unknown) => unknown} [format] converts the stored value to the input
 * @property {null} [empty] what is sent for no input
 * @property {string} [any] the label of the choice of all options, which sends null
 * @property {number} [min]
 * @property {number} [maxlength]
 * @property {number} [rows]
 * @property {string} [type]
 */

/**
 * @param {FieldSpec} spec
 * @param {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} control
 * @param {(text: string) => unknown} parse
 * @returns {FormField}
 */
function textField(spec, control, parse) {
  const { element, setError } = field(spec.label, control, spec.hint);
  if (spec.required) control.setAttribute("required", "");
  return {
    element,
    read() {
      const text = control.value.trim();
      const value = parse(text);
      setError(value === INVALID ? texts.jsonObjectNeeded : spec.required && !text ? texts.needed : undefined);
      return spec.required && !text ? INVALID : value;
    },
  };
}

/** @param {string} text */
function parseObject(text) {
  try {
    const value = text ? JSON.parse(text) : {};
    return value === null || typeof value !== "object" || Array.isArray(value) ? INVALID : value;
  } catch {
    return INVALID;
  }
}

/**
 * @param {string} value
 * @param {number} rows
 */
const textarea = (value, rows) => h("textarea", { rows, spellcheck: "false", value });

/** @satisfies {Record<string, FieldFactory>} */
const kinds = {
  text(spec, value) {
    const control = h("input", { type: spec.type ?? "text", value: String(value ?? ""), autocomplete: "off", maxlength: spec.maxlength ?? 2048 });
    return textField(spec, control, (text) => text || spec.empty);
  },
  number(spec, value) {
    const control = h("input", { type: "number", min: spec.min ?? 0, step: 1, value: String(value ?? "") });
    return textField(spec, control, (text) => (text ? Number(text) : null));
  },
  lines(spec, value) {
    const control = textarea(/** @type {string[]} */ (value ?? []).join("\n"), spec.rows ?? 3);
    return textField(spec, control, (text) => (text ? splitLines(text) : "empty" in spec ? spec.empty : []));
  },
  json(spec, value) {
    const control = textarea(value && Object.keys(value).length ? JSON.stringify(value, null, 2) : "", 4);
    return textField(spec, control, parseObject);
  },
  select(spec, value, options) {
    const control = select(Object.fromEntries(options.map(({ value, text = value }) => [value, text])), String(value ?? options[0]?.value ?? ""));
    return textField(spec, control, (text) => (text === "" ? spec.empty : text));
  },
  check(spec, value) {
    const { control, element } = checkbox({ checked: Boolean(value) }, spec.label, spec.hint);
    return { element, read: () => control.checked };
  },
  // A multiple choice. If `any` is checked, null is sent: it means all options, including future
  // ones.
  choices(spec, value, options) {
    const chosen = /** @type {string[] | null | undefined} */ (value);
    const known = new Set(options.map((option) => option.value));
    const all = [...options, ...(chosen ?? []).filter((name) => !known.has(name)).map((name) => ({ value: name, hint: undefined }))];
    const boxes = all.map(({ value: name, hint }) => checkbox({ value: name, checked: Boolean(chosen?.includes(name)) }, h("code", {}, name), hint));
    const any = spec.any ? checkbox({ checked: !chosen }, spec.any) : undefined;
    const single = h("div", {}, boxes.length ? boxes.map(({ element }) => element) : h("p", { class: "hint" }, texts.noChoices));
    const toggle = () => { single.hidden = Boolean(any?.control.checked); };
    any?.control.addEventListener("change", toggle);
    toggle();
    return {
      element: h("fieldset", {}, h("legend", {}, spec.label), spec.hint && h("p", { class: "hint" }, spec.hint), any?.element, single),
      read: () => (any?.control.checked ? null : boxes.filter(({ control }) => control.checked).map(({ control }) => control.value)),
    };
  },
};

// Input is preserved while the form is open.
/**
 * @param {PageView} page
 * @param {FieldSpec[]} specs
 * @param {object} [item] the item to edit
 */
export async function createForm(page, specs, item) {
  const present = specs.filter(({ on }) => !on || on === (item ? "edit" : "create"));
  const options = await Promise.all(present.map(({ options = [] }) => (typeof options === "function" ? options(page) : options)));
  const fields = present.map((spec, index) => {
    const { name, initial, format = (value) => value } = spec;
    const value = item ? format(/** @type {Record<string, unknown>} */ (item)[name]) : initial;
    const createField = typeof spec.kind === "function" ? spec.kind : kinds[spec.kind ?? "text"];
    return { name, ...createField(spec, value, options[index]) };
  });
  return {
    elements: fields.map(({ element }) => element),
    // Returns the values to send, or undefined if a field is invalid.
    read() {
      const values = fields.map(({ name, read }) => ({ name, value: read() }));
      if (values.some(({ value }) => value === INVALID)) return undefined;
      return Object.fromEntries(values.filter(({ value }) => value !== undefined).map(({ name, value }) => [name, value]));
    },
  };
}

// Loads all items of a /v1 list for a choice, up to about 2000.
/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Path} list
 * @param {Record<string, string | undefined>} [query]
 */
export async function loadAll(page, list, query) {
  /** @type {Calls.Item<Path>[]} */
  const all = [];
  let after;
  do {
    const found = /** @type {{ data: Calls.Item<Path>[], next: string | null }} */ (await page.api.request(`GET ${list}`, { query: { ...query, limit: 100, after } }));
    all.push(...found.data);
    after = found.next;
  } while (after && all.length < 2000);
  return all;
}

export const toOptions = (/** @type {{ name: string, description: string | null }[]} */ items) => items.map(({ name, description }) => ({ value: name, hint: description }));

/** @param {"user" | "organization" | "service_client"} [owner] */
export const permissionOptions = (owner) => async (/** @type {PageView} */ page) => toOptions(await loadAll(page, "permissions", { assignable_to: owner }));

export const roleOptions = async (/** @type {PageView} */ page) => toOptions(await loadAll(page, "roles"));
