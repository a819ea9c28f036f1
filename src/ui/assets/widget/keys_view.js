// The keys of an organization or of a user, with all actions.

/** @import { Api } from "./api.js" */
import { ApiError, describeError } from "./api.js";
import { button, field, fill, h, select, uniqueId } from "./dom.js";
import { createKey, revokeKey, rotateKey, suspendKey } from "./key_dialogs.js";
import { ListTable } from "./list_table.js";
import { createNotice } from "./notice.js";
import { texts } from "./texts.js";
import { daysFromNow, formatTime, time } from "./time.js";

/** @typedef {"user" | "organization"} Scope */
/** @typedef {"created" | "rotated" | "suspended" | "resumed" | "revoked"} Change */
/** @typedef {keyof typeof texts.filters} Filter */

// `query` is sent to /v1. `matches` filters the response.
/** @type {Record<Filter, { query?: () => Record<string, unknown>, matches?: (key: V1.ApiKey) => boolean }>} */
const FILTERS = {
  active: { query: () => ({ state: "active" }) },
  unused: { query: () => ({ state: "active", unused_since: daysFromNow(-30) }) },
  expiring: { query: () => ({ state: "active" }), matches: (key) => isExpiring(key) },
  ended: { matches: (key) => key.state === "revoked" || key.state === "expired" },
  all: {},
};

export const isExpiring = (/** @type {V1.ApiKey} */ key) => key.expires_at !== null && key.expires_at < daysFromNow(14);

// Returns the replaced value of a rotated key.
export const replacedCredential = (/** @type {V1.ApiKey} */ key) => key.credentials.find((credential) => credential.expires_at && key.credentials.length > 1);

export class KeysView {
  // `notify` is called after each change. `brandTexts` are the texts of the product (`texts` of
  // /v1/branding).
  /**
   * @param {Pick<Api, "base" | "call" | "request">} api
   * @param {Scope} scope
   * @param {(event: "signed-in" | "refused" | Change, detail: unknown) => void} notify
   * @param {V1.BrandingTexts} [brandTexts]
   */
  constructor(api, scope, notify, brandTexts = {}) {
    this.brandTexts = brandTexts;
    this.api = api;
    this.scope = scope;
    this.notify = notify;
    /** @type {Filter} */
    this.filter = "active";
    this.notice = createNotice(texts.dismiss);
    this.element = h("section", { part: "root", "aria-busy": "true", "aria-label": texts.titles[scope] });
    // The dialogs are separate from the content that is redrawn, so that a dialog stays open while
    // the list changes.
    this.dialogs = h("div");
    /** @type {Set<() => void>} */
    this.openDialogs = new Set();
  }

  close() {
    for (const close of this.openDialogs) close();
  }

  async start() {
    try {
      const session = await this.api.call("GET portal-sessions/current");
      this.notify("signed-in", session);
      const rights = session[this.scope];
      if (!rights?.see) throw new ApiError(403);
      this.table = this.createTable(session, rights);
      await this.table.load();
      this.draw(session, rights, this.table);
    } catch (error) {
      this.showError(error);
    }
  }

  // If the session now belongs to another user, /v1 rejects the request.
  /**
   * @param {V1.CurrentPortalSession} session
   * @returns {V1.NewApiKeyOwner}
   */
  newKeyOwner({ user_id, organization_id }) {
    return this.scope === "user" ? { type: "user", id: user_id, organization_id } : { type: "organization", id: organization_id };
  }

