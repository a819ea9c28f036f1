// A form field for the owner of a new item: a type and an id.

/** @import { FieldFactory } from "./form.js" */
import { field, h, select } from "../widget/dom.js";
import { INVALID } from "./form.js";
import { texts } from "./texts.js";

/** @typedef {keyof typeof texts.owners} OwnerType */

// The other members of each type of owner.
/** @type {Record<OwnerType, string[]>} */
const MEMBERS = { user: ["id", "organization_id"], organization: ["id"], service_client: ["id"], none: [], account: [] };

/**
 * @param {OwnerType[]} types
 * @param {(type: OwnerType) => unknown} [onChange]
 * @returns {FieldFactory}
 */
export const ownerField = (types, onChange) => (spec, value) => {
  const initial = /** @type {{ type?: OwnerType, id?: string, organization_id?: string }} */ (value ?? {});
  const textField = (/** @type {string} */ label, text = "", hint = "") => field(label, h("input", { type: "text", autocomplete: "off", spellcheck: "false", value: text }), hint);
  const id = textField(texts.ownerId, initial.id);
  const organization = textField(texts.within, initial.organization_id, texts.withinHint);
  const members = () => MEMBERS[/** @type {OwnerType} */ (type.value)];
  const showMembers = () => {
    id.element.hidden = !members().includes("id");
    organization.element.hidden = !members().includes("organization_id");
  };
  const type = select(Object.fromEntries(types.map((one) => [one, texts.owners[one]])), initial.type ?? types[0], (chosen) => {
    showMembers();
    onChange?.(/** @type {OwnerType} */ (chosen));
  });
  showMembers();
  return {
    element: h("div", {}, field(spec.label, type, spec.hint).element, id.element, organization.element),
    read() {
      const [needsId, mayHaveOrganization] = [members().includes("id"), members().includes("organization_id")];
      const isMissing = needsId && !id.control.value.trim();
      id.setError(isMissing ? texts.needed : undefined);
      if (isMissing) return INVALID;
      const within = organization.control.value.trim();
      return { type: type.value, ...(needsId && { id: id.control.value.trim() }), ...(mayHaveOrganization && within && { organization_id: within }) };
    },
  };
};
