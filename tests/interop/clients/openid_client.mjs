// openid-client 6: discovery by either kind of metadata, then a grant.
import * as client from 'openid-client';
import { run, subject, TOKEN_EXCHANGE } from './client.mjs';

const discover = (facts, algorithm, authentication) =>
  client.discovery(new URL(facts.issuer), facts.clientId, undefined, authentication, {
    algorithm,
    execute: [client.allowInsecureRequests], // the tests speak HTTP
  });

const credentials = (algorithm, method, parameters = () => ({})) => async (facts) => {
  const config = await discover(facts, algorithm, method(facts.key));
  return client.clientCredentialsGrant(config, parameters(facts));
};

await run({
  basic_oauth2: credentials('oauth2', client.ClientSecretBasic),
  basic_oidc: credentials('oidc', client.ClientSecretBasic),
  post_oauth2: credentials('oauth2', client.ClientSecretPost),
  resource: credentials('oauth2', client.ClientSecretPost, ({ resource }) => ({ resource })),
  audience: credentials('oauth2', client.ClientSecretBasic, ({ audience }) => ({ audience, scope: 'projects:read' })),
  async token_exchange(facts) {
    const config = await discover(facts, 'oauth2', client.None());
    return client.genericGrantRequest(config, TOKEN_EXCHANGE, subject(facts));
  },
  // The default: a client with a secret, which the library sends beside the subject token.
  async token_exchange_with_secret(facts) {
    const config = await discover(facts, 'oauth2', client.ClientSecretBasic(facts.key));
    return client.genericGrantRequest(config, TOKEN_EXCHANGE, subject(facts));
  },
  // A client that expects a bound token must not get a bearer token.
  async dpop(facts) {
    const config = await discover(facts, 'oauth2', client.ClientSecretBasic(facts.key));
    const proof = client.getDPoPHandle(config, await client.randomDPoPKeyPair());
    try {
      return await client.clientCredentialsGrant(config, {}, { DPoP: proof });
    } catch (error) {
      return { code: error.error, status: error.status };
    }
  },
  async refused(facts) {
    try {
      return await credentials('oauth2', client.ClientSecretBasic)(facts);
    } catch (error) {
      return { code: error.code, status: error.status };
    }
  },
});
