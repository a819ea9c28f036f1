// Service clients: identities for programs.

import { secret } from "../widget/secret.js";
import { lost } from "./asking.js";
import { permissions } from "./form.js";
import { ownerField } from "./owner.js";
import { link, tags, time, whom } from "./parts.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

export const clients = {
  name: "service_client",
  path: "service-clients",
  columns: [
    { title: columns.name, show: (client) => client.name },
    { title: columns.owner, show: ({ owner }) => whom(owner) },
    { title: columns.permissions, show: (client) => tags(client.permissions, texts.none) },
    { title: columns.created, show: (client) => time(client.created_at) },
    { title: columns.keys, show: (client) => link(texts.itsKeys, "keys", undefined, { service_client: client.id }) },
  ],
  fields: [
    { name: "name", label: fields.name, required: true, maxlength: 200 },
    { name: "owner", label: fields.owner, kind: ownerField(["account", "organization", "user"]), on: "create" },
    { name: "permissions", label: fields.permissions, kind: "choices", options: permissions("service_client") },
    { name: "first", label: fields.firstKey, hint: fields.firstKeyHint, kind: "check", initial: true, on: "create" },
  ],
  body: ({ first, ...body }) => ({ ...body, ...(first && { api_key: { name: body.name, permissions: body.permissions } }) }),
  made: (page, { api_key: key }) => key && (key.value ? secret(page, key) : lost(page)),
};
