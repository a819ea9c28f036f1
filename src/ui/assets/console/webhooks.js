// Webhooks: the receivers of events, and their deliveries.

/** @import { PageView } from "./page_view.js" */
/** @import { Kind } from "./resource_view.js" */
import { h } from "../widget/dom.js";
import { openFormDialog } from "../widget/form_dialog.js";
import { showSecret } from "../widget/secret_dialog.js";
import { time } from "../widget/time.js";
import { confirmChange, reportLostSecret, showMessage } from "./confirmation.js";
import { badge, entityLink, attributeList, panel, tags } from "./elements.js";
import { eventTypes } from "./event_types.js";
import { createForm } from "./form.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const state = (/** @type {V1.Webhook} */ webhook) => badge(webhook.state === "enabled" ? "active" : "suspended", texts.webhookStates[webhook.state]);

/**
 * @param {PageView} page
 * @param {V1.Webhook} webhook
 */
const showWebhookSecret = (page, { description, secret }) =>
  secret ? showSecret(page, { name: description ?? "webhook", value: secret }, texts.webhookSecret) : reportLostSecret(page);

/**
 * @param {PageView} page
 * @param {V1.Webhook} webhook
 */
function toggleEnabled(page, { id, state, description, url, version }) {
  const isEnabled = state === "enabled";
  const send = () => page.api.call("PATCH webhooks/{id}", { path: { id }, body: { state: isEnabled ? "disabled" : "enabled" }, version });
  return isEnabled ? confirmChange(page, texts.disableWebhook, description ?? url, send) : page.perform(() => send().then(() => texts.webhookEnabled));
}

/**
 * @param {PageView} page
 * @param {V1.Webhook} webhook
 */
const sendTest = (page, { id }) => page.perform(async () => {
  const { delivered, status, error, took_ms } = await page.api.call("POST webhooks/{id}/test", { path: { id } });
  await showMessage(page, delivered ? texts.testDelivered : texts.testFailed, attributeList([
    [fields.response, status === null ? texts.noResponse : String(status)],
    error && [fields.error, error],
    [fields.duration, texts.milliseconds(took_ms)],
  ]));
});

/**
 * @param {PageView} page
 * @param {V1.Webhook} webhook
 */
async function rotateSecret(page, { id, version }) {
  const options = Object.entries(texts.overlaps).map(([value, text]) => ({ value, text }));
  const { elements, read } = await createForm(page, [{ name: "overlap", label: fields.overlap, hint: fields.overlapHint, kind: "select", options, initial: "24h" }]);
  const rotated = await openFormDialog(page, { title: texts.rotateSecret, submit: texts.rotateSecret }, elements, () =>
    page.api.call("POST webhooks/{id}/rotate-secret", { path: { id }, body: /** @type {V1.WebhookSecretRotation} */ (read()), version }));
  if (!rotated) return;
  if (rotated.secret) await showWebhookSecret(page, rotated);
  await page.reportChange(texts.secretRotated);
}

/**
 * @param {PageView} page
 * @param {string} id
 * @param {string} delivery
 */
const retry = (page, id, delivery) => page.perform(async () => {
  await page.api.call("POST webhooks/{id}/deliveries/{delivery}/retry", { path: { id, delivery } });
  return texts.deliveryRetried;
});

const BADGES = { delivered: "active", waiting: "suspended", failed: "revoked" };

/**
 * @param {PageView} page
 * @param {string} id
 */
const deliveryTable = (page, id) => page.createTable({
  list: "webhooks/{id}/deliveries",
  path: { id },
  label: texts.deliveries,
  emptyText: () => texts.noDeliveries,
  actions: (delivery) => delivery.state !== "delivered" && page.button(texts.sendAgain, () => retry(page, id, delivery.id), { "aria-label": texts.sendEventAgain(delivery.event_type, delivery.event_seq) }),
  columns: [
    { title: columns.event, show: (delivery) => [h("code", {}, delivery.event_type), h("small", {}, texts.eventNumber(delivery.event_seq))] },
    { title: columns.state, show: (delivery) => badge(BADGES[delivery.state], texts.deliveryStates[delivery.state]) },
    { title: columns.attempts, show: (delivery) => String(delivery.attempts) },
    { title: columns.response, show: (delivery) => [delivery.last_status !== null && String(delivery.last_status), delivery.last_error && h("small", {}, delivery.last_error)] },
    { title: columns.nextAttempt, show: (delivery) => time(delivery.next_attempt_at, texts.none) },
    { title: columns.created, show: (delivery) => time(delivery.created_at) },
  ],
});

/** @type {Kind<"webhooks">} */
export const webhooks = {
  name: "webhook",
  list: "webhooks",
  deleteHelp: texts.deleteHelp.webhook,
  getTitle: (webhook) => webhook.description ?? webhook.url,
  async showDetails(page, webhook) {
    const deliveries = deliveryTable(page, webhook.id);
    await deliveries.reload();
    return [
      panel("", attributeList([
        [columns.url, h("code", {}, webhook.url)],
        [columns.state, state(webhook), webhook.disabled_reason && h("small", {}, webhook.disabled_reason)],
        [columns.types, tags(webhook.event_types, texts.allEvents, 12)],
        webhook.organization_id && [columns.organization, entityLink({ type: "organization", id: webhook.organization_id })],
        webhook.paused_until && [fields.pausedUntil, time(webhook.paused_until)],
        webhook.old_secret_until && [fields.oldSecretUntil, time(webhook.old_secret_until)],
        [columns.created, time(webhook.created_at)],
      ])),
      panel(texts.deliveries, deliveries.element),
    ];
  },
  onCreated: showWebhookSecret,
  getActions: (page, webhook) => [
    { text: texts.sendTest, act: () => sendTest(page, webhook) },
    { text: texts.rotateSecret, act: () => rotateSecret(page, webhook) },
    { text: webhook.state === "enabled" ? texts.disable : texts.enable, act: () => toggleEnabled(page, webhook) },
  ],
  columns: [
    { title: columns.description, show: (webhook) => webhook.description ?? webhook.url },
    { title: columns.url, show: (webhook) => h("code", {}, webhook.url) },
    { title: columns.types, show: (webhook) => tags(webhook.event_types, texts.allEvents) },
    { title: columns.organization, show: (webhook) => (webhook.organization_id ? entityLink({ type: "organization", id: webhook.organization_id }) : texts.all) },
    { title: columns.state, show: state },
  ],
  fields: [
    { name: "url", label: fields.url, hint: fields.urlHint, required: true, type: "url" },
    { name: "description", label: fields.description, empty: null, maxlength: 500 },
    { name: "organization_id", label: fields.organization, hint: fields.webhookOrganizationHint, empty: null },
    { name: "event_types", label: fields.types, kind: "choices", any: texts.allEvents, options: [...new Set(eventTypes.map((type) => `${type.split(".")[0]}.*`)), ...eventTypes].map((value) => ({ value })) },
  ],
};
