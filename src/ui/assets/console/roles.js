// Roles: named sets of permissions.

import { permissions } from "./form.js";
import { tags, time } from "./parts.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

export const roles = {
  name: "role",
  path: "roles",
  put: "name",
  replaces: true,
  changes: "keyswap:admin",
  columns: [
    { title: columns.name, show: (role) => role.name },
    { title: columns.description, show: (role) => role.description ?? "" },
    { title: columns.permissions, show: (role) => tags(role.permissions, texts.none, 8) },
    { title: columns.created, show: (role) => time(role.created_at) },
  ],
  fields: [
    { name: "name", label: fields.name, required: true, on: "create", maxlength: 128 },
    { name: "description", label: fields.description, empty: null, maxlength: 200 },
    { name: "permissions", label: fields.permissions, kind: "choices", options: permissions() },
  ],
};
