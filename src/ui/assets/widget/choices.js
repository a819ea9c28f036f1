// The permissions of a new key: individual permissions, roles, and resources for these roles, as
// the deployment permits (portal.choices).

import { field, h } from "./dom.js";
import { texts } from "./texts.js";

function boxes(legend, offered, none, describe) {
  if (offered.length === 0) return { element: h("p", { class: "hint" }, none), read: () => [] };
  const all = offered.map((one) => {
    const box = h("input", { type: "checkbox", value: one.name });
    const about = describe(one);
    return { one, box, line: h("label", { class: "choice" }, box, h("span", {}, h("code", {}, one.name), about && h("small", {}, about))) };
  });
  const element = h("fieldset", {}, h("legend", {}, legend), all.map(({ line }) => line));
  return { element, read: () => all.filter(({ box }) => box.checked).map(({ one }) => one) };
}

const nothing = { read: () => [] };

export function choices(switched, place) {
  const on = (choice) => switched.includes(choice);
  const roles = on("roles") ? boxes(texts.roles, place.roles, texts.noRoles, ({ description, permissions }) => description ?? permissions.join(", ")) : nothing;
  const permissions = on("permissions") ? boxes(texts.permissions, place.permissions, texts.noPermissions, ({ description }) => description) : nothing;
  const resources = on("resources") && field(texts.resources, h("textarea", { rows: 3, autocomplete: "off", spellcheck: "false" }), texts.resourcesHint);
  return {
    elements: [roles.element, resources && resources.element, permissions.element],
    // Returns the members of the request, or undefined if input is missing. Roles over specific
    // resources become an access record, which is created atomically with the key.
    read(name) {
      const chosen = roles.read();
      const names = [...chosen.flatMap((role) => role.permissions), ...permissions.read().map((one) => one.name)];
      const over = resources ? resources.control.value.split("\n").map((line) => line.trim()).filter(Boolean) : [];
      const aimless = over.length > 0 && chosen.length === 0;
      if (resources) resources.complain(aimless ? texts.roleNeeded : undefined);
      if (aimless) return undefined;
      const members = { permissions: [...new Set(names)] };
      if (chosen.length && over.length) members.access_record = { name, statements: [{ roles: chosen.map((role) => role.name), resources: over }] };
      return members;
    },
  };
}
