// A list of /v1 as a table, with paging and a search.

import { Refused } from "../widget/api.js";
import { button, field, fill, h } from "../widget/dom.js";
import { words } from "./parts.js";
import { texts } from "./texts.js";

// The number of rows that are shown at first, and that "Show more" adds.
const SHOWN = 25;
// The number of items after which a search stops until the user continues it.
const MOST = 20_000;

export class Table {
  // Columns are { title, show(item) }. `query` is sent to /v1, `fits` filters the response.
  constructor(page, { path, columns, label, query = () => ({}), fits = () => true, none = texts.none, act }) {
    Object.assign(this, { page, path, columns, label, query, fits, none, act });
    this.wanted = "";
    this.most = MOST;
    this.said = new WeakMap();
    this.live = h("p", { class: "hint", role: "status" });
    this.list = h("div", { class: "list", tabindex: "-1" });
    this.element = h("div", {}, this.list, this.live);
  }

  // Loads the first items. The caller reports errors.
  async look() {
    this.turn = Symbol("turn");
    this.items = [];
    this.next = undefined;
    this.shown = SHOWN;
    await this.load(this.turn);
    this.draw();
    this.search();
  }

  // Reloads the items of a page that is already drawn. Reports errors in the table.
  async lookAgain() {
    try {
      await this.look();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const text = error.forbidden ? texts.mayNot : error.away ? texts.unreachable : error.message || texts.failed;
      fill(this.list, h("div", { class: "state", role: "alert" }, h("p", {}, text), !error.forbidden && button(texts.again, () => this.lookAgain())));
    }
  }

  // A response to a request made before the filter changed is discarded.
  async load(turn) {
    const answer = await this.page.api.call("GET", this.path, { query: { ...this.query(), limit: 100, after: this.next } });
    if (turn !== this.turn) return;
    this.items.push(...answer.data);
    this.next = answer.next;
  }

  // The result is cached, because each loaded page filters all items again.
  wordsOf(item) {
    if (!this.said.has(item)) this.said.set(item, words(item));
    return this.said.get(item);
  }

  fitting() {
    const wanted = this.wanted.trim().toLowerCase();
    return this.items.filter((item) => this.fits(item) && (!wanted || this.wordsOf(item).some((text) => text.includes(wanted))));
  }

  // /v1 has no text search: pages are loaded until there are enough matching items to show.
  async search() {
    const turn = this.turn;
    if (this.searching === turn) return;
    this.searching = turn;
    try {
      while (turn === this.turn && !this.page.gone && this.next && this.items.length < this.most && this.fitting().length < this.shown) {
        await this.load(turn);
        this.say(texts.looking(this.items.length));
        this.draw();
      }
      if (turn === this.turn) this.say(this.wanted.trim() ? texts.found(this.fitting().length) : "");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.say(error.away ? texts.unreachable : error.message || texts.failed);
    } finally {
      if (this.searching === turn) this.searching = undefined;
    }
  }

  say(text) { this.live.textContent = text; }

  draw() {
    const fitting = this.fitting();
    const rows = fitting.slice(0, this.shown);
    const more = (fitting.length > rows.length || this.next) && button(texts.more, () => this.more(), { class: "more" });
    if (rows.length === 0) {
      const text = this.next && this.items.length >= this.most ? texts.tooMany(this.items.length) : this.next ? "" : this.wanted || this.items.length ? texts.noneFits : this.none;
      return fill(this.list, h("p", { class: "state" }, text), more);
    }
    const head = h("tr", {}, this.columns.map(({ title }) => h("th", { scope: "col" }, title)), this.act && h("th", { scope: "col" }, h("span", { class: "unseen" }, texts.columns.actions)));
    fill(this.list, h("table", { "aria-label": this.label }, h("thead", {}, head), h("tbody", {}, rows.map((item) => this.row(item)))), more);
  }

  row(item) {
    const [first, ...others] = this.columns;
    return h(
      "tr",
      { "data-id": item.id ?? item.name },
      h("th", { scope: "row" }, first.show(item)),
      others.map(({ title, show }) => h("td", { "data-label": title }, h("span", { class: "cell" }, show(item)))),
      this.act && h("td", { class: "actions" }, this.act(item)),
    );
  }

  async more() {
    const before = this.shown;
    this.shown += SHOWN;
    if (this.items.length >= this.most) this.most += MOST;
    this.draw();
    await this.search();
    this.draw();
    (this.list.querySelectorAll("tbody tr")[before]?.querySelector("a, button") ?? this.list).focus();
  }

  // A field that searches the items.
  searchField() {
    const search = h("input", { type: "search", value: this.wanted });
    search.addEventListener("input", () => {
      this.wanted = search.value;
      this.shown = SHOWN;
      this.draw();
      this.search();
    });
    return field(texts.search, search).element;
  }
}
