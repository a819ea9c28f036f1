// The catalog of permissions, and the owner types whose keys may carry each one.

/** @import { Kind } from "./resource_view.js" */
import { h } from "../widget/dom.js";
import { tags } from "./elements.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const owners = Object.entries(texts.assignable).map(([value, hint]) => ({ value, hint }));

/** @type {Kind<"permissions", "name">} */
export const permissions = {
  name: "permission",
  list: "permissions",
  putBy: "name",
  isReplaced: true,
  changePermission: "keyswap:admin",
  isFixed: (permission) => permission.built_in && permission.name.startsWith("keyswap:"),
  isPermanent: (permission) => permission.built_in,
  columns: [
    { title: columns.name, show: (permission) => h("code", {}, permission.name) },
    { title: columns.description, show: (permission) => permission.description },
    { title: columns.assignable, show: (permission) => tags(permission.assignable_to.map((type) => texts.owners[type]), texts.none) },
    { title: columns.kind, show: (permission) => (permission.built_in ? texts.builtIn : texts.ofProduct) },
  ],
  fields: [
    { name: "name", label: fields.name, hint: fields.permissionHint, required: true, on: "create", maxlength: 128 },
    { name: "description", label: fields.description, empty: null, maxlength: 500 },
    { name: "assignable_to", label: fields.assignable, hint: fields.assignableHint, kind: "choices", options: owners },
  ],
};
