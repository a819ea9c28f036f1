// The keys of an organization or of a user: what is there, and everything that can be done to it.

import { Refused } from "./api.js";
import { confirmRevoke, create, rotate } from "./dialogs.js";
import { button, field, fill, h, unique } from "./dom.js";
import { texts } from "./texts.js";
import { DAY, ago, exactly } from "./when.js";

// So many are shown at first, and so many more at each asking.
const PAGE = 25;
// More than these no search goes through.
const MOST = 20_000;

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
    this.next = null;
    this.filter = "active";
    this.wanted = "";
    this.element = h("section", { part: "root", "aria-busy": "true", "aria-label": texts.titles[scope] });
    this.live = h("p", { class: "quiet", role: "status" });
  }

  async start() {
    try {
      this.session = await this.api.call("GET", "portal-sessions/current");
      this.place = this.session[this.scope];
      this.told("signed-in", this.session);
      if (!this.place?.see) throw new Refused(403);
      await this.look();
    } catch (error) {
      this.refused(error);
    }
  }

  // The first keys that the filter asks of /v1; the others come when they are asked for.
  async look() {
    this.turn = Symbol("turn");
    this.keys = [];
    this.next = undefined;
    this.shown = PAGE;
    await this.load(this.turn);
    this.draw();
    this.search();
  }

  // One page more of the list. What was asked before the filter changed has no say any more.
  async load(turn) {
    const { query } = FILTERS[this.filter];
    const asked = typeof query === "function" ? query() : query;
    const page = await this.api.call("GET", "api-keys", { query: { ...asked, ...this.owner(), limit: 100, after: this.next } });
    if (turn !== this.turn) return false;
    this.keys.push(...page.data);
    this.next = page.next;
    return Boolean(page.next);
  }

  // /v1 knows neither names nor what is soon over: to find those, everything is looked through.
  async search() {
    const turn = this.turn;
    if (!this.wanted.trim() && !FILTERS[this.filter].fits) return;
    try {
      while (this.next && this.keys.length < MOST && this.fitting().length < this.shown && (await this.load(turn))) {
        this.live.textContent = texts.looking(this.keys.length);
        this.drawList();
      }
    } catch (error) {
      return this.refused(error);
    }
    if (turn !== this.turn) return;
    this.drawList();
    this.live.textContent = this.wanted.trim() ? texts.found(this.fitting().length) : "";
  }

  async more() {
    this.shown += PAGE;
    try {
      if (this.next && this.fitting().length < this.shown) await this.load(this.turn);
    } catch (error) {
      return this.refused(error);
    }
    this.drawList();
    this.search();
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
    const help = error.signedOut && texts.signedOutHelp;
    fill(this.element, h("div", { class: "state", role: "alert" }, h("p", {}, text), help && h("p", { class: "hint" }, help), again));
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
    const search = h("input", { type: "search", value: this.wanted, oninput: () => { this.wanted = search.value; this.shown = PAGE; this.drawList(); this.search(); } });
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
      fill(this.list, h("p", { class: "state" }, text), this.next && button(texts.more, () => this.more()));
      return;
    }
    const { name, key, permissions, created, used, expires, state, actions } = texts.columns;
    const head = h("tr", {}, [name, key, permissions, created, used, expires, state].map((text) => h("th", { scope: "col" }, text)), h("th", { scope: "col" }, h("span", { class: "unseen" }, actions)));
    fill(
      this.list,
      h("table", { part: "table" }, h("thead", {}, head), h("tbody", {}, rows.map((row) => this.row(row)))),
      (fitting.length > rows.length || this.next) && button(texts.more, () => this.more()),
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
      column("created", time(key.created_at), h("small", {}, this.maker(key.created_by))),
      column("used", time(key.last_used_at)),
      column("expires", time(key.expires_at)),
      column("state", h("span", { class: `badge ${key.state}` }, texts.states[key.state]), old && h("small", {}, texts.rotating(exactly(old.expires_at)))),
      h("td", { class: "actions" }, this.actions(key)),
    );
  }

  maker({ type, id }) {
    if (type === "user" && id === this.session.user_id) return texts.by.you;
    return type === "user" ? texts.by.user(id) : texts.by[type];
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
