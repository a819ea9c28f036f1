// The keys of an organization or of a user: what is there, and everything that can be done to it.

import { Refused } from "./api.js";
import { confirmRevoke, create, rotate } from "./dialogs.js";
import { button, field, fill, h, unique } from "./dom.js";
import { texts } from "./texts.js";
import { DAY, ago, exactly } from "./when.js";

const PAGE = 25;

// What the filter shows: the query that /v1 takes, and what is looked at besides.
const FILTERS = {
  active: { query: { state: "active" } },
  unused: { query: () => ({ state: "active", unused_since: new Date(Date.now() - 30 * DAY).toISOString() }) },
  expiring: { query: { state: "active" }, fits: (key) => key.expires_at && Date.parse(key.expires_at) - Date.now() < 14 * DAY },
  ended: { fits: (key) => key.state === "revoked" || key.state === "expired" },
  all: {},
};

export class Keys {
  // `told` hears of what was done: ("created" | "rotated" | "revoked" | …, key).
  constructor(api, scope, told) {
    this.api = api;
    this.scope = scope;
    this.told = told;
    this.keys = [];
    this.filter = "active";
    this.wanted = "";
    this.element = h("section", { part: "root", "aria-busy": "true", "aria-label": texts.titles[scope] });
    this.live = h("p", { class: "quiet", role: "status" });
  }

  async start() {
    try {
      this.session = await this.api.call("GET", "portal-sessions/current");
      this.place = this.session[this.scope];
      if (!this.place?.see) throw new Refused(403);
      await this.look();
    } catch (error) {
      this.refused(error);
    }
  }

  // All keys of the scope that the filter asks of /v1; the rest of the filter and the search are looked at here.
  async look() {
    const filter = FILTERS[this.filter];
    const query = typeof filter.query === "function" ? filter.query() : filter.query;
    this.keys = await this.api.pages("api-keys", { ...query, ...this.owner() }, 10_000);
    this.shown = PAGE;
    this.draw();
  }

  owner() {
    return this.scope === "user" ? { owner_type: "user", user: this.session.user_id } : this.session.organization_id && { owner_type: "organization" };
  }

  fitting() {
    const fits = FILTERS[this.filter].fits ?? (() => true);
    const wanted = this.wanted.trim().toLowerCase();
    const found = (key) => [key.name, key.masked, ...key.permissions].some((text) => text?.toLowerCase().includes(wanted));
    return this.keys.filter((key) => fits(key) && (!wanted || found(key)));
  }

  refused(error) {
    if (!(error instanceof Refused)) throw error;
    const text = error.signedOut ? texts.signedOut : error.forbidden ? texts.forbidden : texts.away;
    this.element.setAttribute("aria-busy", "false");
    const again = !error.signedOut && !error.forbidden && button(texts.again, () => this.start());
    fill(this.element, h("div", { class: "state", role: "alert" }, h("p", {}, text), again));
    this.told("refused", { status: error.status });
  }

  draw() {
    this.element.setAttribute("aria-busy", "false");
    const title = unique("title");
    this.element.setAttribute("aria-labelledby", title);
    this.list = h("div", { class: "list" });
    fill(
      this.element,
      h(
        "header",
        {},
        h("div", {}, h("h2", { id: title, part: "title" }, texts.titles[this.scope]), h("p", { class: "hint" }, texts.help[this.scope])),
        this.place.change && button(texts.create, () => this.create(), { class: "primary", part: "button primary" }),
      ),
      this.tools(),
      this.list,
      this.live,
    );
    this.drawList();
  }

  tools() {
    const search = h("input", { type: "search", value: this.wanted, oninput: () => { this.wanted = search.value; this.shown = PAGE; this.drawList(); } });
    const filter = h(
      "select",
      { onchange: () => { this.filter = filter.value; this.look().catch((error) => this.refused(error)); } },
      Object.entries(texts.filters).map(([value, text]) => h("option", { value, selected: value === this.filter }, text)),
    );
    filter.value = this.filter;
    return h("div", { class: "tools", role: "search" }, field(texts.search, search).element, field(texts.filter, filter).element);
  }

  drawList() {
    const fitting = this.fitting();
    const rows = fitting.slice(0, this.shown);
    if (rows.length === 0) {
      const text = this.wanted || this.filter !== "active" ? texts.noneFound : texts.none;
      fill(this.list, h("p", { class: "state" }, text));
      return;
    }
    const { name, key, permissions, created, used, expires, state, actions } = texts.columns;
    const head = h("tr", {}, [name, key, permissions, created, used, expires, state].map((text) => h("th", { scope: "col" }, text)), h("th", { scope: "col" }, h("span", { class: "unseen" }, actions)));
    fill(
      this.list,
      h("table", { part: "table" }, h("thead", {}, head), h("tbody", {}, rows.map((row) => this.row(row)))),
      fitting.length > rows.length && button(texts.more, () => { this.shown += PAGE; this.drawList(); }),
    );
  }

  row(key) {
    const column = (name, ...children) => h("td", { "data-label": texts.columns[name] }, children);
    const time = (text) => (text ? h("time", { datetime: text, title: exactly(text) }, ago(text)) : texts.never);
    const old = key.credentials.find((credential) => credential.expires_at && key.credentials.length > 1);
    return h(
      "tr",
      { "data-id": key.id },
      h("th", { scope: "row" }, key.name),
      column("key", h("code", {}, key.masked)),
      column("permissions", key.permissions.map((name) => h("span", { class: "tag" }, name))),
      column("created", time(key.created_at), h("small", {}, texts.by(key.created_by.id ?? key.created_by.type))),
      column("used", time(key.last_used_at)),
      column("expires", time(key.expires_at)),
      column("state", h("span", { class: `badge ${key.state}` }, texts.states[key.state]), old && h("small", {}, texts.rotating(exactly(old.expires_at)))),
      h("td", { class: "actions" }, this.actions(key)),
    );
  }

  actions(key) {
    const { change, end } = this.place;
    const does = (name, act, allowed) => allowed && button(texts.actions[name], act, { "aria-label": `${texts.actions[name]} ${key.name}` });
    const works = key.state === "active";
    return [
      does("rotate", () => this.rotate(key), change && works),
      does("suspend", () => this.step(key, "suspend", "suspended"), end && works),
      does("resume", () => this.step(key, "resume", "resumed"), change && key.state === "suspended"),
      does("revoke", () => this.revoke(key), end && (works || key.state === "suspended")),
    ];
  }

  async create() {
    const key = await create(this);
    if (key) await this.changed("created", key);
  }

  async rotate(key) {
    const rotated = await rotate(this, key);
    if (rotated) await this.changed("rotated", rotated);
  }

  async revoke(key) {
    const revoked = await confirmRevoke(this, key);
    if (revoked) await this.changed("revoked", revoked);
  }

  async step(key, step, told) {
    try {
      await this.changed(told, await this.api.call("POST", `api-keys/${encodeURIComponent(key.id)}/${step}`, { version: key.version }));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.live.textContent = error.message || texts.failed;
    }
  }

  // Never with the value in it: what hears of a key has no business with its secret.
  async changed(what, { value: _, ...key }) {
    this.told(what, key);
    this.live.textContent = "";
    await this.look().catch((error) => this.refused(error));
    this.element.querySelector(`tr[data-id="${CSS.escape(key.id)}"] button`)?.focus();
  }
}
