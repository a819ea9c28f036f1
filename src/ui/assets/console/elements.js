// Small elements that several views use.

/** @import { Child, Children } from "../widget/dom.js" */
import { h } from "../widget/dom.js";
import { formatAddress } from "./address.js";
import { texts } from "./texts.js";

/**
 * @param {Children} text
 * @param {Parameters<typeof formatAddress>} to
 */
export const link = (text, ...to) => h("a", { href: formatAddress(...to) }, text);

/**
 * @param {string} state
 * @param {string} [text]
 */
export const badge = (state, text = lookUp(texts.states, state)) => h("span", { class: `badge ${state}` }, text);

// Returns the text for a value of /v1, or the value itself if it has none.
/**
 * @param {Record<string, string>} labels
 * @param {string} value
 */
export const lookUp = (labels, value) => (Object.hasOwn(labels, value) ? labels[value] : value);

// The first names, and the number of the others.
/**
 * @param {string[] | null} names
 * @param {string} [none]
 * @returns {Children}
 */
export function tags(names, none = "", shown = 4) {
  if (!names?.length) return h("span", { class: "quiet" }, none);
  const rest = names.slice(shown);
  return [names.slice(0, shown).map((name) => h("span", { class: "tag" }, name)), rest.length > 0 && h("span", { class: "tag", title: rest.join(", ") }, texts.andMore(rest.length))];
}

// Generated ids are long. A ULID keeps its prefix and last 6 characters, a key thumbprint its first
// 8. The title attribute contains the full id.
/** @param {string} id */
export function shortId(id) {
  const short = id.replace(/^([a-z]+_)[0-9A-Z]{20}([0-9A-Z]{6})$/, "$1…$2").replace(/^([\w-]{8})[\w-]{35}$/, "$1…");
  return h("span", { class: short === id ? "full" : "id", title: id }, short);
}

/** @type {Record<string, string>} */
const DETAIL_VIEWS = { user: "users", organization: "organizations", api_key: "keys", webhook: "webhooks" };
/** @type {Record<string, string>} */
const LIST_VIEWS = { service_client: "service-clients", role: "roles", permission: "permissions", audience: "audiences", access_record: "access-records", signing_key: "signing-keys" };

/** @typedef {{ type: string, id: string | null }} Entity */

// An actor, owner or subject, with a link to its view.
/** @param {Entity} entity */
export function entityLink({ type, id }) {
  if (!id) return h("span", {}, lookUp(texts.kinds, type));
  if (Object.hasOwn(DETAIL_VIEWS, type)) return link(shortId(id), DETAIL_VIEWS[type], id);
  if (Object.hasOwn(LIST_VIEWS, type)) return link(shortId(id), LIST_VIEWS[type]);
  return shortId(id);
}

// An actor without a link.
/** @param {Entity} actor */
export const actorText = ({ type, id }) => h("span", { class: "by" }, texts.byActor, " ", id ? shortId(id) : lookUp(texts.creators, type));

/** @typedef {[string, ...Children[]] | false | null | undefined | ""} Attribute */

// The attributes of an item as a description list.
/**
 * @param {Attribute[]} pairs
 * @param {string} [style]
 */
export const attributeList = (pairs, style = "attributes") => h("dl", { class: style }, pairs.filter((pair) => pair).map((pair) => {
  const [name, ...value] = /** @type {[string, ...Children[]]} */ (pair);
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}));

/**
 * @param {Children} title
 * @param {Children[]} content
 */
export const panel = (title, ...content) => h("section", { class: "panel" }, title && h("h2", {}, title), content);

// A panel with controls beside its title.
/**
 * @param {string} title
 * @param {Child} controls
 * @param {Children[]} content
 */
export const panelWithControls = (title, controls, ...content) => h("section", { class: "panel" }, h("div", { class: "top" }, h("h2", {}, title), controls), content);

export const emptyState = (/** @type {string} */ text) => h("p", { class: "message" }, text);

// Buttons of which one is pressed.
/**
 * @template {string} Value
 * @param {string} label
 * @param {Record<Value, string>} options
 * @param {Value} selected
 * @param {(value: Value) => unknown} onSelect
 */
export function buttonGroup(label, options, selected, onSelect) {
  const values = /** @type {Value[]} */ (Object.keys(options));
  const buttons = values.map((value) => h("button", { type: "button", onclick: () => { press(value); onSelect(value); } }, options[value]));
  const press = (/** @type {Value} */ value) => buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(values[index] === value)));
  press(selected);
  return h("div", { class: "group", role: "group", "aria-label": label }, buttons);
}

// Formats a duration of /v1 ("2months 29days 2h 52m 48s" is 90 days) in days if it is a whole
// number of days.
const SECONDS = { year: 31_557_600, month: 2_630_016, day: 86_400, h: 3600, m: 60, s: 1 };
/** @param {string} text */
export function formatDuration(text) {
  const parts = [...text.matchAll(/(\d+)(year|month|day|h|m(?!s)|s)/g)];
  const days = parts.reduce((sum, [, count, unit]) => sum + Number(count) * SECONDS[/** @type {keyof typeof SECONDS} */ (unit)], 0) / SECONDS.day;
  return Number.isInteger(days) && days > 0 ? texts.days(days) : text;
}

// Sets custom properties through the CSSOM, because the Content-Security-Policy forbids inline
// styles.
/**
 * @template {HTMLElement} Target
 * @param {Target} element
 * @param {Record<string, string>} properties
 */
export function setStyle(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
  return element;
}
