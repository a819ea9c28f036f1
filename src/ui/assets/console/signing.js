// Signing keys: their states, the planned steps, manual rotation and revocation.

import { button, h } from "../widget/dom.js";
import { exactly } from "../widget/when.js";
import { ask, tell, typed } from "./asking.js";
import { Refused } from "./session.js";
import { badge, facts, length, panel, time, wideFacts } from "./parts.js";
import { texts } from "./texts.js";
import { shortly, timeline } from "./timeline.js";

const { columns } = texts;

// The format of timestamps in messages of the service.
const MOMENT = /\d{4}-\d\d-\d\dT[\d:.]+Z/g;

// Describes the effect of a rotation before it is performed, or the reason why it is refused.
async function rotate(page) {
  let planned;
  try {
    planned = await page.api.call("POST", "signing-keys/rotate", { body: { dry_run: true } });
  } catch (error) {
    if (!(error instanceof Refused) || error.away || error.forbidden) throw error;
    return tell(page, texts.cannotRotate, h("p", {}, error.message.replace(MOMENT, exactly)), h("p", { class: "hint" }, texts.nothingChanged));
  }
  const { activated, retired } = planned;
  const stays = (key) => (key.may_be_removed_from ? texts.rotation.staysUntil(shortly(key.kid), exactly(key.may_be_removed_from)) : texts.rotation.stays(shortly(key.kid)));
  const lines = [
    h("li", {}, texts.rotation.signs(shortly(activated.kid), activated.algorithm)),
    retired.map((key) => h("li", {}, stays(key))),
    h("li", {}, texts.rotation.next),
  ];
  const parts = [h("p", {}, texts.rotation.help), h("ul", { class: "lines" }, lines)];
  const done = await ask(page, texts.rotation.title, texts.rotation.submit, parts, () => page.api.call("POST", "signing-keys/rotate", { body: { activate: activated.kid } }));
  if (done) await page.did([texts.rotation.did(shortly(done.activated.kid)), ...done.retired.map(stays)].join(" "));
}

async function revoke(page, key) {
  let told;
  const done = await typed(page, { title: texts.emergency.title(shortly(key.kid)), help: texts.emergency.help, word: shortly(key.kid), submit: texts.emergency.submit }, async () => {
    told = await page.api.call("POST", `signing-keys/${encodeURIComponent(key.kid)}/revoke`);
  });
  if (!done || !told) return;
  await tell(page, texts.emergency.did(shortly(key.kid)), facts(
    told.activated && [texts.emergency.activated, h("code", {}, shortly(told.activated.kid))],
    [texts.emergency.unpublished, exactly(told.unpublished_by)],
    [texts.emergency.known, exactly(told.successor_known_by)],
    [texts.emergency.accepted, exactly(told.accepted_until)],
    [texts.emergency.last, exactly(told.last_token_ends)],
  ));
  await page.did(texts.emergency.did(shortly(key.kid)));
}

function row(page, key) {
  const published = ["next", "active", "retiring"].includes(key.state);
  const cell = (title, ...content) => h("td", { "data-label": title }, h("span", { class: "cell" }, content));
  return h(
    "tr",
    { "data-id": key.kid },
    h("th", { scope: "row" }, h("code", { title: key.kid }, shortly(key.kid)), h("small", {}, key.algorithm)),
    cell(columns.state, badge(key.state, texts.keyStates2[key.state])),
    cell(columns.published, time(key.published_at)),
    cell(columns.maySign, time(key.may_sign_from)),
    cell(columns.mayLeave, key.removed_at ? texts.leftAt(exactly(key.removed_at)) : time(key.may_be_removed_from, texts.notYet)),
    cell(columns.liveTokens, String(key.live_tokens)),
    h("td", { class: "actions" }, published && button(texts.emergency.short, () => revoke(page, key).catch((error) => page.failed(error)), { "aria-label": `${texts.emergency.short} ${shortly(key.kid)}` })),
  );
}

function table(page, data) {
  const head = [columns.key, columns.state, columns.published, columns.maySign, columns.mayLeave, columns.liveTokens].map((text) => h("th", { scope: "col" }, text));
  return h("table", { "aria-label": texts.views["signing-keys"] }, h("thead", {}, h("tr", {}, head, h("th", { scope: "col" }, h("span", { class: "unseen" }, columns.actions)))), h("tbody", {}, data.map((key) => row(page, key))));
}

const steps = (plan) => (plan.length === 0 ? h("p", { class: "state" }, texts.noStep) : h("ol", { class: "steps" }, plan.map((step) => h(
  "li",
  {},
  h("time", { datetime: step.at }, exactly(step.at)),
  h("span", {}, texts.stepOf[step.step]?.(step.algorithm) ?? step.step, step.kid && [" ", h("code", {}, shortly(step.kid))]),
  h("small", {}, texts.waits[step.waits_for] ?? step.waits_for),
))));

const replica = ({ name, started_at, seen_at, published }) => h("li", {}, h("strong", {}, name), h("small", {}, texts.replicaSaid(exactly(started_at), exactly(seen_at), published.length)));

export async function show(page) {
  const told = await page.api.call("GET", "signing-keys");
  const { data, plan, replicas, rules } = told;
  const act = button(texts.rotation.button, () => rotate(page).catch((error) => page.failed(error)), { class: "primary" });
  page.draw(
    { title: texts.views["signing-keys"], help: texts.helps["signing-keys"], actions: act },
    panel(texts.timeline, timeline(told)),
    h("div", { class: "split even" },
      panel(texts.coming, steps(plan)),
      panel(texts.rules, wideFacts(...Object.entries(texts.ruleNames).map(([name, text]) => [text, name === "steady_since" ? (rules[name] ? exactly(rules[name]) : texts.always) : rules[name] ? length(rules[name]) : texts.byHand]))),
    ),
    panel(texts.safe, h("p", { class: "hint" }, texts.safeHelp), table(page, data)),
    panel(texts.replicas, replicas.length ? h("ul", { class: "lines" }, replicas.map(replica)) : h("p", { class: "state" }, texts.noReplicas)),
  );
}
