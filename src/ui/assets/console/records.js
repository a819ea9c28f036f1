// Access records: roles over resources, for users, service clients and API keys.

import { h } from "../widget/dom.js";
import { roleNames } from "./form.js";
import { tags, time, whom } from "./parts.js";
import { statements } from "./statements.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const shown = ({ roles, resources }) => h("div", { class: "statement" }, tags(roles), " ", texts.over, " ", resources.map((resource) => h("code", {}, resource)));

// Parses principals such as "user:ada", one per line.
const principals = (lines) => lines.map((line) => {
  const [type, ...id] = line.split(":");
  return { type, id: id.join(":") };
});

export const records = {
  name: "access_record",
  path: "access-records",
  columns: [
    { title: columns.name, show: (record) => record.name },
    { title: columns.principals, show: (record) => record.principals.map((one) => h("div", {}, whom(one), " ", h("small", { class: "inline" }, texts.kinds[one.type] ?? one.type))) },
    { title: columns.statements, show: (record) => record.statements.map(shown) },
    { title: columns.organization, show: (record) => (record.organization_id ? whom({ type: "organization", id: record.organization_id }) : texts.none) },
    { title: columns.created, show: (record) => time(record.created_at) },
  ],
  fields: [
    { name: "name", label: fields.name, required: true, maxlength: 200 },
    { name: "organization_id", label: fields.organization, hint: fields.recordOrganizationHint, on: "create" },
    { name: "principals", label: fields.principals, hint: fields.principalsHint, kind: "lines", required: true, from: (record) => record.principals.map(({ type, id }) => `${type}:${id}`) },
    { name: "statements", label: fields.statements, kind: statements, options: roleNames },
    { name: "admins", label: fields.admins, hint: fields.adminsHint, kind: "lines", rows: 2 },
  ],
  body: (body) => ({ ...body, principals: principals(body.principals) }),
};
