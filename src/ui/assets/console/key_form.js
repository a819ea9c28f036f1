// Forms that create a key for any owner and change a key.

import { expiry } from "../widget/dialogs.js";
import { fill, h } from "../widget/dom.js";
import { secret } from "../widget/secret.js";
import { address } from "./address.js";
import { ask } from "./asking.js";
import { WRONG, every, form, repeatable } from "./form.js";
import { ownerField } from "./owner.js";
import { texts } from "./texts.js";

const { fields } = texts;

const fits = ({ assignable_to }, type) => type === "none" || assignable_to.includes(type);

const limits = [
  { name: "max_token_ttl", label: fields.longest, hint: fields.lifetimeHint, empty: null },
  { name: "exchanges_per_minute", label: fields.pace, hint: fields.paceHint, kind: "number", min: 1 },
  { name: "audiences", label: fields.audiences, hint: fields.audiencesHint, kind: "lines", rows: 2, empty: null },
];

const offered = (catalog, type) => ({ name: "permissions", label: fields.permissions, kind: "choices", options: catalog.filter((one) => fits(one, type)).map(({ name, description }) => ({ value: name, hint: description })) });

export async function createKey(page) {
  const catalog = await every(page, "permissions");
  const named = await form(page, [{ name: "name", label: fields.name, hint: texts.nameHint, required: true, maxlength: 200 }]);
  // An administrator of one organization creates keys within that organization only.
  const inside = page.shell.who.organization_id;
  const kinds = inside ? ["organization", "user", "service_client"] : ["none", "organization", "user", "service_client"];
  const owner = ownerField(kinds)({ label: fields.owner, hint: fields.keyOwnerHint }, inside && { type: "organization", id: inside, organization_id: inside });
  const [end, more, place] = [expiry(), await form(page, limits), h("div")];
  // The permissions that a key may carry depend on the type of its owner.
  let chosen;
  let type;
  const offer = async () => {
    const now = owner.element.querySelector("select").value;
    if (now === type) return;
    type = now;
    const offer = await form(page, [offered(catalog, now)]);
    if (type !== now) return;
    chosen = offer;
    fill(place, chosen.parts);
  };
  owner.element.addEventListener("change", offer);
  await offer();
  const once = repeatable();
  const parts = [named.parts, owner.element, place, end.element, h("details", {}, h("summary", {}, texts.limits), more.parts)];
  const made = await ask(page, texts.make.key, texts.create, parts, async () => {
    const read = [named.read(), chosen.read(), more.read()];
    const [whose, expires_at] = [owner.read(), end.read()];
    if (read.includes(undefined) || whose === WRONG || expires_at === undefined) return undefined;
    const body = { ...Object.assign({}, ...read), owner: whose, expires_at };
    return page.api.call("POST", "api-keys", { body, once: once(body) });
  });
  if (!made) return;
  if (made.value) await secret(page, made);
  if (page.gone) return;
  // The response to a replayed request does not contain the value.
  if (!made.value) return page.did(texts.valueLost(made.name));
  location.hash = address("keys", made.id);
}

export async function changeKey(page, key) {
  const catalog = await every(page, "permissions");
  const { parts, read } = await form(page, [{ name: "name", label: fields.name, required: true, maxlength: 200 }, offered(catalog, key.owner.type), ...limits], key);
  const changed = await ask(page, texts.change(key.name), texts.save, parts, async () => {
    const body = read();
    return body && page.api.call("PATCH", `api-keys/${encodeURIComponent(key.id)}`, { body, version: key.version });
  });
  if (changed) await page.did(texts.didChange(changed.name));
}
