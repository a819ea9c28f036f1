// A hosted page: shows the keys of the organization or of the user whom the product has redirected
// here. The session is an HttpOnly cookie.

import { Api } from "../widget/api.js";
import { button, fill, h } from "../widget/dom.js";
import { define } from "../widget/element.js";
import { texts } from "../widget/texts.js";

const root = new URL("../", location.href.split("#")[0]);
const scope = location.pathname.endsWith("/user-keys") ? "user" : "organization";
const pages = { organization: "organization-keys", user: "user-keys" };

// CSRF protection: a hosted page sends this header. A form cannot send it, and CORS does not permit
// it to other origins.
const mark = () => ({ "Keyswap-Page": "1" });

const post = (path, body) =>
  fetch(new URL(path, root), {
    method: "POST",
    credentials: "same-origin",
    cache: "no-store",
    headers: { ...mark(), ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });

// Removes the one-time code from the address bar before anything else runs.
function takeCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

// Returns whether the page may continue. A code that is not accepted ends the current session,
// which may be that of another user.
async function signIn(code) {
  if (!code) return true;
  const { status } = await post("portal/sign-in", { code }).catch(() => ({ status: 0 }));
  if (status === 401) await post("portal/sign-out").catch(() => undefined);
  return status === 204 || status === 401;
}

// Loads the branding. The page works without it.
async function branding() {
  try {
    return await new Api(root, mark, "same-origin").call("GET", "branding");
  } catch {
    return { texts: {} };
  }
}

// Sets the accents of the page and of the keys component, for light and dark schemes.
function paint({ accent, accent_dark }) {
  const usual = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  if (!accent && !accent_dark) return;
  const [light, dark] = usual.match(/#[0-9a-f]+/gi);
  const colours = `light-dark(${accent ?? light}, ${accent_dark ?? dark})`;
  for (const name of ["--accent", "--keyswap-accent"]) document.documentElement.style.setProperty(name, colours);
}

function bar(session, look) {
  const link = (of) => session[of]?.see && h("a", { href: pages[of], "aria-current": of === scope && "page" }, texts.tabs[of]);
  const out = button(texts.signOut, async () => {
    await post("portal/sign-out").catch(() => undefined);
    location.reload();
  });
  return [
    look.logo && h("img", { src: look.logo, alt: "" }),
    h("strong", {}, look.name ?? texts.brand),
    h("nav", { "aria-label": texts.pages }, link("organization"), link("user")),
    h("span", { class: "who" }, texts.signedInAs(session.user_id, session.organization_id)),
    out,
  ];
}

async function start(code) {
  const main = document.querySelector("main");
  const looks = branding();
  if (!(await signIn(code))) {
    const again = button(texts.again, () => start(code));
    fill(main, h("div", { class: "notice", role: "alert" }, h("p", {}, texts.away), again));
    return;
  }
  const keys = document.createElement("keyswap-api-keys");
  // Slow branding delays the keys by at most 400 ms. Its accents are set when it arrives.
  const look = await Promise.race([looks, new Promise((resolve) => { setTimeout(resolve, 400, { texts: {} }); })]);
  looks.then(paint);
  keys.scope = scope;
  keys.words = look.texts;
  keys.calls = new Api(root, (again) => (again ? undefined : mark()), "same-origin");
  keys.addEventListener("keyswap-signed-in", ({ detail }) => fill(document.getElementById("bar"), bar(detail, look)));
  fill(main, keys);
}

// An address that differs only in its fragment does not load the page again, so a new code requires
// a reload.
addEventListener("hashchange", () => location.reload());

document.title = texts.titles[scope];
document.body.append(h("main"));
define(root);
start(takeCode());
