// The audit log, with filters and live updates.

/** @import { EventFilter } from "./audit_log.js" */
/** @import { Properties } from "../widget/dom.js" */
/** @import { PageView } from "./page_view.js" */
import { ApiError } from "../widget/api.js";
import { field, fill, h, uniqueId } from "../widget/dom.js";
import { formatAddress } from "./address.js";
import { AuditLogReader } from "./audit_log.js";
import { emptyState } from "./elements.js";
import { eventEntry } from "./event_list.js";
import { eventTypes } from "./event_types.js";
import { texts } from "./texts.js";

const { columns } = texts;

const PAGE_SIZE = 50;
// Maximum number of entries on the page while new ones are added.
const MAX_ENTRIES = 1000;

const wait = (/** @type {number} */ milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

const waitUntilVisible = () => new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });

class EventsView {
  #live = h("input", { type: "checkbox", role: "switch" });
  #list = h("ul", { class: "entries", "aria-label": texts.views.events });
  #none = emptyState(texts.noEvents);
  /** @type {AbortController | undefined} */
  #following;

  /** @param {PageView} page */
  constructor(page) {
    this.page = page;
    /** @type {EventFilter} */
    this.filter = Object.fromEntries(["type", "actor", "subject", "organization"].map((name) => [name, page.query[name]]));
    this.more = page.button(texts.more, () => this.#showOlder(), { class: "more" });
    this.log = new AuditLogReader(page.api, this.filter);
    this.#live.addEventListener("change", () => {
      page.announce(this.#live.checked ? texts.following : "");
      if (this.#live.checked) this.#follow(this.log);
      else this.#following?.abort();
    });
  }

  async load() {
    this.#following?.abort();
    const log = (this.log = new AuditLogReader(this.page.api, this.filter));
    fill(this.#list);
    await this.#showOlder();
    if (log === this.log && this.#live.checked) this.#follow(log);
  }

  draw() {
    const types = uniqueId("types");
    const tools = [
      this.#filterField("type", columns.type, { list: types, placeholder: texts.exampleType }),
      h("datalist", { id: types }, eventTypes.map((value) => h("option", { value }))),
      this.#filterField("subject", columns.subject),
      this.#filterField("actor", columns.actor),
      this.#filterField("organization", columns.organization),
      h("label", { class: "choice switch" }, this.#live, h("span", {}, texts.follow)),
    ];
    const panel = h("div", { class: "panel" }, h("div", { class: "tools dense", role: "search" }, tools), this.#list, this.#none, this.more);
    this.page.draw({ title: texts.views.events, help: texts.viewHelp.events }, panel);
  }

  /**
   * @param {keyof EventFilter} name
   * @param {string} label
   * @param {Properties} [properties]
   */
  #filterField(name, label, properties) {
    const control = h("input", { type: "search", value: this.filter[name] ?? "", autocomplete: "off", spellcheck: "false", ...properties });
    control.addEventListener("change", () => {
      this.filter[name] = control.value.trim() || undefined;
      history.replaceState(null, "", formatAddress("events", undefined, Object.fromEntries(Object.entries(this.filter).filter(([, value]) => value))));
      this.load().catch((error) => this.page.showError(error));
    });
    return field(label, control).element;
  }

  #update() {
    this.#none.hidden = this.#list.children.length > 0;
    this.more.hidden = !this.log.hasMore;
  }

  async #showOlder() {
    const { log } = this;
    const events = await log.readOlder(PAGE_SIZE);
    if (log !== this.log) return;
    this.#list.append(...events.map(eventEntry));
    this.#update();
  }

  /** @param {V1.Event[]} events */
  #showNewer(events) {
    this.#list.prepend(...events.map(eventEntry));
    while (this.#list.children.length > MAX_ENTRIES) {
      this.#list.lastElementChild?.remove();
      this.log.continueAfter(Number(/** @type {HTMLElement} */ (this.#list.lastElementChild).dataset.seq));
    }
    this.#update();
    if (events.length) this.page.announce(texts.newEvents(events.length));
  }

  // Uses long polling while the page is visible and the switch is on.
  /** @param {AuditLogReader} log */
  async #follow(log) {
    this.#following?.abort();
    const { signal } = (this.#following = new AbortController());
    const isStopped = () => signal.aborted || this.page.isLeft;
    const api = this.page.createPollingApi(signal);
    while (!isStopped()) {
      if (document.hidden) {
        await waitUntilVisible();
        continue;
      }
      try {
        const events = await log.readNewer(api, "25s");
        if (isStopped()) return;
        this.#showNewer(events);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (isStopped()) return;
        if (!error.isUnavailable && error.status !== 429) {
          this.#live.checked = false;
          return this.page.reportError(error);
        }
        this.page.announce(texts.followUnavailable);
        await wait((error.retryAfter ?? 5) * 1000);
      }
    }
  }
}

/** @param {PageView} page */
export async function showEvents(page) {
  const view = new EventsView(page);
  await view.load();
  view.draw();
}
