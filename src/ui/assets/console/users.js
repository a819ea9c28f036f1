// The users of the product.

/** @import { Attribute } from "./elements.js" */
/** @import { PageView } from "./page_view.js" */
/** @import { Kind } from "./resource_view.js" */
import { h } from "../widget/dom.js";
import { time } from "../widget/time.js";
import { confirmChange } from "./confirmation.js";
import { badge, attributeList, panel, tags } from "./elements.js";
import { roleOptions } from "./form.js";
import { keysPanel } from "./key_list.js";
import { ADMIN } from "./permission_names.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

// Products choose the members of a profile. These names are common.
const displayName = (/** @type {V1.User} */ { profile }) => [profile.name, profile.email].find((text) => typeof text === "string");

const state = (/** @type {V1.User} */ user) => {
  if (user.locked) return badge("suspended", texts.locked);
  return user.blocked ? badge("suspended", texts.blocked) : badge("active");
};

/**
 * @param {PageView} page
 * @param {V1.User} user
 */
function toggleBlocked(page, { id, blocked, version }) {
  const send = () => page.api.call("PATCH users/{id}", { path: { id }, body: { blocked: !blocked }, version });
  return blocked ? page.perform(() => send().then(() => texts.userUnblocked(id))) : confirmChange(page, texts.blockUser, id, send);
}

/**
 * @param {PageView} page
 * @param {V1.User} user
 */
function endSessions(page, { id }) {
  let ended = 0;
  return confirmChange(page, { ...texts.endUserSessions, done: () => texts.sessionsEnded(ended) }, id, async () => {
    ({ ended } = await page.api.call("DELETE portal-sessions", { query: { user: id } }));
  });
}

/**
 * @param {PageView} page
 * @param {V1.User} user
 */
function toggleLocked(page, { id, locked, version }) {
  const send = () => page.api.call(locked ? "POST users/{id}/unlock" : "POST users/{id}/lock", { path: { id }, version });
  return locked ? page.perform(() => send().then(() => texts.userUnlocked(id))) : confirmChange(page, texts.lockUser, id, send);
}

/**
 * @param {V1.Metadata} value
 * @returns {Attribute[]}
 */
const memberAttributes = (value) => Object.entries(value).map(([name, member]) => [name, typeof member === "string" ? member : JSON.stringify(member)]);

/** @type {Kind<"users", "id">} */
export const users = {
  name: "user",
  list: "users",
  putBy: "id",
  deleteHelp: texts.deleteHelp.user,
  getTitle: (user) => user.id,
  showDetails: async (page, user) => [
    panel("", attributeList([
      [columns.id, h("code", {}, user.id)],
      [columns.state, state(user)],
      ...(user.lock_reason ? [/** @type {Attribute} */ ([texts.lockReason, user.lock_reason])] : []),
      [columns.roles, tags(user.roles, texts.none)],
      [columns.created, time(user.created_at)],
      ...memberAttributes(user.profile),
      ...memberAttributes(user.metadata),
    ])),
    page.hasPermission("keyswap:keys") && (await keysPanel(page, { user: user.id })),
  ],
  getActions: (page, user) => [
    { text: user.blocked ? texts.unblock : texts.block, act: () => toggleBlocked(page, user) },
    ...(page.hasPermission("keyswap:sessions", "keyswap:keys") ? [{ text: texts.endSessions, act: () => endSessions(page, user) }] : []),
    ...(page.hasPermission(user.locked ? ADMIN : "keyswap:keys") ? [{ text: user.locked ? texts.unlock : texts.lock, act: () => toggleLocked(page, user) }] : []),
  ],
  columns: [
    { title: columns.id, show: (user) => user.id },
    { title: columns.name, show: (user) => displayName(user) },
    { title: columns.deploymentRoles, show: (user) => tags(user.roles, texts.none) },
    { title: columns.state, show: state },
    { title: columns.created, show: (user) => time(user.created_at) },
  ],
  fields: [
    { name: "id", label: fields.id, hint: fields.idHint, required: true, on: "create", maxlength: 255 },
    { name: "roles", label: fields.roles, hint: fields.userRolesHint, kind: "choices", options: roleOptions },
    { name: "profile", label: fields.profile, hint: fields.profileHint, kind: "json" },
    { name: "metadata", label: fields.metadata, hint: fields.metadataHint, kind: "json" },
  ],
};
