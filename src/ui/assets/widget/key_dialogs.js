// Dialogs that create, rotate, suspend and revoke a key. A new value is shown once.

/** @import { FormHost } from "./form_dialog.js" */
/** @import { KeysView } from "./keys_view.js" */
import { createIdempotencyKeys } from "./api.js";
import { field, h, select } from "./dom.js";
import { confirmAction, confirmByTyping, openFormDialog } from "./form_dialog.js";
import { permissionChoices } from "./permission_choices.js";
import { showSecret } from "./secret_dialog.js";
import { texts } from "./texts.js";
import { DAY } from "./time.js";

/** @typedef {FormHost & { api: Pick<import("./api.js").Api, "base" | "call"> }} KeyHost */

/** @param {number} [longest] the maximum lifetime in milliseconds */
export function expiryField(longest) {
  const opened = Date.now();
  const presets = Object.entries(texts.expiries).filter(([days]) => (days === "never" ? !longest : days === "date" || !longest || Number(days) * DAY <= longest));
  // The maximum lifetime is below the shortest preset of 7 days.
  if (longest && !presets.some(([days]) => Number(days))) presets.unshift([String(longest / DAY), texts.longest]);
  const day = h("input", { type: "date", min: new Date(opened + DAY).toISOString().slice(0, 10) });
  const date = field(texts.date, day);
  const showDate = () => { date.element.hidden = preset.value !== "date"; };
  const preset = select(Object.fromEntries(presets), presets.some(([days]) => days === "90") ? "90" : presets[0][0], showDate);
  showDate();
  return {
    element: h("div", {}, field(texts.expiry, preset).element, date.element),
    // Returns a time, null for never, or undefined if the date is missing. Presets count from the
    // opening of the dialog, so a retry sends an identical request.
    read() {
      if (preset.value === "never") return null;
      if (preset.value !== "date") return new Date(opened + Number(preset.value) * DAY).toISOString();
      const end = Date.parse(`${day.value}T23:59:59`);
      date.setError(end > opened ? undefined : texts.dateNeeded);
      return end > opened ? new Date(end).toISOString() : undefined;
    },
  };
}

/**
 * @param {KeysView} view
 * @param {V1.CurrentPortalSession} session
 * @param {V1.KeysAtHand} rights
 */
export async function createKey(view, session, rights) {
  const name = field(texts.name, h("input", { type: "text", maxlength: 200, autocomplete: "off", required: true }), texts.nameHint);
  const description = field(texts.description, h("input", { type: "text", maxlength: 500, autocomplete: "off" }));
  const choices = permissionChoices(session.choices, rights);
  const expiry = expiryField(session.max_lifetime ? session.max_lifetime * 1000 : undefined);
  const idempotencyKeyOf = createIdempotencyKeys();
  const created = await openFormDialog(view, { title: texts.createTitle, submit: texts.create }, [name.element, description.element, choices.elements, expiry.element], async () => {
    const [text, expires_at] = [name.control.value.trim(), expiry.read()];
    name.setError(text ? undefined : texts.nameNeeded);
    const permissions = choices.read(text);
    if (!text || !permissions || expires_at === undefined) return undefined;
    const body = { name: text, description: description.control.value.trim() || null, owner: view.newKeyOwner(session), ...permissions, expires_at };
    return view.api.call("POST api-keys", { body, idempotencyKey: idempotencyKeyOf(body) });
  });
  if (created?.value) await showSecret(view, { name: created.name, value: created.value });
  return created;
}

/**
 * @param {KeyHost} host
 * @param {V1.ApiKey} key
 */
export async function rotateKey(host, { id, name, version }) {
  const grace = select(texts.graces, "24h");
  const content = [h("p", {}, texts.rotateHelp), field(texts.grace, grace).element];
  const rotated = await openFormDialog(host, { title: texts.rotateTitle(name), submit: texts.rotateSubmit }, content, () =>
    host.api.call("POST api-keys/{id}/rotate", { path: { id }, body: { grace: grace.value }, version }));
  if (rotated?.value) await showSecret(host, { name, value: rotated.value });
  return rotated;
}

/**
 * @param {KeyHost} host
 * @param {V1.ApiKey} key
 */
export const suspendKey = (host, { id, name, version }) =>
  confirmAction(host, { ...texts.suspend, title: texts.suspend.title(name) }, () => host.api.call("POST api-keys/{id}/suspend", { path: { id }, version }));

/**
 * @param {KeyHost} host
 * @param {V1.ApiKey} key
 */
export const revokeKey = (host, { id, name, version }) =>
  confirmByTyping(host, { title: texts.revokeTitle(name), help: texts.revokeHelp, word: name, submit: texts.revokeSubmit }, () => host.api.call("POST api-keys/{id}/revoke", { path: { id }, version }));
