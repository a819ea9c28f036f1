// Organizations and their members.

/** @import { Kind } from "./resource_view.js" */
import { h } from "../widget/dom.js";
import { time } from "../widget/time.js";
import { attributeList, link, panel, panelWithControls, tags } from "./elements.js";
import { roleOptions } from "./form.js";
import { keysPanel } from "./key_list.js";
import { createItem, itemTable } from "./resource_view.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

/**
 * @param {string} organization
 * @returns {Kind<"organizations/{id}/members", "user_id">}
 */
const members = (organization) => ({
  name: "member",
  list: "organizations/{id}/members",
  path: { id: organization },
  putBy: "user_id",
  isMembership: true,
  deleteHelp: texts.deleteHelp.member,
  getTitle: (member) => member.user_id,
  columns: [
    { title: columns.user, show: (member) => link(member.user_id, "users", member.user_id) },
    { title: columns.roles, show: (member) => tags(member.roles, texts.none) },
    { title: columns.since, show: (member) => time(member.created_at) },
  ],
  fields: [
    { name: "user_id", label: fields.user, required: true, on: "create" },
    { name: "roles", label: fields.roles, kind: "choices", options: roleOptions },
  ],
});

/** @type {Kind<"organizations", "id">} */
export const organizations = {
  name: "organization",
  list: "organizations",
  putBy: "id",
  deleteHelp: texts.deleteHelp.organization,
  async showDetails(page, { id, created_at, metadata }) {
    const kind = members(id);
    const table = itemTable(page, kind, texts.members);
    await table.reload();
    const hasMetadata = Object.keys(metadata).length > 0;
    return [
      panel("", attributeList([[columns.id, h("code", {}, id)], [columns.created, time(created_at)], hasMetadata && [fields.metadata, h("code", {}, JSON.stringify(metadata))]])),
      panelWithControls(texts.members, page.button(texts.createTitles.member, () => createItem(page, kind)), table.element),
      await keysPanel(page, { organization: id }),
    ];
  },
  columns: [
    { title: columns.name, show: (organization) => organization.name ?? organization.id },
    { title: columns.id, show: (organization) => h("code", {}, organization.id) },
    { title: columns.created, show: (organization) => time(organization.created_at) },
  ],
  fields: [
    { name: "id", label: fields.id, hint: fields.idHint, required: true, on: "create", maxlength: 255 },
    { name: "name", label: fields.name, empty: null, maxlength: 200 },
    { name: "metadata", label: fields.metadata, hint: fields.metadataHint, kind: "json" },
  ],
};
