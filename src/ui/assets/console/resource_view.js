// Generic views of one type of item in /v1, described as data: its list, its details, and the forms
// that create, change and delete items.

/** @import { Children } from "../widget/dom.js" */
/** @import { Column } from "../widget/list_table.js" */
/** @import { FieldSpec } from "./form.js" */
/** @import { PageView, View } from "./page_view.js" */
import { ApiError, createIdempotencyKeys } from "../widget/api.js";
import { h } from "../widget/dom.js";
import { confirmByTyping, openFormDialog } from "../widget/form_dialog.js";
import { formatAddress } from "./address.js";
import { link, lookUp } from "./elements.js";
import { createForm } from "./form.js";
import { texts } from "./texts.js";

// `Extra` are the names of fields that are not members of a body.
/**
 * @template {Calls.Collection} Path
 * @template {string} [Extra=never]
 * @typedef {object} Kind
 * @property {keyof typeof texts.createTitles} name
 * @property {Path} list
 * @property {Record<string, string>} [path] the parameters of `list`
 * @property {Extra} [putBy] the field with the id, if the caller chooses it
 * @property {boolean} [isReplaced] changed by PUT, not by PATCH
 * @property {boolean} [isMembership] removed rather than deleted
 * @property {string} [changePermission]
 * @property {string} [deleteHelp]
 * @property {(item: Calls.Item<Path>) => string} [getTitle]
 * @property {(item: Calls.Item<Path>) => boolean} [isFixed]
 * @property {(item: Calls.Item<Path>) => boolean} [isPermanent] cannot be deleted
 * @property {(page: PageView, item: Calls.Item<Path>) => Promise<Children>} [showDetails]
 * @property {(page: PageView, item: Calls.Item<Path>) => unknown} [onCreated]
 * @property {(page: PageView, item: Calls.Item<Path>) => { text: string, act: () => Promise<unknown> }[]} [getActions]
 * @property {Column<Calls.Item<Path>>[]} columns
 * @property {FieldSpec<Calls.BodyMember<Path> | Extra>[]} fields
 * @property {(values: Record<string, unknown>) => Record<string, unknown>} [toBody]
 */

/** @typedef {Record<string, string> & { version: number }} AnyItem */

/**
 * @template {Calls.Collection} Path
 * @param {Kind<Path, string>} kind
 * @param {Calls.Item<Path>} item
 */
const idOf = (kind, item) => /** @type {AnyItem} */ (item)[kind.putBy ?? "id"];

/**
 * @template {Calls.Collection} Path
 * @param {Kind<Path, string>} kind
 * @param {Calls.Item<Path>} item
 */
const titleOf = (kind, item) => kind.getTitle?.(item) ?? /** @type {AnyItem} */ (item).name ?? idOf(kind, item);

/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Kind<Path, string>} kind
 */
const canChange = (page, kind) => !kind.changePermission || page.hasPermission(kind.changePermission);

// Calls an operation on one item.
/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Kind<Path, string>} kind
 * @param {string} method
 * @param {string} item
 * @param {{ body?: unknown, version?: number }} [options]
 */
const callItem = async (page, kind, method, item, options) =>
  /** @type {Calls.Item<Path>} */ (await page.api.request(`${method} ${kind.list}/{item}`, { ...options, path: { ...kind.path, item } }));

// Items with an id chosen by the caller are created by PUT. An existing item must not be replaced.
/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Kind<Path, string>} kind
 * @param {string} id
 * @param {Record<string, unknown>} body
 */
async function put(page, kind, id, body) {
  const existing = await callItem(page, kind, "GET", id).catch((error) => {
    if (error.status !== 404) throw error;
  });
  if (existing) throw new ApiError(409, { detail: texts.alreadyExists(id) });
  return callItem(page, kind, "PUT", id, { body });
}

/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Kind<Path, string>} kind
 */
export async function createItem(page, kind) {
  const { elements, read } = await createForm(page, kind.fields);
  const idempotencyKeyOf = createIdempotencyKeys();
  const created = await openFormDialog(page, { title: texts.createTitles[kind.name], submit: texts.create }, elements, async () => {
    const values = read();
    if (!values) return undefined;
    const body = kind.toBody?.(values) ?? values;
    if (!kind.putBy) return /** @type {Calls.Item<Path>} */ (await page.api.request(`POST ${kind.list}`, { body, idempotencyKey: idempotencyKeyOf(body) }));
    const { [kind.putBy]: id, ...others } = body;
    return put(page, kind, String(id), others);
  });
  if (!created) return;
  await kind.onCreated?.(page, created);
  if (kind.showDetails) location.hash = formatAddress(kind.list, idOf(kind, created));
  else await page.reportChange(texts.created(titleOf(kind, created)));
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// PATCH merges objects (RFC 7396): a member that the user removed is sent as `null`.
/**
 * @param {unknown} before
 * @param {unknown} after
 * @returns {unknown}
 */
function createMergePatch(before, after) {
  if (!isObject(before) || !isObject(after)) return after;
  const removed = Object.keys(before).filter((name) => !(name in after)).map((name) => [name, null]);
  return Object.fromEntries([...removed, ...Object.entries(after).map(([name, value]) => [name, createMergePatch(before[name], value)])]);
}

/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Kind<Path, string>} kind
 * @param {Calls.Item<Path>} item
 */
