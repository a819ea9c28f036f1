// The list of all keys, with filters.

/** @import { Column, TableOptions } from "../widget/list_table.js" */
/** @import { PageView } from "./page_view.js" */
import { field, h, select } from "../widget/dom.js";
import { isExpiring, replacedCredential } from "../widget/keys_view.js";
import { daysFromNow, time } from "../widget/time.js";
import { formatAddress } from "./address.js";
import { actorText, badge, entityLink, link, panelWithControls, tags } from "./elements.js";
import { createKey } from "./key_form.js";
import { KEY_MANAGEMENT } from "./permission_names.js";
import { texts } from "./texts.js";

const { columns } = texts;

// Returns the replaced value that is still valid, if there is one.
/** @param {V1.ApiKey} key */
export function validReplacedCredential(key) {
  const old = replacedCredential(key);
  return old?.expires_at && Date.parse(old.expires_at) > Date.now() ? { ...old, expires_at: old.expires_at } : undefined;
}

// The newer value was created when the older one was replaced.
/** @param {V1.ApiKey} key */
export function isOldValueInUse(key) {
  const old = validReplacedCredential(key);
  const replaced = Math.max(...key.credentials.map(({ created_at }) => Date.parse(created_at)));
  return Boolean(old?.last_used_at) && Date.parse(old?.last_used_at ?? "") > replaced;
}

// `query` is sent to /v1. `matches` filters the response.
/** @type {Record<keyof typeof texts.keyFilters, { query?: () => Record<string, string>, matches?: (key: V1.ApiKey) => boolean }>} */
const FILTERS = {
  any: {},
  unused30: { query: () => ({ unused_since: daysFromNow(-30) }) },
  unused90: { query: () => ({ unused_since: daysFromNow(-90) }) },
  expiring: { matches: isExpiring },
  old: { matches: isOldValueInUse },
};

/** @type {Record<keyof typeof texts.keyStates, { state?: V1.KeyState, archived?: boolean }>} */
const STATES = { active: { state: "active" }, suspended: { state: "suspended" }, expired: { state: "expired" }, revoked: { state: "revoked" }, all: {}, deleted: { archived: true } };

/** @param {V1.ApiKey} key */
function nameCell(key) {
  const old = validReplacedCredential(key);
  const isInUse = isOldValueInUse(key);
  return [
    link(key.name, "keys", key.id),
    h("code", { class: "masked" }, key.masked),
    old && h("small", { class: isInUse && "warn" }, isInUse ? texts.oldValueInUse(old.expires_at) : texts.oldValueUntil(old.expires_at)),
  ];
}

/** @type {Column<V1.ApiKey>} */
const ownerColumn = {
  title: columns.owner,
  show: ({ owner }) => [entityLink(owner), owner.type !== "none" && h("small", {}, texts.owners[owner.type], owner.type === "user" && owner.organization_id && texts.inOrganization(owner.organization_id))],
};

/** @type {Column<V1.ApiKey>[]} */
const keyColumns = [
  { title: columns.name, show: nameCell },
  ownerColumn,
  { title: columns.permissions, show: (key) => tags(key.permissions, texts.none, 2) },
  { title: columns.created, show: (key) => [time(key.created_at), h("small", {}, actorText(key.created_by))] },
  { title: columns.used, show: (key) => time(key.last_used_at) },
  { title: columns.expires, show: (key) => time(key.expires_at) },
  { title: columns.state, show: (key) => badge(key.state) },
];

/**
 * @param {PageView} page
 * @param {Partial<TableOptions<"api-keys">>} options
 */
const keyTable = (page, options) => page.createTable({ list: "api-keys", columns: keyColumns, label: texts.views.keys, ...options, emptyText: () => texts.empty.key });

// The keys of one owner, for the view of that owner.
/**
 * @param {PageView} page
 * @param {{ user: string } | { organization: string }} owner
 */
export async function keysPanel(page, owner) {
  if (!page.hasPermission(...KEY_MANAGEMENT)) return undefined;
  const table = keyTable(page, { query: () => owner, columns: keyColumns.filter((column) => column !== ownerColumn || "organization" in owner) });
  await table.reload();
  return panelWithControls(texts.views.keys, link(texts.showAll, "keys", undefined, { ...owner, state: "all" }), table.element);
}

/**
 * @template {object} Choices
 * @template {keyof Choices} Default
 * @param {Choices} choices
 * @param {string | undefined} value
 * @param {Default} otherwise
 */
const chooseKey = (choices, value, otherwise) => /** @type {keyof Choices} */ (Object.hasOwn(choices, value ?? "") ? value : otherwise);

/** @param {PageView} page */
export async function showKeys(page) {
  const { query } = page;
  /** @type {Record<string, string | undefined> & { only: keyof typeof FILTERS, state: keyof typeof STATES }} */
  const filter = {
    only: chooseKey(FILTERS, query.only, "any"),
    state: chooseKey(STATES, query.state, "active"),
    owner_type: chooseKey(texts.keyOwners, query.owner_type, ""),
    organization: query.organization,
    user: query.user,
    service_client: query.service_client,
  };
  const table = keyTable(page, {
    query: () => {
      const { only, state, ...owner } = filter;
      return { ...STATES[state], ...FILTERS[only].query?.(), ...owner };
    },
    matches: (key) => FILTERS[filter.only].matches?.(key) ?? true,
  });
  // The address contains the filter, so that it can be shared.
  const set = (/** @type {string} */ member) => (/** @type {string} */ value) => {
    Object.assign(filter, { [member]: value });
    query[member] = value;
    const parameters = Object.entries(filter).flatMap(([name, value]) => (value && value !== "any" ? [[name, value]] : []));
    history.replaceState(null, "", formatAddress("keys", undefined, Object.fromEntries(parameters)));
    table.reload();
  };
  const choice = (/** @type {string} */ label, /** @type {Record<string, string>} */ options, /** @type {string} */ member) =>
    field(label, select(options, filter[member] ?? "", set(member))).element;
  const text = (/** @type {string} */ label, /** @type {string} */ member) => {
    const control = h("input", { type: "search", value: filter[member] ?? "", autocomplete: "off", spellcheck: "false" });
    control.addEventListener("change", () => set(member)(control.value.trim()));
    return field(label, control).element;
  };
  await table.load();
  const tools = [
    table.searchField(),
    choice(columns.state, texts.keyStates, "state"),
    choice(texts.filter, texts.keyFilters, "only"),
    choice(columns.owner, texts.keyOwners, "owner_type"),
    text(columns.organization, "organization"),
    text(columns.user, "user"),
    filter.service_client && text(texts.owners.service_client, "service_client"),
  ];
  const create = page.button(texts.createTitles.key, () => createKey(page), { class: "primary" });
  page.draw({ title: texts.views.keys, help: texts.viewHelp.keys, actions: create }, h("div", { class: "panel" }, h("div", { class: "tools dense", role: "search" }, tools), table.element));
}
