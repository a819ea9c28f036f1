// The session of the console: an HttpOnly cookie, and calls that request a new sign-in when the
// session has ended.

/** @import { RequestOptions } from "../widget/api.js" */
import { Api, ApiError } from "../widget/api.js";

// The base URL. /console and /v1 are directly below it.
const root = new URL("./", location.href.split("#")[0]);

// CSRF protection: this page sends this header. A form cannot send it, and CORS does not permit it
// to other origins.
/** @returns {Record<string, string>} */
const pageHeader = () => ({ "Keyswap-Page": "console" });

// The client of the API. It repeats a request after a new sign-in if the session has ended.
export class ConsoleApi extends Api {
  /**
   * @param {() => Promise<boolean>} [signInAgain]
   * @param {AbortSignal} [signal]
   */
  constructor(signInAgain = async () => false, signal) {
    super(root, (renew) => (renew ? undefined : pageHeader()), "same-origin");
    this.signInAgain = signInAgain;
    this.signal = signal;
  }

  /**
   * @override
   * @param {string} operation
   * @param {RequestOptions} [options]
   * @returns {Promise<unknown>}
   */
  async request(operation, options) {
    for (;;) {
      try {
        return await super.request(operation, options);
      } catch (error) {
        if (!(error instanceof ApiError && error.isSignedOut) || !(await this.signInAgain())) throw error;
      }
    }
  }

  /**
   * @override
   * @param {URL} url
   * @param {RequestInit} request
   */
  send(url, request) {
    return super.send(url, { ...request, signal: this.signal });
  }
}

// Reports an error response as `ApiError`, like the calls of /v1.
/**
 * @param {string} path
 * @param {object} [body]
 */
async function post(path, body) {
  const api = new ConsoleApi();
  const headers = { ...pageHeader(), ...(body && { "Content-Type": "application/json" }) };
  return api.parseResponse(await api.send(new URL(path, root), { method: "POST", headers, body: body && JSON.stringify(body) }));
}

export const signIn = (/** @type {string} */ key) => post("console/sign-in", { key });

// If the server is unreachable, the cookie remains. The caller reports the error.
export const signOut = () => post("console/sign-out");
