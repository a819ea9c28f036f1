// The list of all keys, with filters.

import { DAY } from "../widget/when.js";
import { button, field, h } from "../widget/dom.js";
import { address } from "./address.js";
import { KEYS } from "./permitted.js";
import { createKey } from "./key_form.js";
import { badge, byWhom, link, tags, time, whom } from "./parts.js";
import { Table } from "./table.js";
import { texts } from "./texts.js";

const { columns } = texts;

// Returns the replaced value that is still valid, if there is one.
export const oldValue = (key) => key.credentials.find((one) => key.credentials.length > 1 && one.expires_at && Date.parse(one.expires_at) > Date.now());

// The newer value was created when the older one was replaced.
export const stillUsed = (key) => {
  const old = oldValue(key);
  const replaced = Math.max(...key.credentials.map((one) => Date.parse(one.created_at)));
  return Boolean(old?.last_used_at) && Date.parse(old.last_used_at) > replaced;
};

const soonOver = (key) => key.expires_at && Date.parse(key.expires_at) - Date.now() < 14 * DAY;
const since = (days) => new Date(Date.now() - days * DAY).toISOString();

// `query` is sent to /v1. `fits` filters the response.
const ONLY = {
  any: {},
  unused30: { query: () => ({ unused_since: since(30) }) },
  unused90: { query: () => ({ unused_since: since(90) }) },
  expiring: { fits: soonOver },
  old: { fits: stillUsed },
};

const STATES = { active: { state: "active" }, suspended: { state: "suspended" }, expired: { state: "expired" }, revoked: { state: "revoked" }, all: {}, deleted: { archived: true } };

const name = (key) => {
  const old = oldValue(key);
  return [link(key.name, "keys", key.id), h("code", { class: "masked" }, key.masked ?? ""), old && h("small", { class: stillUsed(key) ? "warn" : undefined }, stillUsed(key) ? texts.oldInUse(old.expires_at) : texts.rotatingUntil(old.expires_at))];
};

const owner = { title: columns.owner, show: ({ owner }) => [whom(owner, "nobody"), owner.type !== "none" && h("small", {}, texts.owners[owner.type] ?? owner.type, owner.type === "user" && owner.organization_id && texts.atOrganization(owner.organization_id))] };

const shown = [
  { title: columns.name, show: name },
  owner,
  { title: columns.permissions, show: (key) => tags(key.permissions, texts.none, 2) },
  { title: columns.created, show: (key) => [time(key.created_at), h("small", {}, byWhom(key.created_by))] },
  { title: columns.used, show: (key) => time(key.last_used_at) },
  { title: columns.expires, show: (key) => time(key.expires_at) },
  { title: columns.state, show: (key) => badge(key.state) },
];

const keyTable = (page, more) => new Table(page, { path: "api-keys", columns: shown, label: texts.views.keys, none: texts.noneYet.key, ...more });

// The keys of one owner, for the view of that owner.
export async function keysOf(page, query) {
  if (!page.may(...KEYS)) return undefined;
  const table = keyTable(page, { query: () => query, columns: shown.filter((column) => column !== owner || query.organization) });
  await table.lookAgain();
  return h("section", { class: "panel" }, h("div", { class: "top" }, h("h2", {}, texts.views.keys), h("a", { href: address("keys", undefined, { ...query, state: "all" }) }, texts.filterThem)), table.element);
}

const select = (label, options, value, changed) => {
  const control = h("select", {}, Object.entries(options).map(([value, text]) => h("option", { value }, text)));
  control.value = value;
  control.addEventListener("change", () => changed(control.value));
  return field(label, control).element;
};

const text = (label, value, changed) => {
  const control = h("input", { type: "search", value: value ?? "", autocomplete: "off", spellcheck: "false" });
  control.addEventListener("change", () => changed(control.value.trim()));
  return field(label, control).element;
};

const among = (choices, value, otherwise) => (Object.hasOwn(choices, value ?? "") ? value : otherwise);

export async function show(page) {
  const { query } = page;
  const filter = { only: among(ONLY, query.only, "any"), state: among(STATES, query.state, "active"), owner_type: among(texts.owners, query.owner_type, ""), organization: query.organization, user: query.user, service_client: query.service_client };
  const asked = () => ({ ...STATES[filter.state], ...ONLY[filter.only].query?.(), owner_type: filter.owner_type, organization: filter.organization, user: filter.user, service_client: filter.service_client });
  const table = keyTable(page, { query: asked, fits: (key) => !ONLY[filter.only].fits || ONLY[filter.only].fits(key) });
  // The address contains the filter, so that it can be shared.
  const set = (member) => (value) => {
    filter[member] = page.query[member] = value;
    const said = Object.fromEntries(Object.entries(filter).filter(([, one]) => one && one !== "any"));
    history.replaceState(null, "", address("keys", undefined, said));
    table.lookAgain();
  };
  await table.look();
  const tools = [
    table.searchField(),
    select(columns.state, texts.keyStates, filter.state, set("state")),
    select(texts.filter, texts.only, filter.only, set("only")),
    select(columns.owner, { "": texts.anyone, ...texts.keyOwners }, filter.owner_type, set("owner_type")),
    text(columns.organization, filter.organization, set("organization")),
    text(columns.user, filter.user, set("user")),
    filter.service_client && text(texts.owners.service_client, filter.service_client, set("service_client")),
  ];
  const create = button(texts.make.key, () => createKey(page).catch((error) => page.failed(error)), { class: "primary" });
  page.draw({ title: texts.views.keys, help: texts.helps.keys, actions: create }, h("div", { class: "panel" }, h("div", { class: "tools dense", role: "search" }, tools), table.element));
}
