// A list of /v1 as a table, with paging and a search.

/** @import { Api } from "./api.js" */
/** @import { Children } from "./dom.js" */
import { ApiError, describeError } from "./api.js";
import { button, cell, field, fill, h, table } from "./dom.js";

// The number of rows that are shown at first, and that "Show more" adds.
const PAGE_SIZE = 25;
// The number of items after which a search stops until the user continues it.
const MAX_SEARCHED = 20_000;

/**
 * @template Item
 * @typedef {{ title: string, show: (item: Item) => Children }} Column
 */
/**
 * @template {Calls.Collection} Path
 * @typedef {object} TableOptions
 * @property {Path} list
 * @property {Record<string, string>} [path] the parameters of `list`
 * @property {() => Record<string, unknown>} [query] what is sent to /v1
 * @property {(item: Calls.Item<Path>) => boolean} [matches] filters the response
 * @property {Column<Calls.Item<Path>>[]} columns
 * @property {(item: Calls.Item<Path>) => Children} [actions]
 * @property {(item: Calls.Item<Path>) => unknown} [getSearchable] what a search looks at
 * @property {string} label
 * @property {() => string} emptyText
 */
/** @typedef {{ api: Pick<Api, "request">, texts: typeof import("./texts.js").texts, isStopped?: () => boolean }} TableContext */

// Returns all strings in a value, recursively and in lower case.
/**
 * @param {unknown} value
 * @returns {string[]}
 */
function collectStrings(value) {
  if (typeof value === "string") return [value.toLowerCase()];
  return value && typeof value === "object" ? Object.values(value).flatMap(collectStrings) : [];
}

const idOf = (/** @type {unknown} */ item) => {
  const { id, name } = /** @type {{ id?: string, name?: string }} */ (item);
  return id ?? name ?? "";
};

/** @template {Calls.Collection} Path */
export class ListTable {
  /** @type {Calls.Item<Path>[]} */
  items = [];
  /** @type {string | null | undefined} */
  next;
  search = "";
  rowCount = PAGE_SIZE;
  maxSearched = MAX_SEARCHED;
  /** @type {symbol | undefined} */
  searchedLoad;
  // Identifies the current filter: a response to an earlier request is discarded.
  currentLoad = Symbol("load");
  // The ids of items that were changed here. They stay in the list, whatever the filter is, so that
  // no other item moves under the pointer.
  /** @type {Set<string>} */
  changed = new Set();
  // The strings of each item, because each loaded page filters all items again.
  /** @type {WeakMap<object, string[]>} */
  strings = new WeakMap();
  status = h("p", { class: "hint", role: "status" });
  list = h("div", { class: "list", tabindex: "-1" });
  element = h("div", {}, this.list, this.status);

  /** @param {TableOptions<Path> & TableContext} options */
  constructor(options) {
    this.options = options;
  }

  // Loads the first items. The caller reports errors.
  async load() {
    this.currentLoad = Symbol("load");
    this.items = [];
    this.next = undefined;
    this.changed.clear();
    this.rowCount = PAGE_SIZE;
    await this.loadPage(this.currentLoad);
    this.draw();
    this.loadMatches();
  }

  // Reloads the items of a page that is already drawn. Reports errors in the table.
  async reload() {
    const { texts } = this.options;
    try {
      await this.load();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const text = error.isForbidden ? texts.forbidden : describeError(error, texts);
      fill(this.list, h("div", { class: "message", role: "alert" }, h("p", {}, text), !error.isForbidden && button(texts.retry, () => this.reload())));
    }
  }

  /** @param {symbol} load */
  async loadPage(load) {
    const { api, list, path, query } = this.options;
    const page = /** @type {{ data: Calls.Item<Path>[], next: string | null }} */ (await api.request(`GET ${list}`, { path, query: { ...query?.(), limit: 100, after: this.next } }));
    if (load !== this.currentLoad) return;
    this.items.push(...page.data);
    this.next = page.next;
  }

  /** @param {Calls.Item<Path>} item */
  stringsOf(item) {
    const key = /** @type {object} */ (item);
    const found = this.strings.get(key) ?? collectStrings(this.options.getSearchable?.(item) ?? item);
    this.strings.set(key, found);
    return found;
  }

