// A hosted page: shows the keys of the organization or of the user whom the product has redirected
// here. The session is an HttpOnly cookie.

/** @import { Scope } from "../widget/keys_view.js" */
import { Api } from "../widget/api.js";
import { button, fill, h } from "../widget/dom.js";
import { KeyswapApiKeys, define } from "../widget/element.js";
import { texts } from "../widget/texts.js";

const root = new URL("../", location.href.split("#")[0]);
/** @type {Scope} */
const scope = location.pathname.endsWith("/user-keys") ? "user" : "organization";
const PATHS = { organization: "organization-keys", user: "user-keys" };

// CSRF protection: a hosted page sends this header. A form cannot send it, and CORS does not permit
// it to other origins.
/** @returns {Record<string, string>} */
const pageHeader = () => ({ "Keyswap-Page": "1" });

const createApi = () => new Api(root, (renew) => (renew ? undefined : pageHeader()), "same-origin");

/** @typedef {Partial<V1.Branding> & { texts: V1.BrandingTexts }} Branding */
/** @type {Branding} */
const NO_BRANDING = { texts: {} };

// Returns the status, or 0 if there was no response.
/**
 * @param {string} path
 * @param {object} [body]
 */
async function post(path, body) {
  const headers = { ...pageHeader(), ...(body && { "Content-Type": "application/json" }) };
  const request = fetch(new URL(path, root), { method: "POST", credentials: "same-origin", cache: "no-store", headers, body: body && JSON.stringify(body) });
  return request.then(({ status }) => status, () => 0);
}

// Removes the one-time code from the address bar before anything else runs.
function takeCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

// Returns whether the page may continue. A code that is not accepted ends the current session,
// which may be that of another user. A code of another user asks before it replaces the session.
/**
 * @param {string | null} code
 * @param {boolean} [replace]
 * @returns {Promise<boolean>}
 */
async function signIn(code, replace = false) {
  if (!code) return true;
  const status = await post("portal/sign-in", { code, replace });
  if (status === 409) return !(await askToSwitch()) || signIn(code, true);
  if (status === 401) await post("portal/sign-out");
  return status === 204 || status === 401;
}

// Returns whether to sign in as the user of the link.
async function askToSwitch() {
  const { user_id: user } = await createApi().call("GET portal-sessions/current").catch(() => ({ user_id: "" }));
  return new Promise((resolve) => {
    const stay = button(texts.staySignedIn(user), () => resolve(false));
    const change = button(texts.switchUser, () => resolve(true));
    fill(main, h("div", { class: "notice", role: "alertdialog", "aria-label": texts.anotherUser }, h("h1", {}, texts.anotherUser), h("p", {}, texts.anotherUserHelp(user)), h("p", { class: "choices" }, stay, change)));
    stay.focus();
  });
}

// The page works without branding.
const loadBranding = () => createApi().call("GET branding").catch(() => NO_BRANDING);

// Sets the accents of the page and of the keys component, for light and dark schemes.
/** @param {Branding} branding */
function setAccents({ accent, accent_dark }) {
  if (!accent && !accent_dark) return;
  const { style } = document.documentElement;
  const [light, dark] = getComputedStyle(document.documentElement).getPropertyValue("--accent").match(/#[0-9a-f]+/gi) ?? [];
  for (const name of ["--accent", "--keyswap-accent"]) style.setProperty(name, `light-dark(${accent ?? light}, ${accent_dark ?? dark})`);
}

/**
 * @param {V1.CurrentPortalSession} session
 * @param {Branding} branding
 */
function bar(session, { logo, name }) {
  const link = (/** @type {Scope} */ of) => session[of]?.see && h("a", { href: PATHS[of], "aria-current": of === scope && "page" }, texts.tabs[of]);
  const signOut = async () => {
    await post("portal/sign-out");
    location.reload();
  };
  return [
    logo && h("img", { src: logo, alt: "" }),
    h("strong", {}, name ?? texts.brand),
    h("nav", { "aria-label": texts.pages }, link("organization"), link("user")),
    h("span", { class: "account" }, texts.signedInAs(session.user_id, session.organization_id)),
    button(texts.signOut, signOut),
  ];
}

/** @param {string | null} code */
async function start(code) {
  const loading = loadBranding();
  if (!(await signIn(code))) {
    const retry = button(texts.retry, () => start(code));
    fill(main, h("div", { class: "notice", role: "alert" }, h("p", {}, texts.unavailable), retry));
    return;
  }
  const keys = new KeyswapApiKeys();
  // Slow branding delays the keys by at most 400 ms. Its accents are set when it arrives.
  /** @type {Promise<Branding>} */
  const timeout = new Promise((resolve) => { setTimeout(resolve, 400, NO_BRANDING); });
  const branding = await Promise.race([loading, timeout]);
  loading.then(setAccents);
  keys.scope = scope;
  keys.configure(createApi(), branding.texts);
  keys.addEventListener("keyswap-signed-in", (event) => {
    const session = /** @type {CustomEvent<V1.CurrentPortalSession>} */ (event).detail;
    fill(/** @type {HTMLElement} */ (document.getElementById("bar")), bar(session, branding));
  });
  fill(main, keys);
}

// An address that differs only in its fragment does not load the page again, so a new code requires
// a reload.
addEventListener("hashchange", () => location.reload());

document.title = texts.titles[scope];
const main = h("main");
document.body.append(main);
define(root);
start(takeCode());
