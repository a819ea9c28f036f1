// Details of a key: its attributes, the use of replaced values, its usage by day, and its events.

import { confirmRevoke, rotate } from "../widget/dialogs.js";
import { button, h } from "../widget/dom.js";
import { address } from "./address.js";
import { sure, typed } from "./asking.js";
import { columnsOf } from "./chart.js";
import { entries } from "./entries.js";
import { changeKey } from "./key_form.js";
import { oldValue, stillUsed } from "./keys.js";
import { badge, byWhom, facts, link, panel, tags, time, whom } from "./parts.js";
import { texts } from "./texts.js";
import { Trail } from "./trail.js";

const { columns, fields } = texts;

const at = (key, step = "") => `api-keys/${encodeURIComponent(key.id)}${step && `/${step}`}`;

// /v1 returns deleted keys only with `archived`.
async function read(page) {
  const path = `api-keys/${encodeURIComponent(page.id)}`;
  try {
    return await page.api.call("GET", path);
  } catch (error) {
    if (error.status !== 404) throw error;
    return page.api.call("GET", path, { query: { archived: true } });
  }
}

async function step(page, key, name, asked) {
  const act = () => page.api.call("POST", at(key, name), { version: key.version });
  const done = await sure(page, { title: texts.keySteps[name].title(key.name), help: texts.keySteps[name].help, submit: texts.keySteps[name].submit, ...asked }, act);
  if (done) await page.did(texts.keySteps[name].did(key.name));
}

async function remove(page, key) {
  const gone = await typed(page, { title: texts.remove(key.name), help: texts.removeHelp.key, word: key.name, submit: texts.delete }, () => page.api.call("DELETE", at(key), { version: key.version }));
  if (gone) location.hash = address("keys");
}

function actions(page, key) {
  if (key.archived_at) return undefined;
  const works = key.state === "active";
  const does = (text, act, when, properties) => when && button(text, () => act().catch((error) => page.failed(error)), { "aria-label": `${text} ${key.name}`, ...properties });
  return [
    does(texts.actions.rotate, async () => (await rotate(page, key)) && page.did(texts.did.rotated(key.name)), works, { class: "primary" }),
    does(texts.keySteps["cancel-rotation"].submit, () => step(page, key, "cancel-rotation"), oldValue(key)),
    does(texts.edit, () => changeKey(page, key), works || key.state === "suspended"),
    does(texts.actions.suspend, () => step(page, key, "suspend"), works),
    does(texts.actions.resume, () => step(page, key, "resume"), key.state === "suspended"),
    does(texts.actions.revoke, async () => (await confirmRevoke(page, key)) && page.did(texts.did.revoked(key.name)), works || key.state === "suspended"),
    does(texts.delete, () => remove(page, key), key.state === "revoked" || key.state === "expired"),
  ];
}

// Lists the values, newest first. An older value shows whether a client still uses it.
function credentials(key) {
  const rows = key.credentials.map((one) => {
    const old = one.expires_at && key.credentials.length > 1;
    const said = !old ? texts.current : stillUsed(key) ? h("span", { class: "warn" }, texts.stillUsed) : texts.notUsed;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, h("code", {}, one.id)),
      h("td", { "data-label": columns.state }, h("span", { class: "cell" }, said)),
      h("td", { "data-label": columns.used }, h("span", { class: "cell" }, time(one.last_used_at))),
      h("td", { "data-label": columns.worksUntil }, h("span", { class: "cell" }, time(one.expires_at, texts.noEnd))),
    );
  });
  const head = [columns.value, columns.state, columns.used, columns.worksUntil].map((text) => h("th", { scope: "col" }, text));
  return panel(texts.values, h("p", { class: "hint" }, texts.valuesHelp), h("table", { "aria-label": texts.values }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)));
}

function usage({ data }) {
  const days = [...data].reverse();
  const [day, short] = [{ dateStyle: "medium" }, { month: "short", day: "numeric" }].map((parts) => new Intl.DateTimeFormat(undefined, { ...parts, timeZone: "UTC" }));
  const total = days.reduce((sum, { uses }) => sum + uses, 0);
  const bars = days.map(({ day: date, uses }) => ({ label: day.format(new Date(date)), short: short.format(new Date(date)), values: [uses] }));
  return panel(texts.usage, h("p", { class: "hint" }, texts.usageHelp(total)), columnsOf(bars, [{ tone: "granted", text: texts.uses }], { label: texts.usage, when: columns.day, low: true }));
}

export async function show(page) {
  const key = await read(page);
  const trail = page.may("keyswap:events") && new Trail(page.api, { subject: key.id });
  const [used, happened] = await Promise.all([
    key.archived_at ? undefined : page.api.call("GET", at(key, "usage"), { query: { days: 30 } }),
    trail && trail.older(20),
  ]);
  const state = key.archived_at ? badge("revoked", texts.keyStates.deleted) : [badge(key.state), key.state_reason && h("small", {}, key.state_reason)];
  page.draw(
    { title: key.name, back: h("a", { class: "back", href: address("keys") }, texts.views.keys), actions: actions(page, key) },
    h("div", { class: "split" },
      panel("", facts(
        [columns.state, state],
        [columns.key, h("code", {}, key.masked ?? "")],
        [columns.id, h("code", {}, key.id)],
        [columns.owner, whom(key.owner, "nobody"), key.owner.organization_id && key.owner.type !== "organization" && [" ", texts.atOrganization(""), " ", link(key.owner.organization_id, "organizations", key.owner.organization_id)]],
        [columns.permissions, tags(key.permissions, texts.none, 50)],
        [columns.created, time(key.created_at), " ", byWhom(key.created_by)],
        [columns.used, time(key.last_used_at)],
        [columns.expires, time(key.expires_at)],
        key.audiences && [fields.audiences, key.audiences.map((one) => h("code", {}, one))],
        key.max_token_ttl && [fields.longest, key.max_token_ttl],
        key.exchanges_per_minute && [fields.pace, String(key.exchanges_per_minute)],
        Object.keys(key.metadata).length > 0 && [fields.metadata, h("code", {}, JSON.stringify(key.metadata))],
      )),
      used && usage(used),
    ),
    key.credentials.length > 0 && credentials(key),
    trail && panel(texts.happened, entries(happened, texts.noEvents)),
  );
}
