// Status lists read by two libraries. Neither verifies a signature or looks at a time: both leave that to the verifier
// (README of @sd-jwt/jwt-status-list: "validation of the JWT is not provided", "caching is up to the user"). `readOne` is
// therefore what a strict verifier puts around them: jose for the signature and `exp`, and the freshness of
// draft-ietf-oauth-status-list-21 (§5.1, §8.3, §13.7): no use of a list at or after `iat + ttl`.
import * as owf from '@owf/token-status-list';
import * as sdJwt from '@sd-jwt/jwt-status-list';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { run } from './client.mjs';

const LIBRARIES = { '@owf/token-status-list': owf, '@sd-jwt/jwt-status-list': sdJwt };

const read = ({ tokens, ...facts }) => Promise.all(tokens.map((token) => readOne(token, facts)));

// What each library reports of a token at the time of the verifier, with the list that it holds or that it fetches.
async function readOne(token, { issuer, algorithm, list, at }) {
  const keys = createRemoteJWKSet(new URL(issuer + '/.well-known/jwks.json'));
  const said = {};
  for (const [name, library] of Object.entries(LIBRARIES)) {
    const { idx, uri } = library.getStatusListFromJWT(token);
    const jwt = list ?? await (await fetch(uri)).text();
    const now = at ?? Date.now() / 1000;
    try {
      const { payload } = await jwtVerify(jwt, keys, {
        issuer, subject: uri, typ: 'statuslist+jwt', algorithms: [algorithm], requiredClaims: ['iat', 'exp', 'ttl'], currentDate: new Date(now * 1000),
      });
      if (now >= payload.iat + payload.ttl) throw new Error('the list is older than its ttl');
      const statuses = library.getListFromStatusListJWT(jwt);
      const others = statuses.statusList.flatMap((status, index) => (status === 0 ? [] : [[index, status]]));
      said[name] = { status: statuses.getStatus(idx), others, bits: statuses.getBitsPerStatus(), age: now - payload.iat };
    } catch (error) {
      said[name] = { refused: error.code ?? error.message };
    }
  }
  return said;
}

await run({ read });
