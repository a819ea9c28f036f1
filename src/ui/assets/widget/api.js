// Calls of /v1. `authorize` returns the headers that authenticate the caller. It is called again
// when a token has expired.

// An error response of /v1 (RFC 9457), or no response.
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem?.detail ?? problem?.title ?? "");
    this.status = status;
    this.code = problem?.code;
    this.faults = problem?.errors ?? [];
    this.retryAfter = retryAfter;
  }
  get signedOut() { return this.status === 401; }
  get forbidden() { return this.status === 403; }
  get away() { return this.status === 0 || this.status >= 500; }
}

export class Api {
  constructor(base, authorize, credentials = "omit") {
    this.base = base;
    this.authorize = authorize;
    this.credentials = credentials;
  }

  async call(method, path, { body, version, once, query } = {}) {
    const url = new URL(`v1/${path}`, this.base);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
    }
    for (const again of [false, true]) {
      const headers = await this.headers(again);
      if (!headers) throw new Refused(401);
      if (body !== undefined) headers["Content-Type"] = "application/json";
      if (version !== undefined) headers["If-Match"] = `"${version}"`;
      if (once !== undefined) headers["Idempotency-Key"] = once;
      const response = await this.send(url, { method, headers, body: body && JSON.stringify(body) });
      if (response.status === 401 && !again) continue;
      return this.read(response);
    }
  }

  // If the product cannot supply a token, the service is reported as unavailable.
  async headers(again) {
    try {
      return await this.authorize(again);
    } catch {
      throw new Refused(0);
    }
  }

  async send(url, request) {
    try {
      return await fetch(url, { ...request, cache: "no-store", credentials: this.credentials, redirect: "error" });
    } catch {
      throw new Refused(0);
    }
  }

  async read(response) {
    const text = await response.text();
    let value;
    try {
      value = text ? JSON.parse(text) : undefined;
    } catch {
      value = undefined;
    }
    if (response.ok) return value;
    throw new Refused(response.status, value, Number(response.headers.get("Retry-After")) || undefined);
  }
}
