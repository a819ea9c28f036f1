// Reads the audit log backwards from its end, and forwards as events are added.

/** @import { ConsoleApi } from "./session.js" */

const PAGE_SIZE = 100;

/** @typedef {Partial<Record<"type" | "actor" | "subject" | "organization", string>>} EventFilter */

export class AuditLogReader {
  // The newest event that was read, and the oldest one.
  /** @type {number | undefined} */
  newest;
  /** @type {number | undefined} */
  oldest;
  hasMore = true;

  /**
   * @param {ConsoleApi} api
   * @param {EventFilter} filter
   */
  constructor(api, filter) {
    this.api = api;
    this.filter = filter;
  }

  // Returns up to `count` older events, newest first.
  /** @param {number} count */
  async readOlder(count) {
    const { data, next } = await this.api.call("GET events", { query: { order: "newest", limit: count, after: this.oldest, ...this.filter } });
    // If no event matches yet, all later ones are new.
    this.newest ??= data[0]?.seq ?? 0;
    this.oldest = Number(next);
    this.hasMore = next !== null;
    return data;
  }

  // Lets `readOlder` continue after `seq`, because the page has dropped the older events.
  /** @param {number} seq */
  continueAfter(seq) {
    this.oldest = seq;
    this.hasMore = true;
  }

  // Returns the events added since the last call, newest first. With `wait`, /v1 holds the request
  // until there is one.
  /**
   * @param {ConsoleApi} api
   * @param {string} wait
   */
  async readNewer(api, wait) {
    const { data } = await api.call("GET events", { query: { limit: PAGE_SIZE, after: this.newest, wait, ...this.filter } });
    this.newest = data.at(-1)?.seq ?? this.newest;
    return data.reverse();
  }
}
