// A service with one verification path: what differs between a login in the browser and an API key is a line in a table.
// node sample_service.mjs PORT AUDIENCE '{"<issuer>": "<URL of its JWKS>", …}'
import { createServer } from 'node:http';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';

const [port, audience, trusted] = process.argv.slice(2);
const issuers = new Map(
  Object.entries(JSON.parse(trusted)).map(([issuer, jwks]) => [issuer, createRemoteJWKSet(new URL(jwks))]),
);

async function verify(authorization) {
  const token = authorization?.match(/^Bearer ([\w.-]+)$/i)?.[1];
  // Read before it is verified: it only chooses the keys, and must then be what they have signed.
  const issuer = decodeJwt(token).iss;
  const keys = issuers.get(issuer);
  if (!keys) throw new Error('unknown issuer');
  const algorithms = ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'];
  const requiredClaims = ['exp', 'sub'];
  return (await jwtVerify(token, keys, { issuer, audience, typ: 'at+jwt', algorithms, requiredClaims })).payload;
}

const server = createServer(async (request, response) => {
  try {
    const claims = await verify(request.headers.authorization);
    const allowed = claims.scope?.split(' ').includes('projects:read');
    response.writeHead(allowed ? 200 : 403, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ issuer: claims.iss, subject: claims.sub }));
  } catch (error) {
    response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end(error.message);
  }
});
server.listen(Number(port), '127.0.0.1', () => console.log('ready'));
