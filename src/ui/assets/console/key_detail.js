// Details of a key: its attributes, the use of replaced values, its usage by day, and its events.

/** @import { PageView } from "./page_view.js" */
import { ApiError } from "../widget/api.js";
import { cell, h, table } from "../widget/dom.js";
import { confirmByTyping } from "../widget/form_dialog.js";
import { revokeKey, rotateKey } from "../widget/key_dialogs.js";
import { time } from "../widget/time.js";
import { formatAddress } from "./address.js";
import { AuditLogReader } from "./audit_log.js";
import { stackedColumns } from "./chart.js";
import { confirmChange } from "./confirmation.js";
import { actorText, badge, entityLink, attributeList, link, panel, tags } from "./elements.js";
import { eventList } from "./event_list.js";
import { changeKey } from "./key_form.js";
import { isOldValueInUse, validReplacedCredential } from "./key_list.js";
import { texts } from "./texts.js";

const { columns, fields } = texts;

// /v1 returns deleted keys only with `archived`.
/** @param {PageView} page */
async function loadKey(page) {
  const path = { id: page.id };
  try {
    return await page.api.call("GET api-keys/{id}", { path });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    return page.api.call("GET api-keys/{id}", { path, query: { archived: true } });
  }
}

/**
 * @param {PageView} page
 * @param {V1.ApiKey} key
 * @param {keyof typeof texts.keySteps} step
 */
const confirmStep = (page, { id, name, version }, step) =>
  confirmChange(page, texts.keySteps[step], name, () => page.api.call(`POST api-keys/{id}/${step}`, { path: { id }, version }));

/**
 * @param {PageView} page
 * @param {V1.ApiKey} key
 */
async function deleteKey(page, { id, name, version }) {
  const labels = { title: texts.deleteTitle(name), help: texts.deleteHelp.key, word: name, submit: texts.delete };
  if (await confirmByTyping(page, labels, () => page.api.call("DELETE api-keys/{id}", { path: { id }, version }))) location.hash = formatAddress("keys");
}

/**
 * @param {PageView} page
 * @param {V1.ApiKey} key
 */
function keyActions(page, key) {
  if (key.archived_at) return undefined;
  const [isActive, isSuspended] = [key.state === "active", key.state === "suspended"];
  const isEnded = !isActive && !isSuspended;
  const action = (/** @type {string} */ text, /** @type {boolean} */ isOffered, /** @type {() => Promise<unknown>} */ act, properties = {}) =>
    isOffered && page.button(text, act, { "aria-label": `${text} ${key.name}`, ...properties });
  return [
    action(texts.actions.rotate, isActive, async () => (await rotateKey(page, key)) && page.reportChange(texts.changes.rotated(key.name)), { class: "primary" }),
    action(texts.keySteps["cancel-rotation"].submit, Boolean(validReplacedCredential(key)), () => confirmStep(page, key, "cancel-rotation")),
    action(texts.edit, !isEnded, () => changeKey(page, key)),
    action(texts.actions.suspend, isActive, () => confirmStep(page, key, "suspend")),
    action(texts.actions.resume, isSuspended, () => confirmStep(page, key, "resume")),
    action(texts.actions.revoke, !isEnded, async () => (await revokeKey(page, key)) && page.reportChange(texts.changes.revoked(key.name))),
    action(texts.delete, isEnded, () => deleteKey(page, key)),
  ];
}

// Lists the values, newest first. An older value shows whether a client still uses it.
/** @param {V1.ApiKey} key */
function credentialsPanel(key) {
  const rows = key.credentials.map(({ id, expires_at, last_used_at }) => {
    const isOld = expires_at && key.credentials.length > 1;
    const state = !isOld ? texts.current : isOldValueInUse(key) ? h("span", { class: "warn" }, texts.stillUsed) : texts.notUsed;
    return h("tr", {}, h("th", { scope: "row" }, h("code", {}, id)), cell(columns.state, state), cell(columns.used, time(last_used_at)), cell(columns.worksUntil, time(expires_at, texts.noEnd)));
  });
  const titles = [columns.value, columns.state, columns.used, columns.worksUntil];
  return panel(texts.values, h("p", { class: "hint" }, texts.valuesHelp), table({ "aria-label": texts.values }, titles, rows));
}

/** @param {V1.KeyUsage} usage */
function usagePanel({ data }) {
  const days = [...data].reverse();
  const [long, short] = /** @type {Intl.DateTimeFormatOptions[]} */ ([{ dateStyle: "medium" }, { month: "short", day: "numeric" }]).map((options) => new Intl.DateTimeFormat(undefined, { ...options, timeZone: "UTC" }));
  const total = days.reduce((sum, { uses }) => sum + uses, 0);
  const buckets = days.map(({ day, uses }) => ({ label: long.format(new Date(day)), short: short.format(new Date(day)), values: [uses] }));
  return panel(texts.usage, h("p", { class: "hint" }, texts.usageHelp(total)), stackedColumns(buckets, [{ tone: "granted", text: texts.uses }], { label: texts.usage, when: columns.day, isLow: true }));
}

/** @param {V1.ApiKey} key */
function keyAttributes(key) {
  const { type, organization_id } = key.owner;
  return attributeList([
    key.description && [fields.description, key.description],
    [columns.state, key.archived_at ? badge("revoked", texts.keyStates.deleted) : [badge(key.state), key.state_reason && h("small", {}, key.state_reason)]],
    [columns.key, h("code", {}, key.masked)],
    [columns.id, h("code", {}, key.id)],
    [columns.owner, entityLink(key.owner), organization_id && type !== "organization" && [texts.inOrganization(""), link(organization_id, "organizations", organization_id)]],
    [columns.permissions, tags(key.permissions, texts.none, 50)],
    [columns.created, time(key.created_at), " ", actorText(key.created_by)],
    [columns.used, time(key.last_used_at)],
    [columns.expires, time(key.expires_at)],
    key.audiences && [fields.audiences, key.audiences.map((audience) => h("code", {}, audience))],
    key.max_token_ttl && [fields.maxTokenTtl, key.max_token_ttl],
    key.exchanges_per_minute !== null && [fields.exchangesPerMinute, String(key.exchanges_per_minute)],
    key.record_bound && [fields.recordBound, fields.recordBoundHint],
    Object.keys(key.metadata).length > 0 && [fields.metadata, h("code", {}, JSON.stringify(key.metadata))],
  ]);
}

/** @param {PageView} page */
export async function showKey(page) {
  const key = await loadKey(page);
  const log = page.hasPermission("keyswap:events") ? new AuditLogReader(page.api, { subject: key.id }) : undefined;
  const [usage, events] = await Promise.all([
    key.archived_at ? undefined : page.api.call("GET api-keys/{id}/usage", { path: { id: key.id }, query: { days: 30 } }),
    log?.readOlder(20),
  ]);
  page.draw(
    { title: key.name, back: "keys", actions: keyActions(page, key) },
    h("div", { class: "split" }, panel("", keyAttributes(key)), usage && usagePanel(usage)),
    key.credentials.length > 0 && credentialsPanel(key),
    events && panel(texts.keyEvents, eventList(events, texts.noEvents)),
  );
}
