// The session of the console: a cookie that no script sees, and calls that ask for a new one where it has ended.

import { Api, Refused } from "../widget/api.js";

// Beside /console lies /v1.
const root = new URL("./", location.href.split("#")[0]);

// What comes with this header was sent by this page: no form can send it, and no other origin may.
const mark = () => ({ "Keyswap-Page": "console" });

export const plain = () => new Api(root, (again) => (again ? undefined : mark()), "same-origin");

// Calls that ask `signIn` for another session where there is none any more, and then go on.
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

// What the service answers is told as a refusal, as those of /v1 are.
async function post(path, body) {
  const api = plain();
  const headers = { ...mark(), ...(body && { "Content-Type": "application/json" }) };
  return api.read(await api.send(new URL(path, root), { method: "POST", headers, body: body && JSON.stringify(body) }));
}

export const signIn = (key) => post("console/sign-in", { key });

// Where it cannot be reached the cookie stays: saying so is up to whoever asks.
export const signOut = () => post("console/sign-out");

export { Refused };
