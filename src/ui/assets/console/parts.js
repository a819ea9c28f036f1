// Small elements that several views use.

import { h } from "../widget/dom.js";
import { ago, exactly } from "../widget/when.js";
import { address } from "./address.js";
import { texts } from "./texts.js";

export const time = (text, none = texts.never) => (text ? h("time", { datetime: text, title: exactly(text) }, ago(text)) : h("span", { class: "quiet" }, none));

export const link = (text, ...to) => h("a", { href: address(...to) }, text);

export const badge = (state, text = texts.states[state] ?? state) => h("span", { class: `badge ${state}` }, text);

// The first names, and the number of the others.
export function tags(names, none = "", most = 4) {
  if (!names?.length) return h("span", { class: "quiet" }, none);
  const rest = names.slice(most);
  return [names.slice(0, most).map((name) => h("span", { class: "tag" }, name)), rest.length > 0 && h("span", { class: "tag", title: rest.join(", ") }, texts.andMore(rest.length))];
}

// Generated ids are long. A ULID keeps its prefix and last 6 characters, a key thumbprint its first
// 8. The title attribute contains the full id.
const shorter = (id) => id.replace(/^([a-z]+_)[0-9A-Z]{20}([0-9A-Z]{6})$/, "$1…$2").replace(/^([\w-]{8})[\w-]{35}$/, "$1…");

export const idOf = (id) => h("span", { class: shorter(id) === id ? "whole" : "id", title: id }, shorter(id));

const views = { user: "users", organization: "organizations", api_key: "keys", webhook: "webhooks" };
const listed = { service_client: "service-clients", role: "roles", permission: "permissions", audience: "audiences", access_record: "access-records", signing_key: "signing-keys" };

// An actor, owner or subject, with a link to its view.
export function whom({ type, id }, none = type) {
  if (!id) return h("span", {}, texts.kinds[none] ?? none);
  if (Object.hasOwn(views, type)) return link(idOf(id), views[type], id);
  if (Object.hasOwn(listed, type)) return link(idOf(id), listed[type]);
  return idOf(id);
}

// An actor without a link.
export const byWhom = ({ type, id }) => h("span", { class: "by" }, texts.by_, " ", id ? idOf(id) : texts.makers[type] ?? type);

// The attributes of an item as a description list.
export const facts = (...pairs) => list("facts", pairs);
export const wideFacts = (...pairs) => list("facts wide", pairs);

const list = (style, pairs) => h("dl", { class: style }, pairs.filter(Boolean).map(([name, ...value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

export const panel = (title, ...content) => h("section", { class: "panel" }, title && h("h2", {}, title), content);

// Formats a duration of /v1 ("2months 29days 2h 52m 48s" is 90 days) in days if it is a whole
// number of days.
const SECONDS = { year: 31_557_600, month: 2_630_016, day: 86_400, h: 3600, m: 60, s: 1 };
export function length(text) {
  const parts = [...text.matchAll(/(\d+)(year|month|day|h|m(?!s)|s)/g)];
  const days = parts.reduce((sum, [, count, unit]) => sum + count * SECONDS[unit], 0) / SECONDS.day;
  return Number.isInteger(days) && days > 0 ? texts.days(days) : text;
}

// Sets custom properties through the CSSOM, because the Content-Security-Policy forbids inline
// styles.
export function sized(element, lengths) {
  for (const [name, value] of Object.entries(lengths)) element.style.setProperty(name, value);
  return element;
}

// Returns all strings in a value, recursively and in lower case, for searching.
export function words(value) {
  if (typeof value === "string") return [value.toLowerCase()];
  return value && typeof value === "object" ? Object.values(value).flatMap(words) : [];
}
