// Branding of the hosted pages, with a preview.

/** @import { PageView } from "./page_view.js" */
/** @import { PreviewOptions } from "./preview.js" */
import { ApiError } from "../widget/api.js";
import { button, field, fill, h } from "../widget/dom.js";
import { DEFAULT_ACCENTS, MIN_CONTRAST, contrastRatio } from "./contrast.js";
import { buttonGroup, panel } from "./elements.js";
import { drawPreview } from "./preview.js";
import { texts } from "./texts.js";

const { branding: labels } = texts;

const LOGO_TYPES = ["image/png", "image/jpeg", "image/webp", "image/svg+xml"];
// The limit of /v1: an image of 30 KiB is about 40 KiB in base64.
const MAX_LOGO_LENGTH = 40 * 1024;
const TEXT_NAMES = /** @type {const} */ (["organization_help", "user_help", "signed_out_help"]);

/** @typedef {Required<V1.BrandingPut> & { texts: V1.BrandingTexts }} Draft */

/**
 * @param {File} file
 * @returns {Promise<string>}
 */
const readDataUrl = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(String(reader.result)));
  reader.addEventListener("error", () => reject(reader.error));
  reader.readAsDataURL(file);
});

// An image, stored as a data URL.
/**
 * @param {Draft} draft
 * @param {() => void} onChange
 */
function logoField(draft, onChange) {
  const file = h("input", { type: "file", accept: LOGO_TYPES.join(",") });
  const { element, setError } = field(labels.logo, file, labels.logoHint);
  const current = h("div", { class: "logo" });
  const draw = () => fill(current, draft.logo ? [h("img", { src: draft.logo, alt: labels.logoAlt }), button(labels.removeLogo, () => setLogo(null))] : h("span", { class: "quiet" }, labels.noLogo));
  const setLogo = (/** @type {string | null} */ logo) => {
    draft.logo = logo;
    file.value = "";
    draw();
    onChange();
  };
  file.addEventListener("change", async () => {
    const chosen = file.files?.[0];
    if (!chosen) return;
    const logo = LOGO_TYPES.includes(chosen.type) && (await readDataUrl(chosen).catch(() => undefined));
    setError(!logo ? labels.wrongLogoType : logo.length > MAX_LOGO_LENGTH ? labels.logoTooLarge : undefined);
    if (logo && logo.length <= MAX_LOGO_LENGTH) setLogo(logo);
  });
  draw();
  return h("div", {}, element, current);
}

/**
 * @param {Draft} draft
 * @param {"accent" | "accent_dark"} name
 * @param {() => void} onChange
 */
function accentField(draft, name, onChange) {
  const { color: usual, text } = DEFAULT_ACCENTS[name];
  const color = h("input", { type: "color", value: draft[name] ?? usual });
  const warning = h("p", { class: "warn", role: "status" });
  const reset = button(labels.reset, () => setColor(null), { "aria-label": `${labels.reset}: ${labels[name]}` });
  const update = () => {
    const ratio = contrastRatio(draft[name] ?? usual, text);
    warning.textContent = ratio < MIN_CONTRAST ? labels.lowContrast(ratio.toFixed(1)) : "";
    reset.hidden = draft[name] === null;
  };
  const setColor = (/** @type {string | null} */ value) => {
    draft[name] = value;
    color.value = value ?? usual;
    update();
    onChange();
  };
  color.addEventListener("input", () => setColor(color.value));
  update();
  return h("div", { class: "color" }, field(labels[name], color).element, reset, warning);
}

/**
 * @param {Draft} draft
 * @param {(typeof TEXT_NAMES)[number]} name
 * @param {() => void} onChange
 */
function textField(draft, name, onChange) {
  const control = h("textarea", { rows: 2, maxlength: 400, value: draft.texts[name] ?? "" });
  control.addEventListener("input", () => {
    const text = control.value.trim().replace(/\s+/g, " ");
    if (text) draft.texts[name] = text;
    else delete draft.texts[name];
    onChange();
  });
  return field(labels[name], control, labels.textHint).element;
}

/**
 * @param {Draft} draft
 * @param {() => void} onChange
 */
function brandingForm(draft, onChange) {
  const name = h("input", { type: "text", value: draft.name ?? "", maxlength: 200, autocomplete: "off" });
  name.addEventListener("input", () => {
    draft.name = name.value.trim() || null;
    onChange();
  });
  return h(
    "form",
    { class: "panel", novalidate: true },
    h("h2", {}, labels.title),
    field(labels.name, name, labels.nameHint).element,
    logoField(draft, onChange),
    h("div", { class: "colors" }, accentField(draft, "accent", onChange), accentField(draft, "accent_dark", onChange)),
    TEXT_NAMES.map((text) => textField(draft, text, onChange)),
    h("p", { class: "hint" }, labels.domain, " ", h("code", {}, "portal.public_url")),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, texts.save)),
  );
}

/** @param {PageView} page */
export async function showBranding(page) {
  let { version, ...branding } = await page.api.call("GET branding");
  /** @type {Draft} */
  const draft = { ...branding, texts: { ...branding.texts } };
  /** @type {PreviewOptions} */
  const options = { scheme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light", page: "organization" };
  // The preview is inert, so that its controls have no effect.
  const preview = h("div", { class: "preview", inert: true });
  const draw = () => drawPreview(preview, draft, options).catch((error) => page.reportError(error));
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const form = brandingForm(draft, () => {
    clearTimeout(timer);
    timer = setTimeout(draw, 120);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    page.perform(async () => {
      try {
        await page.api.call("PUT branding", { body: draft, version });
        return labels.saved;
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 412) throw error;
        ({ version } = await page.api.call("GET branding"));
        page.announce(labels.conflict);
      }
    });
  });
  const controls = h(
    "div",
    { class: "buttons start" },
    buttonGroup(labels.scheme, labels.schemes, options.scheme, (scheme) => { options.scheme = scheme; draw(); }),
    buttonGroup(labels.page, labels.pages, options.page, (shown) => { options.page = shown; draw(); }),
  );
  await draw();
  page.draw({ title: texts.views.pages, help: texts.viewHelp.pages }, h("div", { class: "form-and-preview" }, form, h("div", { class: "sticky" }, panel(texts.preview, controls, h("div", { class: "preview-frame" }, preview)))));
}
