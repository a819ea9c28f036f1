// The audit trail: from its end back to its beginning, and on to what is added.

const PAGE = 100;

export class Trail {
  constructor(api, filter) {
    this.api = api;
    this.filter = filter;
    this.more = true;
  }

  // So many older ones where there are so many, newest first.
  async older(count) {
    const { data, next } = await this.api.call("GET", "events", { query: { order: "newest", limit: count, after: this.next, ...this.filter } });
    // Where nothing fits yet, whatever comes is new.
    this.newest ??= data[0]?.seq ?? 0;
    this.next = next;
    this.more = next !== null;
    return data;
  }

  // Those after this one were let go, and are older ones again.
  goOnAfter(seq) {
    this.next = seq;
    this.more = true;
  }

  // What has come since, newest first: at once, or after a wait for it.
  async newer(api, wait) {
    const { data } = await api.call("GET", "events", { query: { limit: PAGE, after: this.newest, wait, ...this.filter } });
    if (data.length > 0) this.newest = data.at(-1).seq;
    return data.reverse();
  }
}
