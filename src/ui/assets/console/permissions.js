// The catalog of permissions, and the owner types whose keys may carry each one.

import { h } from "../widget/dom.js";
import { tags } from "./parts.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const owners = ["user", "organization", "service_client"].map((value) => ({ value, hint: texts.assignable[value] }));

export const permissions = {
  name: "permission",
  path: "permissions",
  put: "name",
  replaces: true,
  changes: "keyswap:admin",
  fixed: (permission) => permission.built_in,
  columns: [
    { title: columns.name, show: (permission) => h("code", {}, permission.name) },
    { title: columns.description, show: (permission) => permission.description ?? "" },
    { title: columns.assignable, show: (permission) => tags(permission.assignable_to.map((one) => texts.owners[one] ?? one), texts.nobody) },
    { title: columns.kind, show: (permission) => (permission.built_in ? texts.builtIn : texts.ofProduct) },
  ],
  fields: [
    { name: "name", label: fields.name, hint: fields.permissionHint, required: true, on: "create", maxlength: 128 },
    { name: "description", label: fields.description, empty: null, maxlength: 200 },
    { name: "assignable_to", label: fields.assignable, hint: fields.assignableHint, kind: "choices", options: owners },
  ],
};
