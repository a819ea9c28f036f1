// The audit log, with filters and live updates.

/** @import { EventFilter } from "./audit_log.js" */
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

/** @param {PageView} page */
export async function showEvents(page) {
  /** @type {EventFilter} */
  const filter = Object.fromEntries(["type", "actor", "subject", "organization"].map((name) => [name, page.query[name]]));
  const list = h("ul", { class: "entries", "aria-label": texts.views.events });
  const none = emptyState(texts.noEvents);
  const more = page.button(texts.more, () => showOlder(), { class: "more" });
  let log = new AuditLogReader(page.api, filter);
  /** @type {AbortController | undefined} */
  let following;

  const update = () => {
    none.hidden = list.children.length > 0;
    more.hidden = !log.hasMore;
  };
  async function showOlder() {
    const current = log;
    const events = await current.readOlder(PAGE_SIZE);
    if (current !== log) return;
    list.append(...events.map(eventEntry));
    update();
  }
  async function load() {
    following?.abort();
    const current = (log = new AuditLogReader(page.api, filter));
    fill(list);
    await showOlder();
    if (current === log && live.checked) follow(current);
  }
  /** @param {V1.Event[]} events */
  function showNewer(events) {
    list.prepend(...events.map(eventEntry));
    while (list.children.length > MAX_ENTRIES) {
      list.lastElementChild?.remove();
      log.continueAfter(Number(/** @type {HTMLElement} */ (list.lastElementChild).dataset.seq));
    }
    update();
    if (events.length) page.announce(texts.newEvents(events.length));
  }

  // Uses long polling while the page is visible and the switch is on.
  /** @param {AuditLogReader} log */
  async function follow(log) {
    following?.abort();
    const { signal } = (following = new AbortController());
    const isStopped = () => signal.aborted || page.isLeft;
    const api = page.createPollingApi(signal);
    while (!isStopped()) {
      if (document.hidden) {
        await waitUntilVisible();
        continue;
      }
      try {
        const events = await log.readNewer(api, "25s");
        if (isStopped()) return;
        showNewer(events);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (isStopped()) return;
        if (!error.isUnavailable && error.status !== 429) {
          live.checked = false;
          return page.reportError(error);
        }
        page.announce(texts.followUnavailable);
        await wait((error.retryAfter ?? 5) * 1000);
      }
    }
  }
  const live = h("input", { type: "checkbox", role: "switch" });
  live.addEventListener("change", () => {
    page.announce(live.checked ? texts.following : "");
    if (live.checked) follow(log);
    else following?.abort();
  });

  const types = uniqueId("types");
  const filterField = (/** @type {keyof EventFilter} */ name, /** @type {string} */ label, properties = {}) => {
    const control = h("input", { type: "search", value: filter[name] ?? "", autocomplete: "off", spellcheck: "false", ...properties });
    control.addEventListener("change", () => {
      filter[name] = control.value.trim() || undefined;
      history.replaceState(null, "", formatAddress("events", undefined, Object.fromEntries(Object.entries(filter).filter(([, value]) => value))));
      load().catch((error) => page.showError(error));
    });
    return field(label, control).element;
  };
  await load();
  const tools = [
    filterField("type", columns.type, { list: types, placeholder: texts.exampleType }),
    h("datalist", { id: types }, eventTypes.map((value) => h("option", { value }))),
    filterField("subject", columns.subject),
    filterField("actor", columns.actor),
    filterField("organization", columns.organization),
    h("label", { class: "choice switch" }, live, h("span", {}, texts.follow)),
  ];
  page.draw({ title: texts.views.events, help: texts.viewHelp.events }, h("div", { class: "panel" }, h("div", { class: "tools dense", role: "search" }, tools), list, none, more));
}
