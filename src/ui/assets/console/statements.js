// The statements of an access record: roles, and the resources to which they apply.

import { button, field, fill, h } from "../widget/dom.js";
import { WRONG } from "./form.js";
import { texts } from "./texts.js";

export function statements(spec, value, roles) {
  const rows = [];
  const place = h("div");
  const draw = () => fill(place, rows.map(({ element }) => element));
  const add = ({ roles: held = [], resources = [] } = {}) => {
    const boxes = roles.map((role) => h("input", { type: "checkbox", value: role.value, checked: held.includes(role.value) }));
    const area = h("textarea", { rows: 2, spellcheck: "false", value: resources.join("\n") });
    const resource = field(texts.resources, area, texts.resourcesHint);
    const fault = h("p", { class: "fault", role: "alert", hidden: true }, texts.roleNeeded);
    const drop = button(texts.dropStatement, () => {
      rows.splice(rows.indexOf(row), 1);
      draw();
      more.focus();
    });
    const choices = boxes.map((box, index) => h("label", { class: "choice" }, box, h("code", {}, roles[index].value)));
    const row = {
      element: h("fieldset", { class: "wide" }, h("legend", {}, texts.statement), h("div", { class: "chips" }, choices), fault, resource.element, drop),
      read() {
        const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
        const named = area.value.split("\n").map((line) => line.trim()).filter(Boolean);
        fault.hidden = chosen.length > 0;
        resource.complain(named.length ? undefined : texts.needed);
        return chosen.length && named.length ? { roles: chosen, resources: named } : WRONG;
      },
    };
    rows.push(row);
  };
  const more = button(texts.addStatement, () => {
    add();
    draw();
    rows.at(-1).element.querySelector("input, textarea")?.focus();
  });
  for (const one of value ?? [undefined]) add(one);
  draw();
  return {
    element: h("div", {}, place, more),
    read() {
      const read = rows.map((row) => row.read());
      return read.length === 0 || read.includes(WRONG) ? WRONG : read;
    },
  };
}
