// jose with a remote JWKS: what most services in Node do.
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { run } from './client.mjs';

async function verify({ issuer, algorithm }, token, audience) {
  const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(metadata.jwks_uri)), {
    issuer,
    audience,
    typ: 'at+jwt',
    algorithms: [algorithm],
    requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id'],
  });
  return payload;
}

await run({
  verify: (facts) => verify(facts, facts.token, facts.issuer),
  // The codes of the refusals of what is wrong, in the order of `facts.tokens`.
  async refused(facts) {
    const attempts = facts.tokens.map(({ token, audience }) => verify(facts, token, audience));
    return (await Promise.allSettled(attempts)).map(({ status, reason }) => reason?.code ?? status);
  },
});
