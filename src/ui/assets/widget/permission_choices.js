// The permissions of a new key: individual permissions, roles, and resources for these roles, as
// the deployment permits (portal.choices).

import { checkbox, field, h, splitLines } from "./dom.js";
import { texts } from "./texts.js";

/**
 * @template {{ name: string }} Choice
 * @param {string} legend
 * @param {Choice[]} choices
 * @param {string} emptyText
 * @param {(choice: Choice) => string | null} describe
 */
function checkboxes(legend, choices, emptyText, describe) {
  const all = choices.map((choice) => ({ choice, ...checkbox({ value: choice.name }, h("code", {}, choice.name), describe(choice)) }));
  const element = all.length > 0 ? h("fieldset", {}, h("legend", {}, legend), all.map(({ element }) => element)) : h("p", { class: "hint" }, emptyText);
  return { element, read: () => all.filter(({ control }) => control.checked).map(({ choice }) => choice) };
}

/**
 * @param {string[]} enabled
 * @param {V1.KeysAtHand} rights
 */
export function permissionChoices(enabled, rights) {
  const roles = checkboxes(texts.roles, enabled.includes("roles") ? rights.roles : [], texts.noRoles, ({ description, permissions }) => description ?? permissions.join(", "));
  const permissions = checkboxes(texts.permissions, enabled.includes("permissions") ? rights.permissions : [], texts.noPermissions, ({ description }) => description);
  const resources = field(texts.resources, h("textarea", { rows: 3, autocomplete: "off", spellcheck: "false" }), texts.resourcesHint);
  return {
    elements: [enabled.includes("roles") && roles.element, enabled.includes("resources") && resources.element, enabled.includes("permissions") && permissions.element],
    // Returns the members of the request, or undefined if input is missing. Roles over specific
    // resources become an access record, which is created atomically with the key.
    /** @param {string} name */
    read(name) {
      const chosen = roles.read();
      const paths = splitLines(resources.control.value);
      const isRoleMissing = paths.length > 0 && chosen.length === 0;
      resources.setError(isRoleMissing ? texts.roleNeeded : undefined);
      if (isRoleMissing) return undefined;
      const names = [...chosen.flatMap((role) => role.permissions), ...permissions.read().map((choice) => choice.name)];
      const statement = { roles: chosen.map((role) => role.name), resources: paths };
      return { permissions: [...new Set(names)], ...(chosen.length > 0 && paths.length > 0 && { access_record: { name, statements: [statement] } }) };
    },
  };
}
