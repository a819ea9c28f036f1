// oauth4webapi: a grant, then its RFC 9068 validator, the strictest there is.
import * as oauth from 'oauth4webapi';
import { run, subject, TOKEN_EXCHANGE } from './client.mjs';

const http = { [oauth.allowInsecureRequests]: true }; // the tests speak HTTP

async function discover({ issuer }, algorithm) {
  const url = new URL(issuer);
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm, ...http }));
}

// What a service does that is sent the token; `algorithms` of null leaves the choice to the library.
async function validate(as, facts, token, audience, algorithms = [facts.algorithm]) {
  const request = new Request('https://service.example/', { headers: { authorization: `Bearer ${token}` } });
  const signingAlgorithms = algorithms ?? undefined;
  return oauth.validateJwtAccessToken(as, request, audience, { signingAlgorithms, ...http });
}

const credentials = (algorithm, method, audience = ({ issuer }) => issuer, parameters = () => ({})) => async (facts) => {
  const as = await discover(facts, algorithm);
  const client = { client_id: facts.clientId };
  const response = await oauth.clientCredentialsGrantRequest(as, client, method(facts.key), parameters(facts), http);
  const answer = await oauth.processClientCredentialsResponse(as, client, response);
  return { answer, claims: await validate(as, facts, answer.access_token, audience(facts)) };
};

await run({
  basic_oauth2: credentials('oauth2', oauth.ClientSecretBasic),
  basic_oidc: credentials('oidc', oauth.ClientSecretBasic),
  post_oauth2: credentials('oauth2', oauth.ClientSecretPost),
  resource: credentials('oauth2', oauth.ClientSecretBasic, ({ resource }) => resource, ({ resource }) => ({ resource })),
  audience: credentials(
    'oauth2',
    oauth.ClientSecretPost,
    ({ audience }) => audience,
    ({ audience }) => ({ audience, scope: 'projects:read' }),
  ),
  async token_exchange(facts) {
    const as = await discover(facts, 'oauth2');
    const client = { client_id: facts.clientId };
    const asked = subject(facts);
    const response = await oauth.genericTokenEndpointRequest(as, client, oauth.None(), TOKEN_EXCHANGE, asked, http);
    const answer = await oauth.processGenericTokenEndpointResponse(as, client, response);
    return { answer, claims: await validate(as, facts, answer.access_token, facts.issuer) };
  },
  async any_algorithm(facts) {
    return validate(await discover(facts, 'oauth2'), facts, facts.token, facts.issuer, null);
  },
  // A service asks, in JSON and for a JWT; the client ends its token; the service asks again.
  async introspect_and_revoke(facts) {
    const as = await discover(facts, 'oauth2');
    const service = { client_id: facts.serviceId, introspection_signed_response_alg: facts.algorithm };
    const ask = async (requestJwtResponse) => {
      const how = { requestJwtResponse, ...http };
      const answer = await oauth.introspectionRequest(as, service, oauth.ClientSecretBasic(facts.serviceKey), facts.token, how);
      const claims = await oauth.processIntrospectionResponse(as, service, answer);
      if (requestJwtResponse) await oauth.validateApplicationLevelSignature(as, answer, http);
      return claims;
    };
    const before = [await ask(false), await ask(true)];
    const client = { client_id: facts.clientId };
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, oauth.ClientSecretPost(facts.key), facts.token, http));
    return { before, after: [await ask(false), await ask(true)] };
  },
  // The causes of the refusals of what is wrong, in the order of `facts.tokens`.
  async refused(facts) {
    const as = await discover(facts, 'oauth2');
    const attempts = facts.tokens.map(({ token, audience }) => validate(as, facts, token, audience));
    return (await Promise.allSettled(attempts)).map(({ status, reason }) => reason?.message ?? status);
  },
});
