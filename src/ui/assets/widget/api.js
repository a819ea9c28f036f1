// Calls of /v1.

/** @typedef {Record<string, string>} Headers */
/** @typedef {(renew: boolean) => Promise<Headers | undefined> | Headers | undefined} Authorize */
/** @typedef {{ path?: Record<string, string>, query?: Record<string, unknown>, body?: unknown, version?: number, idempotencyKey?: string }} RequestOptions */

// An error response of /v1 (RFC 9457). The status is 0 if there was no response.
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {Partial<V1.Problem>} [problem]
   * @param {number} [retryAfter]
   */
  constructor(status, problem, retryAfter) {
    super(problem?.detail ?? problem?.title ?? "");
    this.status = status;
    this.faults = problem?.errors ?? [];
    this.retryAfter = retryAfter;
  }
  get isSignedOut() { return this.status === 401; }
  get isForbidden() { return this.status === 403; }
  get isUnavailable() { return this.status === 0 || this.status >= 500; }
}

/**
 * @param {ApiError} error
 * @param {{ unavailable: string, signedOut: string, failed: string }} texts
 */
export function describeError(error, texts) {
  if (error.isUnavailable) return texts.unavailable;
  if (error.isSignedOut) return texts.signedOut;
  return error.faults.map(({ field, message }) => `${field}: ${message}`).join("\n") || error.message || texts.failed;
}

export class Api {
  // `authorize` returns the headers that authenticate the caller. It is called again when a token
  // has expired.
  /**
   * @param {URL} base
   * @param {Authorize} authorize
   * @param {RequestCredentials} [credentials]
   */
  constructor(base, authorize, credentials = "omit") {
    this.base = base;
    this.authorize = authorize;
    this.credentials = credentials;
  }

  // Calls an operation of the OpenAPI document, such as "GET api-keys/{id}".
  /**
   * @template {Calls.Operation} Name
   * @param {Name} operation
   * @param {Calls.Arguments<Name>} options
   * @returns {Promise<Calls.Response<Name>>}
   */
  async call(operation, ...[options]) {
    return /** @type {Calls.Response<Name>} */ (await this.request(operation, options));
  }

  /**
   * @param {string} operation
   * @param {RequestOptions} [options]
   * @returns {Promise<unknown>}
   */
  async request(operation, { path = {}, query = {}, body, version, idempotencyKey } = {}) {
    const [method, template] = operation.split(" ");
    const url = new URL(`v1/${template.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(path[name]))}`, this.base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, String(value));
    }
    for (const renew of [false, true]) {
      const headers = await this.getHeaders(renew);
      if (!headers) throw new ApiError(401);
      if (body !== undefined) headers["Content-Type"] = "application/json";
      if (version !== undefined) headers["If-Match"] = `"${version}"`;
      if (idempotencyKey !== undefined) headers["Idempotency-Key"] = idempotencyKey;
      const response = await this.send(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
      if (response.status === 401 && !renew) continue;
      return this.parseResponse(response);
    }
  }

  // If the product cannot supply a token, the service is reported as unavailable.
  /** @param {boolean} renew */
  async getHeaders(renew) {
    try {
      return await this.authorize(renew);
    } catch {
      throw new ApiError(0);
    }
  }

  /**
   * @param {URL} url
   * @param {RequestInit} request
   */
  async send(url, request) {
    try {
      return await fetch(url, { ...request, cache: "no-store", credentials: this.credentials, redirect: "error" });
    } catch {
      throw new ApiError(0);
    }
  }

  /** @param {Response} response */
  async parseResponse(response) {
    const text = await response.text();
    let value;
    try {
      value = text ? JSON.parse(text) : undefined;
    } catch {
      value = undefined;
    }
    if (response.ok) return value;
    throw new ApiError(response.status, value, Number(response.headers.get("Retry-After")) || undefined);
  }
}

// Identical input reuses the idempotency key, so that a retry after a lost response creates nothing
// twice. Changed input gets a new idempotency key.
export function createIdempotencyKeys() {
  let previous = { input: "", key: "" };
  return (/** @type {unknown} */ body) => {
    const input = JSON.stringify(body);
    if (previous.input !== input) previous = { input, key: crypto.randomUUID() };
    return previous.key;
  };
}
