// Signing keys: their states, the planned steps, manual rotation and revocation.

/** @import { PageView } from "./page_view.js" */
import { ApiError } from "../widget/api.js";
import { cell, h, table } from "../widget/dom.js";
import { confirmByTyping, openFormDialog } from "../widget/form_dialog.js";
import { formatTime, time } from "../widget/time.js";
import { showMessage } from "./confirmation.js";
import { badge, emptyState, attributeList, formatDuration, lookUp, panel } from "./elements.js";
import { texts } from "./texts.js";
import { shortKid, timeline } from "./timeline.js";

const { columns } = texts;

// The format of timestamps in messages of the service.
const TIMESTAMP = /\d{4}-\d\d-\d\dT[\d:.]+Z/g;

// Describes the effect of a rotation before it is performed, or the reason why it is refused.
/** @param {PageView} page */
async function rotate(page) {
  let plan;
  try {
    plan = await page.api.call("POST signing-keys/rotate", { body: { dry_run: true } });
  } catch (error) {
    if (!(error instanceof ApiError) || error.isUnavailable || error.isForbidden) throw error;
    return showMessage(page, texts.cannotRotate, h("p", {}, error.message.replace(TIMESTAMP, formatTime)), h("p", { class: "hint" }, texts.nothingChanged));
  }
  const { activated, retired } = plan;
  const { rotation } = texts;
  const describeRetired = (/** @type {V1.SigningKey} */ { kid, may_be_removed_from: until }) => (until ? rotation.publishedUntil(shortKid(kid), formatTime(until)) : rotation.stopsSigning(shortKid(kid)));
  const lines = [rotation.signs(shortKid(activated.kid), activated.algorithm), ...retired.map(describeRetired), rotation.next];
  const content = [h("p", {}, rotation.help), h("ul", { class: "lines" }, lines.map((line) => h("li", {}, line)))];
  const rotated = await openFormDialog(page, { title: rotation.title, submit: rotation.submit }, content, () => page.api.call("POST signing-keys/rotate", { body: { activate: activated.kid } }));
  if (rotated) await page.reportChange([rotation.done(shortKid(rotated.activated.kid)), ...rotated.retired.map(describeRetired)].join(" "));
}

/**
 * @param {PageView} page
 * @param {V1.SigningKey} key
 */
async function revoke(page, { kid }) {
  const { emergency } = texts;
  const word = shortKid(kid);
  const revoked = await confirmByTyping(page, { title: emergency.title(word), help: emergency.help, word, submit: emergency.submit }, () => page.api.call("POST signing-keys/{kid}/revoke", { path: { kid } }));
  if (!revoked || revoked === true) return;
  await showMessage(page, emergency.done(word), attributeList([
    revoked.activated && [emergency.activated, h("code", {}, shortKid(revoked.activated.kid))],
    [emergency.unpublishedBy, formatTime(revoked.unpublished_by)],
    [emergency.successorKnownBy, formatTime(revoked.successor_known_by)],
    [emergency.acceptedUntil, formatTime(revoked.accepted_until)],
    [emergency.lastTokenEnds, formatTime(revoked.last_token_ends)],
  ]));
  await page.reportChange(emergency.done(word));
}

/**
 * @param {PageView} page
 * @param {V1.SigningKey} key
 */
function keyRow(page, key) {
  const isPublished = ["next", "active", "retiring"].includes(key.state);
  return h(
    "tr",
    { "data-id": key.kid },
    h("th", { scope: "row" }, h("code", { title: key.kid }, shortKid(key.kid)), h("small", {}, key.algorithm)),
    cell(columns.state, badge(key.state, texts.signingKeyStates[key.state])),
    cell(columns.published, time(key.published_at)),
    cell(columns.maySignFrom, time(key.may_sign_from)),
    cell(columns.mayBeRemovedFrom, key.removed_at ? texts.removedAt(formatTime(key.removed_at)) : time(key.may_be_removed_from, texts.notYet)),
    cell(columns.liveTokens, String(key.live_tokens)),
    h("td", { class: "actions" }, isPublished && page.button(texts.actions.revoke, () => revoke(page, key), { "aria-label": `${texts.actions.revoke} ${shortKid(key.kid)}` })),
  );
}

/**
 * @param {PageView} page
 * @param {V1.SigningKey[]} keys
 */
function keyTable(page, keys) {
  const titles = [columns.key, columns.state, columns.published, columns.maySignFrom, columns.mayBeRemovedFrom, columns.liveTokens, h("span", { class: "visually-hidden" }, columns.actions)];
  return table({ "aria-label": texts.views["signing-keys"] }, titles, keys.map((key) => keyRow(page, key)));
}

/** @param {V1.RotationStep} step */
export const describeStep = ({ step, algorithm }) => (Object.hasOwn(texts.rotationSteps, step) ? texts.rotationSteps[/** @type {keyof typeof texts.rotationSteps} */ (step)](algorithm ?? "") : step);

/** @param {V1.RotationStep} step */
const stepItem = (step) => h(
  "li",
  {},
  h("time", { datetime: step.at }, formatTime(step.at)),
  h("span", {}, step.kid && [h("code", {}, shortKid(step.kid)), ": "], describeStep(step)),
  h("small", {}, texts.waitReasons[step.waits_for]),
);

/** @param {V1.Replica} replica */
const replicaItem = ({ name, started_at, seen_at, published }) => h("li", {}, h("strong", {}, name), h("small", {}, texts.replicaStatus(formatTime(started_at), formatTime(seen_at), published.length)));

/** @param {V1.RotationRules} rules */
function ruleAttributes({ stable_since, rotation_period, ...durations }) {
  const { ruleNames } = texts;
  const others = Object.entries(durations).map(([name, value]) => /** @type {[string, string]} */ ([lookUp(ruleNames, name), formatDuration(value)]));
  return attributeList([
    [ruleNames.rotation_period, rotation_period ? formatDuration(rotation_period) : texts.manually],
    ...others,
    [ruleNames.stable_since, stable_since ? formatTime(stable_since) : texts.firstStart],
  ], "attributes wide");
}

/** @param {PageView} page */
export async function showSigningKeys(page) {
  const keys = await page.api.call("GET signing-keys");
  const { data, plan, replicas, rules } = keys;
  page.draw(
    { title: texts.views["signing-keys"], help: texts.viewHelp["signing-keys"], actions: page.button(texts.rotation.button, () => rotate(page), { class: "primary" }) },
    panel(texts.timeline, timeline(keys)),
    h("div", { class: "split even" },
      panel(texts.nextSteps, plan.length === 0 ? emptyState(texts.noSteps) : h("ol", { class: "steps" }, plan.map(stepItem))),
      panel(texts.rules, ruleAttributes(rules)),
    ),
    panel(texts.safetyTimes, h("p", { class: "hint" }, texts.safetyTimesHelp), keyTable(page, data)),
    panel(texts.replicas, replicas.length ? h("ul", { class: "lines" }, replicas.map(replicaItem)) : emptyState(texts.noReplicas)),
  );
}
