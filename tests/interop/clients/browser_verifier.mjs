// A page that verifies tokens as docs/guides/verify-tokens.md and docs/concepts/status-lists.md say, with their caches: the
// metadata, the keys and the lists are fetched from the issuer, which is another origin.
import { createLocalJWKSet, jwtVerify } from 'jose';

class Documents {
  constructor() {
    Object.assign(this, { kept: new Map(), log: [] });
  }

  // A document with its ETag. A 304 confirms the text that is kept.
  async fetch(url) {
    const kept = this.kept.get(url);
    const answer = await fetch(url, { redirect: 'error', headers: kept ? { 'If-None-Match': kept.etag } : {} });
    const headers = Object.fromEntries(answer.headers);
    this.log.push({ url, status: answer.status, headers });
    if (answer.status === 304) return kept.text;
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    const text = await answer.text();
    this.kept.set(url, { text, etag: headers.etag });
    return text;
  }
}

class Verifier {
  constructor(issuer, metadata, audience) {
    Object.assign(this, { issuer, metadata, audience, documents: new Documents(), lists: new Map() });
  }

  // Fetches the metadata and the keys, for the first time or again.
  async refreshKeys() {
    const metadata = JSON.parse(await this.documents.fetch(this.metadata));
    if (metadata.issuer !== this.issuer) throw new Error('the metadata of another issuer');
    this.keys = createLocalJWKSet(JSON.parse(await this.documents.fetch(metadata.jwks_uri)));
  }

  async verify(token) {
    if (!this.keys) await this.refreshKeys();
    const { issuer, audience } = this;
    const { payload } = await jwtVerify(token, this.keys, {
      issuer, audience, algorithms: ['ES256'], typ: 'at+jwt', requiredClaims: ['exp', 'sub'], clockTolerance: 30,
    });
    if ((await this.status(payload.status.status_list)) !== 0) throw new Error('revoked or suspended');
    return payload.sub;
  }

  async status({ idx, uri }) {
    const list = this.lists.get(uri);
    const { bits, packed } = list && Date.now() / 1000 < list.until ? list : await this.refreshList(uri);
    const byte = packed[Math.floor((idx * bits) / 8)];
    if (byte === undefined) throw new Error('not in the list');
    return (byte >> ((idx * bits) % 8)) & ((1 << bits) - 1);
  }

  async refreshList(uri) {
    const { issuer } = this;
    if (!uri.startsWith(issuer + '/v1/status-lists/')) throw new Error('not a list of the issuer');
    const { payload } = await jwtVerify(await this.documents.fetch(uri), this.keys, {
      issuer, subject: uri, algorithms: ['ES256'], typ: 'statuslist+jwt', requiredClaims: ['iat', 'exp'], clockTolerance: 30,
    });
    const until = payload.iat + payload.ttl;
    if (Date.now() / 1000 >= until) throw new Error('the list is older than its ttl');
    const { bits, lst } = payload.status_list;
    const list = { until, bits, packed: await inflate(lst) };
    this.lists.set(uri, list);
    return list;
  }
}

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

window.start = (...words) => {
  window.verifier = new Verifier(...words);
};
// The subject of a token, or why it is refused.
window.verdict = (token) => window.verifier.verify(token).catch((error) => `refused: ${error.message}`);
