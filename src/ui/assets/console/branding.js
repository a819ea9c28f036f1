// Branding of the hosted pages, with a preview.

import { button, field, fill, h } from "../widget/dom.js";
import { panel } from "./parts.js";
import { ACCENTS, ENOUGH, contrast } from "./contrast.js";
import { draw } from "./preview.js";
import { texts } from "./texts.js";

const { branding: said } = texts;

const KINDS = ["image/png", "image/jpeg", "image/webp", "image/svg+xml"];
// The limit of /v1: an image of 30 KiB is about 40 KiB in base64.
const MOST = 40 * 1024;
const TEXTS = ["organization_help", "user_help", "signed_out_help"];

const read = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result));
  reader.addEventListener("error", () => reject(reader.error));
  reader.readAsDataURL(file);
});

// An image, stored as a data URL.
function logoField(now, changed) {
  const file = h("input", { type: "file", accept: KINDS.join(",") });
  const made = field(said.logo, file, said.logoHint);
  const shown = h("div", { class: "logo" });
  const show = () => fill(shown, now.logo ? [h("img", { src: now.logo, alt: said.logoAlt }), button(said.noLogo, () => put(null))] : h("span", { class: "quiet" }, said.logoNone));
  const put = (logo) => {
    now.logo = logo;
    file.value = "";
    show();
    changed();
  };
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    const text = KINDS.includes(chosen.type) && (await read(chosen).catch(() => undefined));
    made.complain(!text ? said.logoKind : text.length > MOST ? said.logoLarge : undefined);
    if (text && text.length <= MOST) put(text);
  });
  show();
  return h("div", {}, made.element, shown);
}

function accentField(now, name, changed) {
  const { usual, text } = ACCENTS[name];
  const colour = h("input", { type: "color", value: now[name] ?? usual });
  const warning = h("p", { class: "warn", role: "status" });
  const usually = button(said.usual, () => put(null), { "aria-label": `${said.usual}: ${said[name]}` });
  const judge = () => {
    const ratio = contrast(now[name] ?? usual, text);
    warning.textContent = ratio < ENOUGH ? said.faint(ratio.toFixed(1)) : "";
    usually.hidden = now[name] === null;
  };
  const put = (value) => {
    now[name] = value;
    colour.value = value ?? usual;
    judge();
    changed();
  };
  colour.addEventListener("input", () => put(colour.value));
  judge();
  return h("div", { class: "colour" }, field(said[name], colour).element, usually, warning);
}

function textField(now, name, changed) {
  const control = h("textarea", { rows: 2, maxlength: 400, value: now.texts[name] ?? "" });
  control.addEventListener("input", () => {
    const text = control.value.trim().replace(/\s+/g, " ");
    if (text) now.texts[name] = text;
    else delete now.texts[name];
    changed();
  });
  return field(said[name], control, said.textHint).element;
}

const group = (label, choices, now, chosen) => {
  const buttons = Object.entries(choices).map(([value, text]) => h("button", { type: "button", "aria-pressed": String(value === now), onclick: () => {
    buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(Object.keys(choices)[index] === value)));
    chosen(value);
  } }, text));
  return h("div", { class: "group", role: "group", "aria-label": label }, buttons);
};

export async function show(page) {
  let { version, ...kept } = await page.api.call("GET", "branding");
  const now = { ...kept, texts: { ...kept.texts } };
  const look = { scheme: matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light", scope: "organization" };
  // The preview is inert, so that its controls have no effect.
  const host = h("div", { class: "preview", inert: true });
  const draws = () => draw(host, now, look).catch((error) => page.failed(error));
  let soon;
  const changed = () => {
    clearTimeout(soon);
    soon = setTimeout(draws, 120);
  };
  const name = h("input", { type: "text", value: now.name ?? "", maxlength: 200, autocomplete: "off" });
  name.addEventListener("input", () => {
    now.name = name.value.trim() || null;
    changed();
  });
  const save = h("button", { type: "submit", class: "primary" }, texts.save);
  const form = h(
    "form",
    { class: "panel", novalidate: true },
    h("h2", {}, said.title),
    field(said.name, name, said.nameHint).element,
    logoField(now, changed),
    h("div", { class: "colours" }, accentField(now, "accent", changed), accentField(now, "accent_dark", changed)),
    TEXTS.map((one) => textField(now, one, changed)),
    h("p", { class: "hint" }, said.domain, " ", h("code", {}, "portal.public_url")),
    h("div", { class: "buttons" }, save),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    page.attempt(async () => {
      try {
        await page.api.call("PUT", "branding", { body: now, version });
        return said.did;
      } catch (error) {
        if (error.status !== 412) throw error;
        ({ version } = await page.api.call("GET", "branding"));
        return page.say(said.changed);
      }
    });
  });
  const choices = h("div", { class: "buttons start" }, group(said.scheme, said.schemes, look.scheme, (scheme) => { look.scheme = scheme; draws(); }), group(said.page, said.pages, look.scope, (scope) => { look.scope = scope; draws(); }));
  await draws();
  page.draw({ title: texts.views.pages, help: texts.helps.pages }, h("div", { class: "beside" }, form, h("div", { class: "held" }, panel(texts.preview, choices, h("div", { class: "shrunk" }, host)))));
}
