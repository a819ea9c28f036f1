// Dialogs that create, rotate and revoke a key. A new value is shown once.

import { Refused } from "./api.js";
import { button, field, h, unique } from "./dom.js";
import { choices } from "./choices.js";
import { modal } from "./modal.js";
import { secret } from "./secret.js";
import { texts } from "./texts.js";
import { DAY } from "./when.js";

// Shows a form. Returns the result of `send`, or undefined if the form was closed. Input is
// preserved if /v1 rejects the request.
export async function ask(keys, title, submit, parts, send, { danger } = {}) {
  const heading = unique("dialog");
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const say = (text) => {
    fault.textContent = text;
    fault.hidden = !text;
  };
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary", part: "button primary" }, submit);
  const cancel = button(texts.cancel, () => end());
  const form = h("form", { method: "dialog", novalidate: true }, h("h3", { id: heading }, title), parts, fault, h("div", { class: "buttons" }, cancel, go));
  const { done, end, hold, show } = modal(keys, { "aria-labelledby": heading }, form);
  // The dialog stays open while a request is in flight: the key would be created anyway, and its
  // value lost.
  const busy = (on) => {
    hold(on);
    go.disabled = cancel.disabled = on;
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    say("");
    busy(true);
    try {
      const result = await send();
      if (result) return end(result);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === 412) {
        end();
        return keys.changedElsewhere();
      }
      const said = error.faults.map((one) => `${one.field}: ${one.message}`).join("\n") || error.message;
      say(error.away ? texts.away : error.signedOut ? texts.signedOut : said || texts.failed);
    } finally {
      busy(false);
    }
    form.querySelector("[aria-invalid=true]")?.focus();
  });
  show();
  return done;
}

export function expiry(longest) {
  const opened = Date.now();
  const fits = (days) => !longest || days * DAY <= longest;
  const presets = Object.entries(texts.expiries).filter(([days]) => (days === "never" ? !longest : days === "date" || fits(days)));
  // The maximum lifetime is below the shortest preset of 7 days.
  if (longest && !presets.some(([days]) => Number(days))) presets.unshift([String(longest / DAY), texts.longest]);
  const select = h("select", {}, presets.map(([value, text]) => h("option", { value }, text)));
  select.value = presets.some(([days]) => days === "90") ? "90" : presets[0][0];
  const day = h("input", { type: "date", min: new Date(opened + DAY).toISOString().slice(0, 10) });
  const date = field(texts.date, day);
  const toggle = () => { date.element.hidden = select.value !== "date"; };
  select.addEventListener("change", toggle);
  toggle();
  return {
    element: h("div", {}, field(texts.expiry, select).element, date.element),
    // Returns a time, null for never, or undefined if the date is missing. Presets count from the
    // opening of the dialog, so a retry sends an identical request.
    read() {
      if (select.value === "never") return null;
      if (select.value !== "date") return new Date(opened + select.value * DAY).toISOString();
      const end = Date.parse(`${day.value}T23:59:59`);
      date.complain(end > opened ? undefined : texts.dateNeeded);
      return end > opened ? new Date(end).toISOString() : undefined;
    },
  };
}

export async function create(keys) {
  const name = field(texts.name, h("input", { type: "text", maxlength: 200, autocomplete: "off", required: true }), texts.nameHint);
  const [chosen, end] = [choices(keys.session.choices, keys.place), expiry(keys.session.max_lifetime && keys.session.max_lifetime * 1000)];
  let tried = {};
  const made = await ask(keys, texts.createTitle, texts.create, [name.element, chosen.elements, end.element], async () => {
    const [text, expires_at] = [name.control.value.trim(), end.read()];
    name.complain(text ? undefined : texts.nameNeeded);
    const may = chosen.read(text);
    if (!text || !may || expires_at === undefined) return undefined;
    const body = { name: text, owner: keys.owner(), ...may, expires_at };
    // Identical input reuses the idempotency key, so that a retry after a lost response creates
    // nothing twice. Changed input gets a new idempotency key.
    const asked = JSON.stringify(body);
    if (tried.asked !== asked) tried = { asked, once: crypto.randomUUID() };
    return keys.api.call("POST", "api-keys", { body, once: tried.once });
  });
  if (made?.value) await secret(keys, made);
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
