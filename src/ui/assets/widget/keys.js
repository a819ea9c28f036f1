// The keys of an organization or of a user, with all actions.

import { Refused } from "./api.js";
import { confirmRevoke, create, rotate } from "./dialogs.js";
import { button, field, fill, h, unique } from "./dom.js";
import { texts } from "./texts.js";
import { DAY, ago, exactly } from "./when.js";

// The number of keys that are shown at first, and that "Show more" adds.
const PAGE = 25;
// Maximum number of keys that a search loads.
const MOST = 20_000;

// `query` is sent to /v1. `fits` filters the response.
const FILTERS = {
  active: { query: { state: "active" } },
  unused: { query: () => ({ state: "active", unused_since: new Date(Date.now() - 30 * DAY).toISOString() }) },
  expiring: { query: { state: "active" }, fits: (key) => key.expires_at && Date.parse(key.expires_at) - Date.now() < 14 * DAY },
  ended: { fits: (key) => key.state === "revoked" || key.state === "expired" },
  all: {},
};

export class Keys {
  // `told` is called after each change: ("created" | "rotated" | "revoked" | …, key). `own` are the
  // texts of the product (`texts` of /v1/branding).
  constructor(api, scope, told, own = {}) {
    this.own = own;
    this.api = api;
    this.scope = scope;
    this.told = told;
    this.keys = [];
    this.filter = "active";
    this.wanted = "";
    this.element = h("section", { part: "root", "aria-busy": "true", "aria-label": texts.titles[scope] });
    // The dialogs are separate from the content that is redrawn, so that a dialog stays open while
    // the list changes.
    this.dialogs = h("div");
    this.open = new Set();
    this.list = h("div", { class: "list", tabindex: "-1" });
    this.live = h("p", { class: "quiet", role: "status" });
  }

  close() {
    for (const end of this.open) end();
  }

  async start() {
    try {
      this.session = await this.api.call("GET", "portal-sessions/current");
      this.place = this.session[this.scope];
      this.told("signed-in", this.session);
      if (!this.place?.see) throw new Refused(403);
      await this.look();
      this.draw();
    } catch (error) {
      this.refused(error);
    }
  }

  // Loads the first keys that match the filter. The others are loaded when they are needed.
  async look() {
    this.turn = Symbol("turn");
    this.keys = [];
    this.next = undefined;
    this.shown = PAGE;
    await this.load(this.turn);
    this.drawList();
    this.search();
  }

  // Loads the next page. A response to a request made before the filter changed is discarded.
  async load(turn) {
    const { query } = FILTERS[this.filter];
    const asked = typeof query === "function" ? query() : query;
    const page = await this.api.call("GET", "api-keys", { query: { ...asked, ...this.mine(), limit: 100, after: this.next } });
    if (turn !== this.turn) return;
    this.keys.push(...page.data);
    this.next = page.next;
  }

  // /v1 searches neither for names nor for a near expiry: pages are loaded until there are enough
  // matching keys to show.
  async search() {
    const turn = this.turn;
    // One search at a time. A running search uses the current input.
    if (this.searching === turn) return;
    this.searching = turn;
    try {
      while (turn === this.turn && this.next && this.keys.length < MOST && this.fitting().length < this.shown) {
        await this.load(turn);
        this.say(texts.looking(this.keys.length));
        this.drawList();
      }
      if (turn === this.turn) this.say(this.wanted.trim() ? texts.found(this.fitting().length) : "");
    } catch (error) {
      // The loaded keys stay visible.
      this.failed(error);
    } finally {
      if (this.searching === turn) this.searching = undefined;
    }
  }

  // The query for the keys of this page: all keys if the user may see those of all users.
  mine() {
    if (this.scope === "user") return { owner_type: "user", user: this.session.user_id };
    return this.session.sees_everyone ? {} : { owner_type: "organization" };
  }

  // The owner of a new key. If the session now belongs to another user, /v1 rejects the request.
  owner() {
    const { user_id, organization_id } = this.session;
    return this.scope === "user" ? { type: "user", id: user_id, organization_id } : { type: "organization", id: organization_id };
  }

  fitting() {
    const fits = FILTERS[this.filter].fits ?? (() => true);
    const wanted = this.wanted.trim().toLowerCase();
    const found = (key) => [key.name, key.masked, key.owner.id, ...key.permissions].some((text) => text?.toLowerCase().includes(wanted));
    return this.keys.filter((key) => fits(key) && (!wanted || found(key)));
  }

  say(text) { this.live.textContent = text; }

