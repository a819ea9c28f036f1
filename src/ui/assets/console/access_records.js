// Access records: roles over resources, for users, service clients and API keys.

/** @import { Kind } from "./resource_view.js" */
import { h } from "../widget/dom.js";
import { time } from "../widget/time.js";
import { entityLink, lookUp, tags } from "./elements.js";
import { roleOptions } from "./form.js";
import { statementsField } from "./statement_field.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const statement = (/** @type {V1.Statement} */ { roles, resources }) => h("div", { class: "statement" }, tags(roles), " ", texts.over, " ", resources.map((resource) => h("code", {}, resource)));

const principal = (/** @type {V1.Principal} */ entity) => h("div", {}, entityLink(entity), " ", h("small", { class: "inline" }, lookUp(texts.kinds, entity.type)));

const formatPrincipals = (/** @type {unknown} */ principals) => /** @type {V1.Principal[]} */ (principals).map(({ type, id }) => `${type}:${id}`);

// Parses a principal such as "user:ada".
/** @param {string} line */
function parsePrincipal(line) {
  const [type, ...id] = line.split(":");
  return { type, id: id.join(":") };
}

/** @type {Kind<"access-records">} */
export const accessRecords = {
  name: "access_record",
  list: "access-records",
  columns: [
    { title: columns.name, show: (record) => record.name },
    { title: columns.principals, show: (record) => record.principals.map(principal) },
    { title: columns.statements, show: (record) => record.statements.map(statement) },
    { title: columns.organization, show: (record) => (record.organization_id ? entityLink({ type: "organization", id: record.organization_id }) : texts.none) },
    { title: columns.created, show: (record) => time(record.created_at) },
  ],
  fields: [
    { name: "name", label: fields.name, required: true, maxlength: 200 },
    { name: "organization_id", label: fields.organization, hint: fields.recordOrganizationHint, on: "create" },
    { name: "principals", label: fields.principals, hint: fields.principalsHint, kind: "lines", required: true, format: formatPrincipals },
    { name: "statements", label: fields.statements, kind: statementsField, options: roleOptions },
    { name: "admins", label: fields.admins, hint: fields.adminsHint, kind: "lines", rows: 2 },
  ],
  toBody: (values) => ({ ...values, principals: /** @type {string[]} */ (values.principals).map(parsePrincipal) }),
};
