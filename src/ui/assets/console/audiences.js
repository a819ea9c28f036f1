// Audiences: the services that accept tokens, and their token profiles.

import { permissions } from "./form.js";
import { tags } from "./parts.js";
import { texts } from "./texts.js";

const { fields, columns } = texts;

const of = (...values) => values.map((value) => ({ value }));

export const audiences = {
  name: "audience",
  path: "audiences",
  called: (audience) => audience.identifier,
  stays: (audience) => audience.built_in,
  columns: [
    { title: columns.identifier, show: (audience) => audience.identifier },
    { title: columns.permissions, show: (audience) => (audience.permissions ? tags(audience.permissions, texts.none) : texts.every) },
    { title: columns.lifetime, show: (audience) => audience.token_ttl ?? texts.usual },
    { title: columns.algorithm, show: (audience) => audience.algorithm ?? texts.asConfigured(audience.signs_with) },
    { title: columns.kind, show: (audience) => texts.builtInAudiences[audience.built_in] ?? "" },
  ],
  fields: [
    { name: "identifier", label: fields.identifier, hint: fields.identifierHint, required: true, on: "create", maxlength: 512 },
    { name: "permissions", label: fields.permissions, kind: "choices", any: fields.anyPermission, options: permissions() },
    { name: "token_ttl", label: fields.lifetime, hint: fields.lifetimeHint, empty: null },
    { name: "algorithm", label: fields.algorithm, kind: "select", empty: null, options: [{ value: "", text: fields.configured }, ...of("ES256", "ES384", "EdDSA", "RS256", "PS256")] },
    { name: "typ", label: fields.typ, initial: "at+jwt", maxlength: 64 },
    { name: "scope_claim", label: fields.scopeClaim, kind: "select", options: of("scope", "scp") },
    { name: "aud_claim", label: fields.audClaim, kind: "select", options: of("string", "array") },
    { name: "claims", label: fields.claims, hint: fields.claimsHint, kind: "json" },
  ],
};
