// Audiences: the services that accept tokens, and their token profiles.

/** @import { Kind } from "./resource_view.js" */
import { tags } from "./elements.js";
import { permissionOptions } from "./form.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const options = (/** @type {string[]} */ ...values) => values.map((value) => ({ value }));

/** @type {Kind<"audiences">} */
export const audiences = {
  name: "audience",
  list: "audiences",
  deleteHelp: texts.deleteHelp.audience,
  getTitle: (audience) => audience.identifier,
  isPermanent: (audience) => audience.built_in !== null,
  columns: [
    { title: columns.identifier, show: (audience) => audience.identifier },
    { title: columns.permissions, show: (audience) => (audience.permissions ? tags(audience.permissions, texts.none) : texts.allPermissions) },
    { title: columns.lifetime, show: (audience) => audience.token_ttl ?? texts.configured },
    { title: columns.algorithm, show: (audience) => audience.algorithm ?? texts.configuredAlgorithm(audience.signs_with) },
    { title: columns.kind, show: (audience) => audience.built_in && texts.builtInAudiences[audience.built_in] },
  ],
  fields: [
    { name: "identifier", label: fields.identifier, hint: fields.identifierHint, required: true, on: "create", maxlength: 512 },
    { name: "permissions", label: fields.permissions, kind: "choices", any: fields.anyPermission, options: permissionOptions() },
    { name: "token_ttl", label: fields.lifetime, hint: fields.lifetimeHint, empty: null },
    { name: "algorithm", label: fields.algorithm, kind: "select", empty: null, options: [{ value: "", text: texts.configured }, ...options("ES256", "ES384", "EdDSA", "RS256", "PS256")] },
    { name: "typ", label: fields.typ, initial: "at+jwt", maxlength: 64 },
    { name: "scope_claim", label: fields.scopeClaim, kind: "select", options: options("scope", "scp") },
    { name: "aud_claim", label: fields.audClaim, kind: "select", options: options("string", "array") },
    { name: "record_bound", label: fields.recordBound, hint: fields.recordBoundHint, kind: "check" },
    { name: "claims", label: fields.claims, hint: fields.claimsHint, kind: "json" },
  ],
};
