// Forms that create a key for any owner and change a key.

/** @import { FieldSpec } from "./form.js" */
/** @import { OwnerType } from "./owner_field.js" */
/** @import { PageView } from "./page_view.js" */
import { createIdempotencyKeys } from "../widget/api.js";
import { fill, h } from "../widget/dom.js";
import { openFormDialog } from "../widget/form_dialog.js";
import { expiryField } from "../widget/key_dialogs.js";
import { showSecret } from "../widget/secret_dialog.js";
import { formatAddress } from "./address.js";
import { INVALID, createForm, loadAll, toOptions } from "./form.js";
import { ownerField } from "./owner_field.js";
import { texts } from "./texts.js";

const { fields } = texts;

/** @typedef {FieldSpec<Calls.BodyMember<"api-keys">>} KeyField */

/** @type {KeyField} */
const nameField = { name: "name", label: fields.name, hint: texts.nameHint, required: true, maxlength: 200 };

/** @type {KeyField} */
const descriptionField = { name: "description", label: fields.description, empty: null, maxlength: 500 };

/** @type {KeyField[]} */
const limitFields = [
  { name: "max_token_ttl", label: fields.maxTokenTtl, hint: fields.lifetimeHint, empty: null },
  { name: "exchanges_per_minute", label: fields.exchangesPerMinute, hint: fields.exchangesPerMinuteHint, kind: "number", min: 1 },
  { name: "audiences", label: fields.audiences, hint: fields.audiencesHint, kind: "lines", rows: 2, empty: null },
  { name: "record_bound", label: fields.recordBound, hint: fields.recordBoundHint, kind: "check" },
];

/**
 * @param {V1.Permission[]} catalog
 * @param {string} owner
 * @returns {KeyField}
 */
const permissionsField = (catalog, owner) => ({
  name: "permissions",
  label: fields.permissions,
  kind: "choices",
  options: toOptions(catalog.filter(({ assignable_to }) => owner === "none" || assignable_to.some((type) => type === owner))),
});

/** @param {PageView} page */
export async function createKey(page) {
  const catalog = await loadAll(page, "permissions");
  // An administrator of one organization creates keys within that organization only.
  const organization = page.shell.caller?.organization_id;
  /** @type {OwnerType[]} */
  const owners = organization ? ["organization", "user", "service_client"] : ["none", "organization", "user", "service_client"];
  // The permissions that a key may carry depend on the type of its owner.
  const permissionForm = (/** @type {OwnerType} */ type) => createForm(page, [permissionsField(catalog, type)]);
  let permissions = await permissionForm(owners[0]);
  const permissionsElement = h("div", {}, permissions.elements);
  const owner = ownerField(owners, async (type) => {
    permissions = await permissionForm(type);
    fill(permissionsElement, permissions.elements);
  })({ name: "owner", label: fields.owner, hint: fields.keyOwnerHint }, organization && { type: "organization", id: organization, organization_id: organization }, []);
  const [name, expiry, limits] = [await createForm(page, [nameField, descriptionField]), expiryField(), await createForm(page, limitFields)];
  const idempotencyKeyOf = createIdempotencyKeys();
  const content = [name.elements, owner.element, permissionsElement, expiry.element, h("details", {}, h("summary", {}, texts.limits), limits.elements)];
  const created = await openFormDialog(page, { title: texts.createTitles.key, submit: texts.create }, content, async () => {
    const values = [name.read(), permissions.read(), limits.read()];
    const [keyOwner, expires_at] = [owner.read(), expiry.read()];
    if (values.includes(undefined) || keyOwner === INVALID || expires_at === undefined) return undefined;
    const body = /** @type {V1.NewApiKey} */ ({ ...Object.assign({}, ...values), owner: keyOwner, expires_at });
    return page.api.call("POST api-keys", { body, idempotencyKey: idempotencyKeyOf(body) });
  });
  if (!created) return;
  if (created.value) await showSecret(page, { name: created.name, value: created.value });
  if (page.isLeft) return;
  // The response to a replayed request does not contain the value.
  if (!created.value) return page.reportChange(texts.valueLost(created.name));
  location.hash = formatAddress("keys", created.id);
}

/**
 * @param {PageView} page
 * @param {V1.ApiKey} key
 */
export async function changeKey(page, key) {
  const catalog = await loadAll(page, "permissions");
  const { elements, read } = await createForm(page, [{ ...nameField, hint: "" }, descriptionField, permissionsField(catalog, key.owner.type), ...limitFields], key);
  const changed = await openFormDialog(page, { title: texts.changeTitle(key.name), submit: texts.save }, elements, async () => {
    const body = /** @type {V1.ApiKeyPatch | undefined} */ (read());
    return body && page.api.call("PATCH api-keys/{id}", { path: { id: key.id }, body, version: key.version });
  });
  if (changed) await page.reportChange(texts.changed(changed.name));
}
