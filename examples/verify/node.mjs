// Verifies a token of Keyswap with jose (npm install jose): node node.mjs ISSUER AUDIENCE TOKEN
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [issuer, audience, token] = process.argv.slice(2);
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
  console.log(payload.sub, payload.scope ?? '');
} catch (error) {
  console.error(`refused: ${error.message}`);
  process.exitCode = 1;
}
