// What is asked before a key is made, rotated or revoked, and the one moment in which its value is shown.

import { Refused } from "./api.js";
import { button, field, h, unique } from "./dom.js";
import { secret } from "./secret.js";
import { texts } from "./texts.js";
import { DAY } from "./when.js";

// Shows a form; resolves with what `send` returns, or with nothing where it was left. What was typed stays when /v1 refuses.
export function ask(keys, title, submit, parts, send, { danger } = {}) {
  return new Promise((resolve) => {
    const heading = unique("dialog");
    const fault = h("p", { class: "fault", role: "alert", hidden: true });
    const go = h("button", { type: "submit", class: danger ? "danger" : "primary", part: "button primary" }, submit);
    const form = h("form", { method: "dialog", novalidate: true }, h("h3", { id: heading }, title), parts, fault, h("div", { class: "buttons" }, button(texts.cancel, () => dialog.close()), go));
    const dialog = h("dialog", { part: "dialog", "aria-labelledby": heading }, form);
    let result;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      fault.hidden = true;
      go.disabled = true;
      try {
        result = await send((text) => { fault.textContent = text; fault.hidden = false; });
        if (result) dialog.close();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        const said = error.faults.map((one) => `${one.field}: ${one.detail}`).join("\n") || error.message;
        fault.textContent = error.away ? texts.away : said || texts.failed;
        fault.hidden = false;
      } finally {
        go.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    keys.element.append(dialog);
    dialog.showModal();
  });
}

function expiry(longest) {
  const presets = Object.entries(texts.expiries).filter(([days]) => !longest || (days !== "never" && (days === "date" || days * DAY <= longest)));
  const select = h("select", {}, presets.map(([value, text]) => h("option", { value }, text)));
  select.value = presets.some(([days]) => days === "90") ? "90" : presets[0][0];
  const day = h("input", { type: "date", min: new Date(Date.now() + DAY).toISOString().slice(0, 10) });
  const date = field(texts.date, day);
  date.element.hidden = true;
  select.addEventListener("change", () => { date.element.hidden = select.value !== "date"; });
  return {
    element: h("div", {}, field(texts.expiry, select).element, date.element),
    // A time, null for never, or undefined where the date is missing.
    read() {
      if (select.value === "never") return null;
      if (select.value !== "date") return new Date(Date.now() + select.value * DAY).toISOString();
      const end = Date.parse(`${day.value}T23:59:59`);
      date.complain(end > Date.now() ? undefined : texts.dateNeeded);
      return end > Date.now() ? new Date(end).toISOString() : undefined;
    },
  };
}

function permissions(offered) {
  if (offered.length === 0) return { element: h("p", { class: "hint" }, texts.noPermissions), read: () => [] };
  const boxes = offered.map(({ name, description }) => {
    const box = h("input", { type: "checkbox", value: name });
    return { box, line: h("label", { class: "choice" }, box, h("span", {}, h("code", {}, name), description && h("small", {}, description))) };
  });
  const element = h("fieldset", {}, h("legend", {}, texts.permissions), boxes.map(({ line }) => line));
  return { element, read: () => boxes.filter(({ box }) => box.checked).map(({ box }) => box.value) };
}

export async function create(keys) {
  const name = field(texts.name, h("input", { type: "text", maxlength: 200, autocomplete: "off", required: true }), texts.nameHint);
  const [chosen, end] = [permissions(keys.place.permissions), expiry(keys.session.max_lifetime && keys.session.max_lifetime * 1000)];
  const once = crypto.randomUUID();
  const made = await ask(keys, texts.createTitle, texts.create, [name.element, chosen.element, end.element], async () => {
    const [text, expires_at] = [name.control.value.trim(), end.read()];
    name.complain(text ? undefined : texts.nameNeeded);
    if (!text || expires_at === undefined) return undefined;
    const body = { name: text, owner: { type: keys.scope }, permissions: chosen.read(), expires_at };
    return keys.api.call("POST", "api-keys", { body, once });
  });
  if (made) await secret(keys, made);
  return made;
}

export async function rotate(keys, key) {
  const grace = h("select", {}, Object.entries(texts.graces).map(([value, text]) => h("option", { value }, text)));
  grace.value = "24h";
  const parts = [h("p", {}, texts.rotateHelp), field(texts.grace, grace).element];
  const path = `api-keys/${encodeURIComponent(key.id)}/rotate`;
  const rotated = await ask(keys, texts.rotateTitle(key.name), texts.actions.rotate, parts, () => keys.api.call("POST", path, { body: { grace: grace.value }, version: key.version }));
  if (rotated) await secret(keys, rotated);
  return rotated;
}

export function confirmRevoke(keys, key) {
  const typed = field(texts.revokeType(key.name), h("input", { type: "text", autocomplete: "off" }));
  const parts = [h("p", {}, texts.revokeHelp), typed.element];
  const send = async () => {
    const right = typed.control.value.trim() === key.name;
    typed.complain(right ? undefined : texts.revokeType(key.name));
    return right ? keys.api.call("POST", `api-keys/${encodeURIComponent(key.id)}/revoke`, { version: key.version }) : undefined;
  };
  return ask(keys, texts.revokeTitle(key.name), texts.actions.revoke, parts, send, { danger: true });
}
