// A form field for the owner of a new item: a type and an id.

import { field, h } from "../widget/dom.js";
import { WRONG } from "./form.js";
import { texts } from "./texts.js";

// The other members of each type of owner.
const ASKED = { user: ["id", "organization_id"], organization: ["id"], service_client: ["id"], none: [], account: [] };

export const ownerField = (types) => (spec, value) => {
  const type = h("select", {}, types.map((one) => h("option", { value: one }, texts.owners[one])));
  type.value = value?.type ?? types[0];
  const [id, organization] = [value?.id, value?.organization_id].map((text) => h("input", { type: "text", autocomplete: "off", spellcheck: "false", value: text ?? "" }));
  const [idField, organizationField] = [field(texts.ownerId, id), field(texts.within, organization, texts.withinHint)];
  const toggle = () => {
    idField.element.hidden = !ASKED[type.value].includes("id");
    organizationField.element.hidden = !ASKED[type.value].includes("organization_id");
  };
  type.addEventListener("change", toggle);
  toggle();
  return {
    element: h("div", {}, field(spec.label, type, spec.hint).element, idField.element, organizationField.element),
    read() {
      const asked = ASKED[type.value];
      const missing = asked.includes("id") && !id.value.trim();
      idField.complain(missing ? texts.needed : undefined);
      if (missing) return WRONG;
      return {
        type: type.value,
        ...(asked.includes("id") && { id: id.value.trim() }),
        ...(asked.includes("organization_id") && organization.value.trim() && { organization_id: organization.value.trim() }),
      };
    },
  };
};
