// The views of the console, the permissions that they require, and their groups.

import { show as branding } from "./branding.js";
import { show as events } from "./events.js";
import { show as key } from "./key.js";
import { show as keys } from "./keys.js";
import { show as overview } from "./overview.js";
import { detail, list } from "./resource.js";
import { audiences } from "./audiences.js";
import { organizations } from "./organizations.js";
import { permissions } from "./permissions.js";
import { records } from "./records.js";
import { roles } from "./roles.js";
import { clients } from "./service_clients.js";
import { users } from "./users.js";
import { webhooks } from "./webhooks.js";
import { KEYS } from "./permitted.js";
import { show as signing } from "./signing.js";

// One of the permissions in `needs` suffices, and keyswap:admin always suffices.
export const routes = {
  overview: { show: overview, needs: ["keyswap:events"] },
  keys: { show: keys, one: key, needs: KEYS },
  "service-clients": { show: list(clients), needs: KEYS },
  "access-records": { show: list(records), needs: ["keyswap:keys"] },
  organizations: { show: list(organizations), one: detail(organizations), needs: ["keyswap:directory"] },
  users: { show: list(users), one: detail(users), needs: ["keyswap:directory"] },
  roles: { show: list(roles), needs: ["keyswap:directory"] },
  permissions: { show: list(permissions), needs: ["keyswap:keys", "keyswap:directory"] },
  audiences: { show: list(audiences), needs: [] },
  "signing-keys": { show: signing, needs: ["keyswap:signing-keys"] },
  events: { show: events, needs: ["keyswap:events"] },
  webhooks: { show: list(webhooks), one: detail(webhooks), needs: [] },
  pages: { show: branding, needs: [] },
};

export const groups = [
  ["", ["overview"]],
  ["access", ["keys", "service-clients", "access-records"]],
  ["directory", ["organizations", "users", "roles", "permissions"]],
  ["trust", ["signing-keys", "audiences"]],
  ["watch", ["events", "webhooks"]],
  ["looks", ["pages"]],
];
