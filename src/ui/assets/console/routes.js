// The views of the console, the permissions that they require, and their groups.

/** @import { View } from "./page_view.js" */
import { accessRecords } from "./access_records.js";
import { audiences } from "./audiences.js";
import { showBranding } from "./branding.js";
import { showEvents } from "./events.js";
import { showKey } from "./key_detail.js";
import { showKeys } from "./key_list.js";
import { organizations } from "./organizations.js";
import { showOverview } from "./overview.js";
import { KEY_MANAGEMENT } from "./permission_names.js";
import { permissions } from "./permissions.js";
import { detailView, listView } from "./resource_view.js";
import { roles } from "./roles.js";
import { serviceClients } from "./service_clients.js";
import { showSigningKeys } from "./signing_keys.js";
import { texts } from "./texts.js";
import { users } from "./users.js";
import { webhooks } from "./webhooks.js";

/** @typedef {keyof typeof texts.views} ViewName */

// One of the permissions suffices, and keyswap:admin always suffices.
/** @type {Record<ViewName, { list: View, detail?: View, permissions: string[] }>} */
export const routes = {
  overview: { list: showOverview, permissions: ["keyswap:events"] },
  keys: { list: showKeys, detail: showKey, permissions: KEY_MANAGEMENT },
  "service-clients": { list: listView(serviceClients), permissions: KEY_MANAGEMENT },
  "access-records": { list: listView(accessRecords), permissions: ["keyswap:keys"] },
  organizations: { list: listView(organizations), detail: detailView(organizations), permissions: ["keyswap:directory"] },
  users: { list: listView(users), detail: detailView(users), permissions: ["keyswap:directory"] },
  roles: { list: listView(roles), permissions: ["keyswap:directory"] },
  permissions: { list: listView(permissions), permissions: ["keyswap:keys", "keyswap:directory"] },
  audiences: { list: listView(audiences), permissions: [] },
  "signing-keys": { list: showSigningKeys, permissions: ["keyswap:signing-keys"] },
  events: { list: showEvents, permissions: ["keyswap:events"] },
  webhooks: { list: listView(webhooks), detail: detailView(webhooks), permissions: [] },
  pages: { list: showBranding, permissions: [] },
};

/** @type {{ title: string, views: ViewName[] }[]} */
export const groups = [
  { title: "", views: ["overview"] },
  { title: texts.groups.access, views: ["keys", "service-clients", "access-records"] },
  { title: texts.groups.directory, views: ["organizations", "users", "roles", "permissions"] },
  { title: texts.groups.tokens, views: ["signing-keys", "audiences"] },
  { title: texts.groups.activity, views: ["events", "webhooks"] },
  { title: texts.groups.appearance, views: ["pages"] },
];
