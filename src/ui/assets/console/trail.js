// Reads the audit log backwards from its end, and forwards as events are added.

const PAGE = 100;

export class Trail {
  constructor(api, filter) {
    this.api = api;
    this.filter = filter;
    this.more = true;
  }

  // Returns up to `count` older events, newest first.
  async older(count) {
    const { data, next } = await this.api.call("GET", "events", { query: { order: "newest", limit: count, after: this.next, ...this.filter } });
    // If no event matches yet, all later ones are new.
    this.newest ??= data[0]?.seq ?? 0;
    this.next = next;
    this.more = next !== null;
    return data;
  }

  // Lets `older` continue after `seq`, because the page has dropped the older events.
  goOnAfter(seq) {
    this.next = seq;
    this.more = true;
  }

  // Returns the events added since the last call, newest first. With `wait`, /v1 holds the request
  // until there is one.
  async newer(api, wait) {
    const { data } = await api.call("GET", "events", { query: { limit: PAGE, after: this.newest, wait, ...this.filter } });
    if (data.length > 0) this.newest = data.at(-1).seq;
    return data.reverse();
  }
}