  matchingItems() {
    const search = this.search.trim().toLowerCase();
    const { matches = () => true } = this.options;
    return this.items.filter((item) => this.changed.has(idOf(item)) || (matches(item) && (!search || this.stringsOf(item).some((text) => text.includes(search)))));
  }

  // /v1 has no text search: pages are loaded until there are enough matching items to show. One
  // search at a time; a running search uses the current input.
  async loadMatches() {
    const load = this.currentLoad;
    if (this.searchedLoad === load) return;
    this.searchedLoad = load;
    const { texts, isStopped = () => false } = this.options;
    try {
      while (load === this.currentLoad && !isStopped() && this.next && this.items.length < this.maxSearched && this.matchingItems().length < this.rowCount) {
        await this.loadPage(load);
        this.announce(texts.searching(this.items.length));
        this.draw();
      }
      if (load === this.currentLoad) this.announce(this.search.trim() ? texts.found(this.matchingItems().length) : "");
    } catch (error) {
      // The loaded items stay visible.
      if (!(error instanceof ApiError)) throw error;
      this.announce(describeError(error, texts));
    } finally {
      if (this.searchedLoad === load) this.searchedLoad = undefined;
    }
  }

  /** @param {string} text */
  announce(text) { this.status.textContent = text; }

  draw() {
    const { texts, columns, actions, label, emptyText } = this.options;
    const matching = this.matchingItems();
    const rows = matching.slice(0, this.rowCount);
    const more = (matching.length > rows.length || this.next) && button(texts.more, () => this.showMore(), { class: "more" });
    if (rows.length === 0) {
      const text = this.next ? (this.items.length >= this.maxSearched ? texts.noMatchesAmong(this.items.length) : "") : this.search || this.items.length ? texts.noMatches : emptyText();
      return fill(this.list, h("p", { class: "message" }, text), more);
    }
    const titles = [...columns.map(({ title }) => title), ...(actions ? [h("span", { class: "visually-hidden" }, texts.columns.actions)] : [])];
    fill(this.list, table({ "aria-label": label, part: "table" }, titles, rows.map((item) => this.row(item))), more);
  }

  /** @param {Calls.Item<Path>} item */
  row(item) {
    const { actions, columns: [first, ...others] } = this.options;
    return h(
      "tr",
      { "data-id": idOf(item), tabindex: -1 },
      h("th", { scope: "row" }, first.show(item)),
      others.map(({ title, show }) => cell(title, show(item))),
      actions && h("td", { class: "actions" }, actions(item)),
    );
  }

  async showMore() {
    const before = this.rowCount;
    this.rowCount += PAGE_SIZE;
    if (this.items.length >= this.maxSearched) this.maxSearched += MAX_SEARCHED;
    this.draw();
    await this.loadMatches();
    this.draw();
    this.focus(this.list.querySelectorAll("tbody tr")[before]);
  }

  // Shows the new state of an item in its row, or a new item in the first row. The focus moves to
  // the row, and not to its first control, which a held Enter key would activate.
  /** @param {Calls.Item<Path>} item */
  update(item) {
    const id = idOf(item);
    const index = this.items.findIndex((one) => idOf(one) === id);
    if (index >= 0) this.items[index] = item;
    else this.items.unshift(item);
    this.changed.add(id);
    const findRow = () => this.list.querySelector(`tr[data-id="${CSS.escape(id)}"]`);
    const row = findRow();
    if (row) row.replaceWith(this.row(item));
    else this.draw();
    (/** @type {HTMLElement | null} */ (findRow()) ?? this.list).focus();
  }

  // Moves the focus to the first control of a row, or to the row if there is none.
  /** @param {Element | null | undefined} row */
  focus(row) {
    (/** @type {HTMLElement | null | undefined} */ (row?.querySelector("a, button:enabled") ?? row) ?? this.list).focus();
  }

  searchField() {
    const input = h("input", { type: "search", value: this.search });
    input.addEventListener("input", () => {
      this.search = input.value;
      this.changed.clear();
      this.rowCount = PAGE_SIZE;
      this.draw();
      this.loadMatches();
    });
    return field(this.options.texts.search, input).element;
  }
}
