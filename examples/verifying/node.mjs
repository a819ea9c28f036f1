// Verifies tokens of Keyswap from standard input: node node.mjs ISSUER AUDIENCE PERMISSION [RESOURCE]
import { createInterface } from 'node:readline';
import { inflateSync } from 'node:zlib';
import { createRemoteJWKSet, jwtVerify } from 'jose'; // npm install jose

const algorithms = ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'];
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

// One for the whole service: it caches the keys and the lists.
class Verifier {
  constructor(issuer, audience) {
    Object.assign(this, { issuer, audience, lists: new Map() });
    // Keys are kept for 5 minutes; for a `kid` it does not know it looks again, once in 30 seconds at most.
    this.keys = createRemoteJWKSet(new URL(issuer + '/.well-known/jwks.json'), {
      cacheMaxAge: 300_000,
      cooldownDuration: 30_000,
    });
  }

  async verify(token, permission, resource) {
    const { issuer, audience } = this;
    const { payload } = await jwtVerify(token, this.keys, {
      issuer, audience, algorithms, typ: 'at+jwt', requiredClaims: ['exp', 'sub'], clockTolerance: 30,
    });
    if (resource !== undefined && !grants(payload, permission, resource)) throw new Error('not granted on the resource');
    if (resource === undefined && !(payload.scope ?? '').split(' ').includes(permission)) throw new Error('the scope is missing');
    if (payload.status && (await this.status(payload.status.status_list)) !== 0) throw new Error('revoked or suspended');
    return payload;
  }

  async status({ idx, uri }) {
    let list = this.lists.get(uri);
    if (!list || performance.now() >= list.until) {
      const { issuer } = this;
      if (!uri.startsWith(issuer + '/v1/status-lists/')) throw new Error('not a list of the issuer');
      const answer = await fetch(uri, { redirect: 'error', signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error(`the list: ${answer.status}`);
      const { payload } = await jwtVerify(await answer.text(), this.keys, {
        issuer, algorithms, subject: uri, typ: 'statuslist+jwt', requiredClaims: ['exp'], clockTolerance: 30,
      });
      const { bits, lst } = payload.status_list;
      list = { until: performance.now() + payload.ttl * 1000, bits, packed: inflateSync(Buffer.from(lst, 'base64url')) };
      this.lists.set(uri, list);
    }
    const { bits, packed } = list;
    const byte = packed[Math.floor((idx * bits) / 8)];
    if (byte === undefined) throw new Error('not in the list');
    return (byte >> ((idx * bits) % 8)) & ((1 << bits) - 1);
  }
}

const [issuer, audience, permission, resource] = process.argv.slice(2);
const verifier = new Verifier(issuer, audience);
for await (const token of createInterface({ input: process.stdin })) {
  try {
    console.log((await verifier.verify(token, permission, resource)).sub);
  } catch (error) { // any error: a token that cannot be verified is refused
    console.log(`refused: ${error.message}`);
  }
}