  // Reports an error and keeps the content.
  /** @param {unknown} error */
  reportError(error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 412) return this.reloadAfterConflict();
    if (error.isSignedOut) return this.showError(error);
    this.notice.show(describeError(error, texts));
  }

  // Replaces the content with an error message.
  /** @param {unknown} error */
  showError(error) {
    if (!(error instanceof ApiError)) throw error;
    const text = error.isSignedOut ? texts.signedOut : error.isForbidden ? texts.forbidden : texts.unavailable;
    const help = error.isSignedOut && (this.brandTexts.signed_out_help ?? texts.signedOutHelp);
    const retry = !error.isSignedOut && !error.isForbidden && button(texts.retry, () => this.start());
    this.element.setAttribute("aria-busy", "false");
    fill(this.element, h("div", { class: "message", role: "alert" }, h("p", {}, text), help && h("p", { class: "hint" }, help), retry));
    this.notify("refused", { status: error.status });
  }

  /**
   * @param {V1.CurrentPortalSession} session
   * @param {V1.KeysAtHand} rights
   * @param {ListTable<"api-keys">} table
   */
  draw(session, rights, table) {
    this.element.setAttribute("aria-busy", "false");
    const title = uniqueId("title");
    this.element.setAttribute("aria-labelledby", title);
    const filter = select(texts.filters, this.filter, (value) => {
      this.filter = /** @type {Filter} */ (value);
      this.reload();
    });
    fill(
      this.element,
      h(
        "header",
        {},
        h("div", {}, h("h2", { id: title, part: "title" }, texts.titles[this.scope]), h("p", { class: "hint" }, this.brandTexts[`${this.scope}_help`] ?? texts.help[this.scope])),
        rights.change && button(texts.create, () => this.create(session, rights), { class: "primary", part: "button primary" }),
      ),
      this.notice.element,
      h("div", { class: "tools", role: "search" }, table.searchField(), field(texts.filter, filter).element),
      table.element,
    );
  }

  /**
   * @param {V1.CurrentPortalSession} session
   * @param {V1.KeysAtHand} rights
   * @returns {ListTable<"api-keys">}
   */
  createTable(session, rights) {
    const { user_id: user, sees_everyone } = session;
    // All keys if the user may see those of all users.
    const owned = this.scope === "user" ? { owner_type: "user", user } : sees_everyone ? {} : { owner_type: "organization" };
    const { columns } = texts;
    const creator = (/** @type {V1.Actor} */ { type, id }) => (type === "user" && id === user ? texts.createdBy.you : type === "user" ? texts.createdBy.user(id) : texts.createdBy[/** @type {"system"} */ (type)]);
    const otherOwner = (/** @type {V1.ApiKeyOwner} */ { type, id }) => this.scope === "organization" && type === "user" && id && h("small", {}, texts.owner(id));
    const oldValue = (/** @type {V1.ApiKey} */ key) => {
      const old = replacedCredential(key);
      return old?.expires_at && h("small", {}, texts.rotating(formatTime(old.expires_at)));
    };
    return new ListTable({
      api: this.api,
      list: "api-keys",
      label: texts.titles[this.scope],
      texts,
      query: () => ({ ...FILTERS[this.filter].query?.(), ...owned }),
      matches: (key) => FILTERS[this.filter].matches?.(key) ?? true,
      getSearchable: (key) => [key.name, key.description, key.masked, key.owner.id, key.permissions],
      emptyText: () => (this.filter === "active" ? texts.noKeys : texts.noMatches),
      actions: (key) => this.actions(key, this.rightsOver(key.owner, session, rights)),
      columns: [
        { title: columns.name, show: (key) => [key.name, key.description && h("small", {}, key.description)] },
        { title: columns.key, show: (key) => [h("code", {}, key.masked), otherOwner(key.owner)] },
        { title: columns.permissions, show: (key) => key.permissions.map((name) => h("span", { class: "tag" }, name)) },
        { title: columns.created, show: (key) => [time(key.created_at), h("small", {}, creator(key.created_by))] },
        { title: columns.used, show: (key) => time(key.last_used_at) },
        { title: columns.expires, show: (key) => time(key.expires_at) },
        { title: columns.state, show: (key) => [h("span", { class: `badge ${key.state}` }, texts.states[key.state]), oldValue(key)] },
      ],
    });
  }

  // The permitted actions on keys of the organization, on the user's own keys, and on keys of other
  // users.
  /**
   * @param {V1.ApiKeyOwner} owner
   * @param {V1.CurrentPortalSession} session
   * @param {V1.KeysAtHand} rights
   */
  rightsOver({ type, id }, session, rights) {
    if (type !== "user") return session.organization ?? rights;
    return id === session.user_id ? session.user : { change: false, end: session.sees_everyone };
  }

  /**
   * @param {V1.ApiKey} key
   * @param {{ change: boolean, end: boolean }} rights
   */
  actions(key, { change, end }) {
    const isChanged = this.table?.changed.has(key.id);
    // In a row that was changed, an action that is no longer possible keeps its place.
    const action = (/** @type {keyof typeof texts.actions} */ name, /** @type {() => unknown} */ act, /** @type {boolean} */ allowed) =>
      (allowed || isChanged) && button(texts.actions[name], act, { "aria-label": `${texts.actions[name]} ${key.name}`, disabled: !allowed, class: !allowed && "absent" });
    const [isActive, isSuspended] = [key.state === "active", key.state === "suspended"];
    return [
      action("rotate", () => this.rotate(key), change && isActive),
      isSuspended ? action(isChanged ? "undo" : "resume", () => this.resume(key), change) : action("suspend", () => this.suspend(key), end && isActive),
      action("revoke", () => this.revoke(key), end && (isActive || isSuspended)),
    ];
  }

  /**
   * @param {V1.CurrentPortalSession} session
   * @param {V1.KeysAtHand} rights
   */
  async create(session, rights) {
    const key = await createKey(this, session, rights);
    if (key) this.reportChange("created", key);
  }

  /** @param {V1.ApiKey} key */
  async rotate(key) {
    const rotated = await rotateKey(this, key);
    if (rotated) this.reportChange("rotated", rotated);
  }

  /** @param {V1.ApiKey} key */
  async revoke(key) {
    const revoked = await revokeKey(this, key);
    if (revoked) this.reportChange("revoked", /** @type {V1.ApiKey} */ (revoked));
  }

  /** @param {V1.ApiKey} key */
  async suspend(key) {
    const suspended = await suspendKey(this, key);
    if (suspended) this.reportChange("suspended", /** @type {V1.ApiKey} */ (suspended));
  }

  /** @param {V1.ApiKey} key */
  async resume({ id, version }) {
    try {
      this.reportChange("resumed", await this.api.call("POST api-keys/{id}/resume", { path: { id }, version }));
    } catch (error) {
      this.reportError(error);
    }
  }

  async reload() {
    this.notice.show("");
    await this.table?.load().catch((error) => this.showError(error));
  }

  async reloadAfterConflict() {
    await this.reload();
    this.notice.show(texts.changedElsewhere);
  }

  // The event does not contain the value, because its listeners do not need the secret.
  /**
   * @param {Change} change
   * @param {V1.ApiKey} key
   */
  reportChange(change, { value, ...key }) {
    this.notify(change, key);
    this.table?.update(key);
    // The response to a replayed request does not contain the value.
    const isValueLost = change === "created" && !value;
    this.notice.show(isValueLost ? texts.valueLost(key.name) : texts.changes[change](key.name));
  }
}
