// Webhooks: the receivers of events, and their deliveries.

import { button, h } from "../widget/dom.js";
import { secret } from "../widget/secret.js";
import { ask, lost, tell } from "./asking.js";
import { eventTypes } from "./event_types.js";
import { form } from "./form.js";
import { badge, facts, panel, tags, time, whom } from "./parts.js";
import { Table } from "./table.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const at = (hook, more = "") => `webhooks/${encodeURIComponent(hook.id)}${more}`;

const state = (hook) => badge(hook.state === "enabled" ? "active" : "suspended", texts.hookStates[hook.state] ?? hook.state);

const show = (page, hook) => secret(page, { name: hook.description ?? "webhook", value: hook.secret }, texts.hookSecret);

const turn = (page, hook) => page.attempt(async () => {
  const enabled = hook.state === "enabled";
  await page.api.call("PATCH", at(hook), { body: { state: enabled ? "disabled" : "enabled" }, version: hook.version });
  return enabled ? texts.didDisable : texts.didEnable;
});

const test = (page, hook) => page.attempt(async () => {
  const { delivered, status, error, took_ms } = await page.api.call("POST", at(hook, "/test"));
  await tell(page, delivered ? texts.testDelivered : texts.testFailed, facts(
    [fields.answer, status === null ? texts.noAnswer : String(status)],
    error && [fields.fault, error],
    [fields.took, texts.milliseconds(took_ms)],
  ));
});

async function rotateSecret(page, hook) {
  const options = Object.entries(texts.overlaps).map(([value, text]) => ({ value, text }));
  const { parts, read } = await form(page, [{ name: "overlap", label: fields.overlap, hint: fields.overlapHint, kind: "select", options, initial: "24h" }]);
  const rotated = await ask(page, texts.rotateSecret, texts.rotateSecret, parts, () => page.api.call("POST", at(hook, "/rotate-secret"), { body: read(), version: hook.version }));
  if (!rotated) return;
  if (rotated.secret) await show(page, rotated);
  await page.did(texts.didRotateSecret);
}

const retry = (page, hook, delivery) => page.attempt(async () => {
  await page.api.call("POST", at(hook, `/deliveries/${encodeURIComponent(delivery.id)}/retry`));
  return texts.didRetry;
});

const tones = { delivered: "active", waiting: "suspended", failed: "revoked" };

async function open(page, hook) {
  const deliveries = new Table(page, {
    path: at(hook, "/deliveries"),
    label: texts.deliveries,
    none: texts.noneYet.delivery,
    act: (delivery) => delivery.state !== "delivered" && button(texts.retry, () => retry(page, hook, delivery), { "aria-label": texts.retryOf(delivery.event_type, delivery.event_seq) }),
    columns: [
      { title: columns.event, show: (delivery) => [h("code", {}, delivery.event_type), h("small", {}, texts.number(delivery.event_seq))] },
      { title: columns.state, show: (delivery) => badge(tones[delivery.state], texts.deliveryStates[delivery.state] ?? delivery.state) },
      { title: columns.attempts, show: (delivery) => String(delivery.attempts) },
      { title: columns.answer, show: (delivery) => [delivery.last_status && String(delivery.last_status), delivery.last_error && h("small", {}, delivery.last_error)] },
      { title: columns.nextTry, show: (delivery) => time(delivery.next_attempt_at, texts.none) },
      { title: columns.created, show: (delivery) => time(delivery.created_at) },
    ],
  });
  await deliveries.lookAgain();
  return [
    panel("", facts(
      [columns.url, h("code", {}, hook.url)],
      [columns.state, state(hook), hook.disabled_reason && h("small", {}, hook.disabled_reason)],
      [columns.types, tags(hook.event_types, texts.everyEvent, 12)],
      hook.organization_id && [columns.organization, whom({ type: "organization", id: hook.organization_id })],
      hook.paused_until && [fields.paused, time(hook.paused_until)],
      hook.old_secret_until && [fields.oldSecret, time(hook.old_secret_until)],
      [columns.created, time(hook.created_at)],
    )),
    panel(texts.deliveries, deliveries.element),
  ];
}

export const webhooks = {
  name: "webhook",
  path: "webhooks",
  called: (hook) => hook.description ?? hook.url,
  open,
  made: (page, hook) => (hook.secret ? show(page, hook) : lost(page)),
  more: (page, hook) => [
    { text: texts.test, act: () => test(page, hook) },
    { text: texts.rotateSecret, act: () => rotateSecret(page, hook).catch((error) => page.failed(error)) },
    { text: hook.state === "enabled" ? texts.disable : texts.enable, act: () => turn(page, hook) },
  ],
  columns: [
    { title: columns.description, show: (hook) => hook.description ?? hook.url },
    { title: columns.url, show: (hook) => h("code", {}, hook.url) },
    { title: columns.types, show: (hook) => tags(hook.event_types, texts.everyEvent) },
    { title: columns.organization, show: (hook) => (hook.organization_id ? whom({ type: "organization", id: hook.organization_id }) : texts.all) },
    { title: columns.state, show: state },
  ],
  fields: [
    { name: "url", label: fields.url, hint: fields.urlHint, required: true, type: "url" },
    { name: "description", label: fields.description, empty: null, maxlength: 200 },
    { name: "organization_id", label: fields.organization, hint: fields.hookOrganizationHint, empty: null },
    { name: "event_types", label: fields.types, kind: "choices", any: texts.everyEvent, options: [...new Set(eventTypes.map((type) => `${type.split(".")[0]}.*`)), ...eventTypes].map((value) => ({ value })) },
  ],
};
