// The users of the product.

import { h } from "../widget/dom.js";
import { roleNames } from "./form.js";
import { keysOf } from "./keys.js";
import { badge, facts, panel, tags, time } from "./parts.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

// Products choose the members of a profile. These names are common.
const called = ({ profile }) => [profile.name, profile.email].find((text) => typeof text === "string");

const state = (user) => (user.blocked ? badge("suspended", texts.blocked) : badge("active", texts.states.active));

const block = (page, user) => page.attempt(async () => {
  await page.api.call("PATCH", `users/${encodeURIComponent(user.id)}`, { body: { blocked: !user.blocked }, version: user.version });
  return user.blocked ? texts.didUnblock(user.id) : texts.didBlock(user.id);
});

const object = (value) => Object.entries(value).map(([name, one]) => [name, typeof one === "string" ? one : JSON.stringify(one)]);

async function open(page, user) {
  return [
    panel("", facts(
      [columns.id, h("code", {}, user.id)],
      [columns.state, state(user)],
      [columns.roles, tags(user.roles, texts.none)],
      [columns.created, time(user.created_at)],
      ...object(user.profile),
      ...object(user.metadata),
    )),
    page.may("keyswap:keys") && (await keysOf(page, { user: user.id })),
  ];
}

export const users = {
  name: "user",
  path: "users",
  put: "id",
  called: (user) => user.id,
  open,
  more: (page, user) => [{ text: user.blocked ? texts.unblock : texts.block, act: () => block(page, user) }],
  columns: [
    { title: columns.id, show: (user) => user.id },
    { title: columns.name, show: (user) => called(user) ?? "" },
    { title: columns.rolesAnywhere, show: (user) => tags(user.roles, texts.none) },
    { title: columns.state, show: state },
    { title: columns.created, show: (user) => time(user.created_at) },
  ],
  fields: [
    { name: "id", label: fields.id, hint: fields.idHint, required: true, on: "create", maxlength: 128 },
    { name: "roles", label: fields.roles, hint: fields.userRolesHint, kind: "choices", options: roleNames },
    { name: "profile", label: fields.profile, hint: fields.profileHint, kind: "json" },
    { name: "metadata", label: fields.metadata, hint: fields.metadataHint, kind: "json" },
  ],
};
