// Organizations and their members.

import { button, h } from "../widget/dom.js";
import { roleNames } from "./form.js";
import { keysOf } from "./keys.js";
import { facts, link, panel, tags, time } from "./parts.js";
import { actions, make } from "./resource.js";
import { Table } from "./table.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const members = (organization) => ({
  name: "member",
  path: `organizations/${encodeURIComponent(organization)}/members`,
  put: "user_id",
  within: true,
  called: (member) => member.user_id,
  fields: [
    { name: "user_id", label: fields.user, required: true, on: "create" },
    { name: "roles", label: fields.roles, kind: "choices", options: roleNames },
  ],
});

const memberColumns = [
  { title: columns.user, show: (member) => link(member.user_id, "users", member.user_id) },
  { title: columns.roles, show: (member) => tags(member.roles, texts.none) },
  { title: columns.since, show: (member) => time(member.created_at) },
];

async function open(page, organization) {
  const kind = members(organization.id);
  const table = new Table(page, { path: kind.path, columns: memberColumns, label: texts.members, none: texts.noneYet.member, act: (member) => actions(page, kind, member) });
  const add = button(texts.make.member, () => make(page, kind).catch((error) => page.failed(error)));
  await table.lookAgain();
  const known = Object.keys(organization.metadata).length > 0 && [fields.metadata, h("code", {}, JSON.stringify(organization.metadata))];
  return [
    panel("", facts([columns.id, h("code", {}, organization.id)], [columns.created, time(organization.created_at)], known)),
    h("section", { class: "panel" }, h("div", { class: "top" }, h("h2", {}, texts.members), add), table.element),
    await keysOf(page, { organization: organization.id }),
  ];
}

export const organizations = {
  name: "organization",
  path: "organizations",
  put: "id",
  open,
  columns: [
    { title: columns.name, show: (organization) => organization.name ?? organization.id },
    { title: columns.id, show: (organization) => h("code", {}, organization.id) },
    { title: columns.created, show: (organization) => time(organization.created_at) },
  ],
  fields: [
    { name: "id", label: fields.id, hint: fields.idHint, required: true, on: "create", maxlength: 128 },
    { name: "name", label: fields.name, empty: null, maxlength: 200 },
    { name: "metadata", label: fields.metadata, hint: fields.metadataHint, kind: "json" },
  ],
};
