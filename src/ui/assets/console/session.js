// The session of the console: an HttpOnly cookie, and calls that request a new sign-in when the
// session has ended.

import { Api, Refused } from "../widget/api.js";

// The base URL. /console and /v1 are directly below it.
const root = new URL("./", location.href.split("#")[0]);

// CSRF protection: this page sends this header. A form cannot send it, and CORS does not permit it
// to other origins.
const mark = () => ({ "Keyswap-Page": "console" });

export const plain = () => new Api(root, (again) => (again ? undefined : mark()), "same-origin");

// Calls `signIn` if the session has ended, and then repeats the request.
export class Calls extends Api {
  constructor(signIn, signal) {
    super(root, (again) => (again ? undefined : mark()), "same-origin");
    this.signIn = signIn;
    this.signal = signal;
  }

  async call(method, path, more) {
    for (;;) {
      try {
        return await super.call(method, path, more);
      } catch (error) {
        if (!error.signedOut || !(await this.signIn())) throw error;
      }
    }
  }

  send(url, request) {
    return super.send(url, { ...request, signal: this.signal });
  }
}

// Reports an error response as `Refused`, like the calls of /v1.
async function post(path, body) {
  const api = plain();
  const headers = { ...mark(), ...(body && { "Content-Type": "application/json" }) };
  return api.read(await api.send(new URL(path, root), { method: "POST", headers, body: body && JSON.stringify(body) }));
}

export const signIn = (key) => post("console/sign-in", { key });

// If the server is unreachable, the cookie remains. The caller reports the error.
export const signOut = () => post("console/sign-out");

export { Refused };
