// Service clients: identities for programs.

/** @import { Kind } from "./resource_view.js" */
import { showSecret } from "../widget/secret_dialog.js";
import { time } from "../widget/time.js";
import { reportLostSecret } from "./confirmation.js";
import { entityLink, link, tags } from "./elements.js";
import { permissionOptions } from "./form.js";
import { ownerField } from "./owner_field.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

/** @type {Kind<"service-clients", "first_key">} */
export const serviceClients = {
  name: "service_client",
  list: "service-clients",
  deleteHelp: texts.deleteHelp.service_client,
  columns: [
    { title: columns.name, show: (client) => client.name },
    { title: columns.owner, show: (client) => entityLink(client.owner) },
    { title: columns.permissions, show: (client) => tags(client.permissions, texts.none) },
    { title: columns.created, show: (client) => time(client.created_at) },
    { title: columns.keys, show: (client) => link(texts.showKeys, "keys", undefined, { service_client: client.id }) },
  ],
  fields: [
    { name: "name", label: fields.name, required: true, maxlength: 200 },
    { name: "owner", label: fields.owner, kind: ownerField(["account", "organization", "user"]), on: "create" },
    { name: "permissions", label: fields.permissions, kind: "choices", options: permissionOptions("service_client") },
    { name: "first_key", label: fields.firstKey, hint: fields.firstKeyHint, kind: "check", initial: true, on: "create" },
  ],
  toBody: ({ first_key, ...body }) => ({ ...body, ...(first_key === true && { api_key: { name: body.name, permissions: body.permissions } }) }),
  onCreated: (page, { api_key: key }) => key && (key.value ? showSecret(page, { name: key.name, value: key.value }) : reportLostSecret(page)),
};