async function changeItem(page, kind, item) {
  const { elements, read } = await createForm(page, kind.fields, /** @type {object} */ (item));
  const { version, ...members } = /** @type {AnyItem & Record<string, unknown>} */ (item);
  const changed = await openFormDialog(page, { title: texts.changeTitle(titleOf(kind, item)), submit: texts.save }, elements, async () => {
    const values = read();
    if (!values) return undefined;
    const body = kind.toBody?.(values) ?? values;
    if (kind.isReplaced) return callItem(page, kind, "PUT", idOf(kind, item), { body, version });
    const patch = Object.entries(body).map(([name, value]) => [name, createMergePatch(members[name], value)]);
    return callItem(page, kind, "PATCH", idOf(kind, item), { body: Object.fromEntries(patch), version });
  });
  if (changed) await page.reportChange(texts.changed(titleOf(kind, changed)));
}

/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Kind<Path, string>} kind
 * @param {Calls.Item<Path>} item
 */
async function deleteItem(page, kind, item) {
  const word = titleOf(kind, item);
  const [title, submit, report] = kind.isMembership ? [texts.removeTitle, texts.remove, texts.removed] : [texts.deleteTitle, texts.delete, texts.deleted];
  const { version } = /** @type {AnyItem} */ (item);
  const labels = { title: title(word), help: kind.deleteHelp ?? texts.cannotBeUndone, word, submit };
  if (!(await confirmByTyping(page, labels, () => callItem(page, kind, "DELETE", idOf(kind, item), { version })))) return;
  if (kind.showDetails) location.hash = formatAddress(kind.list);
  else await page.reportChange(report(word));
}

// The actions for an item. Labels contain its title, because a list contains many items.
/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Kind<Path, string>} kind
 * @param {Calls.Item<Path>} item
 */
export function itemActions(page, kind, item) {
  if (!canChange(page, kind) || kind.isFixed?.(item)) return undefined;
  const action = (/** @type {string} */ text, /** @type {() => Promise<unknown>} */ act) => page.button(text, act, { "aria-label": `${text} ${titleOf(kind, item)}` });
  return [
    action(texts.edit, () => changeItem(page, kind, item)),
    kind.getActions?.(page, item).map(({ text, act }) => action(text, act)),
    !kind.isPermanent?.(item) && action(kind.isMembership ? texts.remove : texts.delete, () => deleteItem(page, kind, item)),
  ];
}

/**
 * @template {Calls.Collection} Path
 * @param {PageView} page
 * @param {Kind<Path, string>} kind
 * @param {string} label
 */
export function itemTable(page, kind, label) {
  const [first, ...others] = kind.columns;
  const linked = { title: first.title, show: (/** @type {Calls.Item<Path>} */ item) => link(first.show(item), kind.list, idOf(kind, item)) };
  return page.createTable({
    list: kind.list,
    path: kind.path,
    label,
    emptyText: () => texts.empty[kind.name],
    ...(kind.showDetails ? { columns: [linked, ...others] } : { columns: kind.columns, actions: (/** @type {Calls.Item<Path>} */ item) => itemActions(page, kind, item) }),
  });
}

/**
 * @template {Calls.Collection} Path
 * @param {Kind<Path, string>} kind
 * @returns {View}
 */
export const listView = (kind) => async (page) => {
  const title = lookUp(texts.views, kind.list);
  const table = itemTable(page, kind, title);
  await table.load();
  const create = canChange(page, kind) && page.button(texts.createTitles[kind.name], () => createItem(page, kind), { class: "primary" });
  page.draw({ title, help: lookUp(texts.viewHelp, kind.list), actions: create }, h("div", { class: "panel" }, h("div", { class: "tools", role: "search" }, table.searchField()), table.element));
};

/**
 * @template {Calls.Collection} Path
 * @param {Kind<Path, string>} kind
 * @returns {View}
 */
export const detailView = (kind) => async (page) => {
  const item = await callItem(page, kind, "GET", page.id);
  page.draw({ title: titleOf(kind, item), back: kind.list, actions: itemActions(page, kind, item) }, await kind.showDetails?.(page, item));
};
