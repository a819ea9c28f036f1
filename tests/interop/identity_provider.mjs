// The identity provider of a product: oidc-provider with JWT access tokens, as a browser would get after a login.
// node identity_provider.mjs PORT AUDIENCE
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const [port, audience] = process.argv.slice(2);
const { privateKey } = await generateKeyPair('RS256', { extractable: true });
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [{ ...(await exportJWK(privateKey)), use: 'sig', alg: 'RS256' }] },
  clients: [
    {
      client_id: 'browser',
      client_secret: 'not-a-secret',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        audience,
        scope: 'projects:read',
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
