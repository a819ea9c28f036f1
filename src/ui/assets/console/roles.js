// Roles: named sets of permissions.

/** @import { Kind } from "./resource_view.js" */
import { time } from "../widget/time.js";
import { tags } from "./elements.js";
import { permissionOptions } from "./form.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

/** @type {Kind<"roles", "name">} */
export const roles = {
  name: "role",
  list: "roles",
  putBy: "name",
  isReplaced: true,
  changePermission: "keyswap:admin",
  columns: [
    { title: columns.name, show: (role) => role.name },
    { title: columns.description, show: (role) => role.description },
    { title: columns.permissions, show: (role) => tags(role.permissions, texts.none, 8) },
    { title: columns.created, show: (role) => time(role.created_at) },
  ],
  fields: [
    { name: "name", label: fields.name, required: true, on: "create", maxlength: 128 },
    { name: "description", label: fields.description, empty: null, maxlength: 500 },
    { name: "permissions", label: fields.permissions, kind: "choices", options: permissionOptions() },
  ],
};
