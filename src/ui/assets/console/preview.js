// A preview of the hosted page: the real component with sample keys.

/** @import { Scope } from "../widget/keys_view.js" */
import { fill, h } from "../widget/dom.js";
import { KeysView } from "../widget/keys_view.js";
import { sheet } from "../widget/style.js";
import { texts as widgetTexts } from "../widget/texts.js";
import { daysFromNow } from "../widget/time.js";
import { DEFAULT_ACCENTS } from "./contrast.js";
import { texts } from "./texts.js";

// The styles of portal/page.css, adapted to a shadow host.
const frame = new CSSStyleSheet();
frame.replaceSync(`
:host { background: light-dark(#f7f7f9, #111113); border-radius: 10px; overflow: hidden; }
.bar { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; padding: 10px 20px; background: var(--_surface); border-bottom: 1px solid var(--_line); }
.bar img { max-height: 32px; max-width: 180px; display: block; }
.bar span { color: var(--_quiet); padding: 6px 0; border-bottom: 2px solid transparent; }
.bar span.current { color: var(--_text); border-color: var(--_accent); font-weight: 600; }
.bar span.account { margin-inline-start: auto; }
main { margin: 20px; padding: 24px 20px; background: var(--_surface); border: 1px solid var(--_line); border-radius: 12px; }
.signed-out { text-align: center; padding: 80px 20px; }
`);

/** @typedef {{ id: number, name: string, masked: string, permissions: string[], createdDaysAgo: number, usedDaysAgo?: number, expiresInDays?: number, oldValueDays?: number }} Sample */

/** @type {Sample[]} */
const SAMPLES = [
  { id: 1, name: "nightly export", masked: "ks_7Qv…k2Xd", permissions: ["projects:read", "reports:export"], createdDaysAgo: 40, usedDaysAgo: 0.3, expiresInDays: 50 },
  { id: 2, name: "deploy bot", masked: "ks_Pz4…m9Ra", permissions: ["projects:read", "projects:write"], createdDaysAgo: 120, usedDaysAgo: 0.01, oldValueDays: 2 },
  { id: 3, name: "status page", masked: "ks_u1B…c7Ty", permissions: ["projects:read"], createdDaysAgo: 300, expiresInDays: 65 },
];

/**
 * @param {Sample} sample
 * @param {V1.ApiKeyOwner} owner
 * @returns {V1.ApiKey}
 */
function sampleKey({ id, name, masked, permissions, createdDaysAgo, usedDaysAgo, expiresInDays, oldValueDays }, owner) {
  const created_at = daysFromNow(-createdDaysAgo);
  const credential = { id: "1", created_at, expires_at: null, last_used_at: null };
  return {
    id: `key_${id}`, name, masked, description: null, permissions, owner, state: "active", state_reason: null, version: 1, archived_at: null,
    audiences: null, max_token_ttl: null, exchanges_per_minute: null, record_bound: false, metadata: {},
    created_at, created_by: { type: "user", id: "ada" },
    last_used_at: usedDaysAgo === undefined ? null : daysFromNow(-usedDaysAgo),
    expires_at: expiresInDays === undefined ? null : daysFromNow(expiresInDays),
    credentials: oldValueDays ? [{ ...credential, id: "0", expires_at: daysFromNow(oldValueDays) }, credential] : [credential],
  };
}

// Responds like /v1 and changes nothing.
/** @param {Scope} scope */
function sampleApi(scope) {
  /** @type {V1.ApiKeyOwner} */
  const owner = scope === "user" ? { type: "user", id: "ada", organization_id: "acme" } : { type: "organization", id: "acme", organization_id: "acme" };
  const rights = { see: true, change: true, end: true, permissions: [], roles: [] };
  /** @type {V1.CurrentPortalSession} */
  const session = { user_id: "ada", organization_id: "acme", organization: rights, user: rights, sees_everyone: false, max_lifetime: null, choices: ["permissions"] };
  const keys = { data: SAMPLES.map((sample) => sampleKey(sample, owner)), next: null };
  const request = async (/** @type {string} */ operation) => (operation === "GET portal-sessions/current" ? session : keys);
  return { base: new URL(location.href), request, call: /** @type {import("../widget/api.js").Api["call"]} */ (request) };
}

/**
 * @param {V1.BrandingPut} branding
 * @param {Scope} [scope]
 */
function bar({ name, logo }, scope) {
  const tab = (/** @type {Scope} */ of) => h("span", { class: of === scope && "current" }, widgetTexts.tabs[of]);
  return h("div", { class: "bar" }, logo && h("img", { src: logo, alt: "" }), h("strong", {}, name || widgetTexts.brand), tab("organization"), tab("user"), h("span", { class: "account" }, widgetTexts.signedInAs("ada", "acme")));
}

// The page "signed_out" is that after the end of the session.
/** @typedef {{ scheme: keyof typeof texts.branding.schemes, page: keyof typeof texts.branding.pages }} PreviewOptions */

/**
 * @param {HTMLElement} host
 * @param {V1.BrandingPut} branding
 * @param {PreviewOptions} options
 */
export async function drawPreview(host, branding, { scheme, page }) {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [sheet, frame];
  host.style.setProperty("--keyswap-color-scheme", scheme);
  const { accent, accent_dark, texts: brandTexts } = branding;
  host.style.setProperty("--keyswap-accent", `light-dark(${accent ?? DEFAULT_ACCENTS.accent.color}, ${accent_dark ?? DEFAULT_ACCENTS.accent_dark.color})`);
  if (page === "signed_out") {
    const help = brandTexts?.signed_out_help || widgetTexts.signedOutHelp;
    return fill(root, bar(branding), h("main", { class: "signed-out" }, h("p", {}, widgetTexts.signedOut), h("p", { class: "hint" }, help)));
  }
  const keys = new KeysView(sampleApi(page), page, () => undefined, brandTexts);
  await keys.start();
  fill(root, bar(branding, page), h("main", { "aria-label": texts.preview }, keys.element));
}