  // Reports an error and keeps the content.
  failed(error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 412) return this.changedElsewhere();
    if (error.signedOut) return this.refused(error);
    this.say(error.away ? texts.away : error.message || texts.failed);
  }

  // Replaces the content with an error message.
  refused(error) {
    if (!(error instanceof Refused)) throw error;
    const text = error.signedOut ? texts.signedOut : error.forbidden ? texts.forbidden : texts.away;
    const help = error.signedOut && (this.own.signed_out_help ?? texts.signedOutHelp);
    const again = !error.signedOut && !error.forbidden && button(texts.again, () => this.start());
    this.element.setAttribute("aria-busy", "false");
    fill(this.element, h("div", { class: "state", role: "alert" }, h("p", {}, text), help && h("p", { class: "hint" }, help), again));
    this.told("refused", { status: error.status });
  }

  draw() {
    this.element.setAttribute("aria-busy", "false");
    const title = unique("title");
    this.element.setAttribute("aria-labelledby", title);
    fill(
      this.element,
      h(
        "header",
        {},
        h("div", {}, h("h2", { id: title, part: "title" }, texts.titles[this.scope]), h("p", { class: "hint" }, this.own[`${this.scope}_help`] ?? texts.help[this.scope])),
        this.place.change && button(texts.create, () => this.create(), { class: "primary", part: "button primary" }),
      ),
      this.tools(),
      this.list,
      this.live,
    );
  }

  tools() {
    const search = h("input", { type: "search", value: this.wanted });
    search.addEventListener("input", () => {
      this.wanted = search.value;
      this.shown = PAGE;
      this.drawList();
      this.search();
    });
    const filter = h("select", {}, Object.entries(texts.filters).map(([value, text]) => h("option", { value }, text)));
    filter.value = this.filter;
    filter.addEventListener("change", () => {
      this.filter = filter.value;
      this.look().catch((error) => this.refused(error));
    });
    return h("div", { class: "tools", role: "search" }, field(texts.search, search).element, field(texts.filter, filter).element);
  }

  drawList() {
    const fitting = this.fitting();
    const rows = fitting.slice(0, this.shown);
    const more = (fitting.length > rows.length || this.next) && button(texts.more, () => this.more());
    if (rows.length === 0) {
      const text = this.next ? "" : this.wanted || this.filter !== "active" ? texts.noneFound : texts.none;
      return fill(this.list, h("p", { class: "state" }, text), more);
    }
    const { name, key, permissions, created, used, expires, state, actions } = texts.columns;
    const head = h("tr", {}, [name, key, permissions, created, used, expires, state].map((text) => h("th", { scope: "col" }, text)), h("th", { scope: "col" }, h("span", { class: "unseen" }, actions)));
    fill(this.list, h("table", { part: "table" }, h("thead", {}, head), h("tbody", {}, rows.map((row) => this.row(row)))), more);
  }

  async more() {
    const before = this.shown;
    this.shown += PAGE;
    this.drawList();
    await this.search();
    (this.list.querySelectorAll("tbody tr")[before]?.querySelector("button") ?? this.list).focus();
  }

  row(key) {
    const column = (name, ...children) => h("td", { "data-label": texts.columns[name] }, children);
    const time = (text) => (text ? h("time", { datetime: text, title: exactly(text) }, ago(text)) : texts.never);
    const old = key.credentials.find((credential) => credential.expires_at && key.credentials.length > 1);
    const other = this.scope === "organization" && key.owner.type === "user" && texts.of(key.owner.id);
    return h(
      "tr",
      { "data-id": key.id },
      h("th", { scope: "row" }, key.name),
      column("key", h("code", {}, key.masked), other && h("small", {}, other)),
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

  // The permitted actions on keys of the organization, on the user's own keys, and on keys of other
  // users.
  rights({ type, id }) {
    if (type !== "user") return this.session.organization ?? this.place;
    return id === this.session.user_id ? this.session.user : { change: false, end: this.session.sees_everyone };
  }

  actions(key) {
    const { change, end } = this.rights(key.owner);
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
      this.failed(error);
    }
  }

  async changedElsewhere() {
    await this.look().catch((error) => this.refused(error));
    this.say(texts.changedElsewhere);
  }

  // The event does not contain the value, because its listeners do not need the secret.
  async changed(what, { value, ...key }) {
    this.told(what, key);
    await this.look().catch((error) => this.refused(error));
    // The response to a replayed request does not contain the value.
    const lost = what === "created" && !value;
    this.say(lost ? texts.valueLost(key.name) : texts.did[what](key.name));
    const row = this.list.querySelector(`tr[data-id="${CSS.escape(key.id)}"] button`);
    (row ?? this.list).focus();
  }
}
