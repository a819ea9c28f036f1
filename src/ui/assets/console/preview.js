// A preview of the hosted page: the real component with sample keys.

import { Keys } from "../widget/keys.js";
import { sheet } from "../widget/style.js";
import { texts as words } from "../widget/texts.js";
import { fill, h } from "../widget/dom.js";
import { DAY } from "../widget/when.js";
import { ACCENTS } from "./contrast.js";
import { texts } from "./texts.js";

// The styles of portal/page.css, adapted to a shadow host.
const frame = new CSSStyleSheet();
frame.replaceSync(`
:host { background: light-dark(#f7f7f9, #111113); border-radius: 10px; overflow: hidden; }
.bar { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; padding: 10px 20px; background: var(--_surface); border-bottom: 1px solid var(--_line); }
.bar img { max-height: 32px; max-width: 180px; display: block; }
.bar span { color: var(--_quiet); padding: 6px 0; border-bottom: 2px solid transparent; }
.bar span.here { color: var(--_text); border-color: var(--_accent); font-weight: 600; }
.bar span.who { margin-inline-start: auto; }
main { margin: 20px; padding: 24px 20px; background: var(--_surface); border: 1px solid var(--_line); border-radius: 12px; }
.gone { text-align: center; padding: 80px 20px; }
`);

const at = (days) => new Date(Date.now() + days * DAY).toISOString();

const sample = ([id, name, masked, permissions, made, used, ends, old], owner) => ({
  id: `key_${id}`, name, masked, permissions, owner, state: "active", version: 1, created_at: at(-made), created_by: { type: "user", id: "ada" },
  last_used_at: used === null ? null : at(-used), expires_at: ends === null ? null : at(ends), metadata: {},
  credentials: [...(old ? [{ id: "0", expires_at: at(old), last_used_at: null }] : []), { id: "1", expires_at: null, last_used_at: null }],
});

const SAMPLES = [
  [1, "nightly export", "ks_7Qv…k2Xd", ["projects:read", "reports:export"], 40, 0.3, 50],
  [2, "deploy bot", "ks_Pz4…m9Ra", ["projects:read", "projects:write"], 120, 0.01, null, 2],
  [3, "status page", "ks_u1B…c7Ty", ["projects:read"], 300, null, 65],
];

// Responds like /v1 and changes nothing.
function sampleApi(scope) {
  const owner = scope === "user" ? { type: "user", id: "ada", organization_id: "acme" } : { type: "organization", id: "acme", organization_id: "acme" };
  const rights = { see: true, change: true, end: true, permissions: [], roles: [] };
  const session = { user_id: "ada", organization_id: "acme", organization: rights, user: rights, sees_everyone: false, max_lifetime: null, choices: ["permissions"] };
  return {
    base: location.href,
    call: async (method, path) => (path === "portal-sessions/current" ? session : { data: SAMPLES.map((one) => sample(one, owner)), next: null }),
  };
}

function bar({ name, logo }, scope) {
  const link = (of) => h("span", { class: of === scope && "here" }, words.tabs[of]);
  return h("div", { class: "bar" }, logo && h("img", { src: logo, alt: "" }), h("strong", {}, name || words.brand), link("organization"), link("user"), h("span", { class: "who" }, words.signedInAs("ada", "acme")));
}

// `look` is { scheme, scope }. The scope "signed_out" shows the page after the end of the session.
export async function draw(host, branding, { scheme, scope }) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [sheet, frame];
  host.style.setProperty("--keyswap-color-scheme", scheme);
  const { accent, accent_dark } = branding;
  host.style.setProperty("--keyswap-accent", `light-dark(${accent ?? ACCENTS.accent.usual}, ${accent_dark ?? ACCENTS.accent_dark.usual})`);
  if (scope === "signed_out") {
    const help = branding.texts.signed_out_help || words.signedOutHelp;
    return fill(root, bar(branding, undefined), h("main", { class: "gone" }, h("p", {}, words.signedOut), h("p", { class: "hint" }, help)));
  }
  const keys = new Keys(sampleApi(scope), scope, () => undefined, branding.texts);
  await keys.start();
  fill(root, bar(branding, scope), h("main", { "aria-label": texts.preview }, keys.element));
}
