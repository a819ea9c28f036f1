// jose as a verifier that stays up: each line on stdin holds tokens, each line on stdout what became of them.
import { createInterface } from 'node:readline';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { issuer, jwks, cache, leeway } = JSON.parse(process.argv[2]);
// As long as the cache: it never refetches for a kid that it does not know.
const keys = createRemoteJWKSet(new URL(jwks), { cacheMaxAge: cache * 1000, cooldownDuration: cache * 1000 });

async function judge(token, currentDate) {
  const began = Date.now() / 1000;
  let error = null;
  try {
    await jwtVerify(token, keys, { issuer, audience: issuer, typ: 'at+jwt', clockTolerance: leeway, currentDate });
  } catch (refusal) {
    error = `${refusal.code ?? refusal.name}: ${refusal.message}`;
  }
  return [began, Date.now() / 1000, error];
}

for await (const line of createInterface({ input: process.stdin })) {
  const verdicts = [];
  // `at` is there for tokens that are over: would they be taken if their time were now?
  for (const { token, at } of JSON.parse(line)) {
    verdicts.push(await judge(token, at === undefined ? undefined : new Date(at * 1000)));
  }
  console.log(JSON.stringify(verdicts));
}
