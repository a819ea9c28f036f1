// The statements of an access record: roles, and the resources to which they apply.

/** @import { FormField, FieldFactory } from "./form.js" */
import { button, checkbox, errorText, field, fill, h, splitLines } from "../widget/dom.js";
import { INVALID } from "./form.js";
import { texts } from "./texts.js";

/** @type {FieldFactory} */
export function statementsField(_, value, roles) {
  /** @type {FormField[]} */
  const rows = [];
  const list = h("div");
  const draw = () => fill(list, rows.map(({ element }) => element));
  const addRow = (/** @type {V1.NewStatement} */ { roles: chosen, resources }) => {
    const boxes = roles.map(({ value }) => checkbox({ value, checked: chosen.includes(value) }, h("code", {}, value)));
    const area = field(texts.resources, h("textarea", { rows: 2, spellcheck: "false", value: resources.join("\n") }), texts.resourcesHint);
    const fault = errorText(texts.roleNeeded);
    const remove = button(texts.removeStatement, () => {
      rows.splice(rows.indexOf(row), 1);
      draw();
      add.focus();
    });
    const row = {
      element: h("fieldset", { class: "wide" }, h("legend", {}, texts.statement), h("div", { class: "chips" }, boxes.map(({ element }) => element)), fault, area.element, remove),
      read() {
        const names = boxes.filter(({ control }) => control.checked).map(({ control }) => control.value);
        const paths = splitLines(area.control.value);
        fault.hidden = names.length > 0;
        area.setError(paths.length ? undefined : texts.needed);
        return names.length && paths.length ? { roles: names, resources: paths } : INVALID;
      },
    };
    rows.push(row);
  };
  const emptyStatement = { roles: [], resources: [] };
  const add = button(texts.addStatement, () => {
    addRow(emptyStatement);
    draw();
    /** @type {HTMLElement | null | undefined} */ (rows.at(-1)?.element.querySelector("input, textarea"))?.focus();
  });
  for (const statement of /** @type {V1.NewStatement[]} */ (value ?? [emptyStatement])) addRow(statement);
  draw();
  return {
    element: h("div", {}, list, add),
    read() {
      const statements = rows.map((row) => row.read());
      return statements.length === 0 || statements.includes(INVALID) ? INVALID : statements;
    },
  };
}
