// Verifies a token of Keyswap with jose (npm install jose): node node.mjs ISSUER AUDIENCE TOKEN [PERMISSION RESOURCE]
import { createRemoteJWKSet, jwtVerify } from 'jose';

const detailType = 'urn:keyswap:params:oauth:authorization-details:access';
// An empty, `.` or `..` part, an escape that another server could decode again, or a character that no path has.
const ambiguous = /\/\.{0,2}(;[^/]*)?(\/|$)|%(2[aef5]|3b|5c)|[*?#\\\s]/i;

// Whether the token has the permission on the resource: without `authorization_details` that say so, it has not.
function grants(claims, permission, resource) {
  if (ambiguous.test(resource.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]+/i, ''))) return false;
  return (claims.authorization_details ?? []).some((detail) => detail.type === detailType
    && detail.actions.includes(permission) && detail.locations.some((pattern) => matches(pattern, resource)));
}

// Compares part by part. `*` matches one part, at the end one or more.
function matches(pattern, resource) {
  const wanted = pattern.split('/');
  let parts = resource.split('/');
  if (wanted.at(-1) === '*') parts = parts.slice(0, wanted.length);
  return wanted.length === parts.length && wanted.every((one, at) => one === '*' || one === parts[at]);
}

const [issuer, audience, token, permission, resource] = process.argv.slice(2);
const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
// Keep it: it caches the keys, and looks again for one it does not know.
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
try {
  const { payload } = await jwtVerify(token, keys, {
    issuer,
    audience,
    typ: 'at+jwt',
    algorithms: ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'],
    requiredClaims: ['exp', 'sub'],
  });
  if (resource !== undefined && !grants(payload, permission, resource)) throw new Error('not granted on the resource');
  console.log(payload.sub, payload.scope ?? '');
} catch (error) {
  console.error(`refused: ${error.message}`);
  process.exitCode = 1;
}
