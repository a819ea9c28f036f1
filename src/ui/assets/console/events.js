// The audit log, with filters and live updates.

import { button, field, fill, h, unique } from "../widget/dom.js";
import { Refused } from "../widget/api.js";
import { address } from "./address.js";
import { entry } from "./entries.js";
import { eventTypes } from "./event_types.js";
import { texts } from "./texts.js";
import { Trail } from "./trail.js";

const { columns } = texts;

const SHOWN = 50;
// Maximum number of entries on the page while new ones are added.
const KEPT = 1000;

const pause = (time) => new Promise((resolve) => { setTimeout(resolve, time); });

export async function show(page) {
  const filter = Object.fromEntries(["type", "actor", "subject", "organization"].map((name) => [name, page.query[name]]));
  const list = h("ul", { class: "entries", "aria-label": texts.views.events });
  const none = h("p", { class: "state", hidden: true }, texts.noEvents);
  const more = button(texts.more, () => older().catch((error) => page.failed(error)), { class: "more" });
  let trail;
  let following;

  const settle = () => {
    none.hidden = list.children.length > 0;
    more.hidden = !trail.more;
  };
  async function older() {
    const asked = trail;
    const found = await asked.older(SHOWN);
    if (asked !== trail) return;
    const lines = found.map(entry);
    list.append(...lines);
    settle();
  }
  async function look() {
    following?.abort();
    const begun = trail = new Trail(page.api, filter);
    fill(list);
    await older();
    if (begun === trail && live.checked) follow(begun);
  }
  const begin = () => look().catch((error) => page.refused(error));

  // Uses long polling while the page is visible and the switch is on.
  async function follow(trail) {
    following?.abort();
    const mine = new AbortController();
    following = mine;
    const stopped = () => mine.signal.aborted || page.gone;
    const api = page.waiting(mine.signal);
    while (!stopped()) {
      if (document.hidden) {
        await new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
        continue;
      }
      try {
        const found = await trail.newer(api, "25s");
        if (stopped()) return;
        list.prepend(...found.map(entry));
        if (list.children.length > KEPT) {
          while (list.children.length > KEPT) list.lastElementChild.remove();
          trail.goOnAfter(list.lastElementChild.firstElementChild.dataset.seq);
        }
        settle();
        if (found.length) page.say(texts.newEvents(found.length));
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (stopped()) return;
        if (!error.away && error.status !== 429) {
          live.checked = false;
          return page.failed(error);
        }
        page.say(texts.tailAway);
        await pause((error.retryAfter ?? 5) * 1000);
      }
    }
  }
  const live = h("input", { type: "checkbox", role: "switch" });
  live.addEventListener("change", () => {
    page.say(live.checked ? texts.following : "");
    if (live.checked) follow(trail);
    else following?.abort();
  });

  const types = unique("types");
  const asked = (name, label, properties) => {
    const control = h("input", { type: "search", value: filter[name] ?? "", autocomplete: "off", spellcheck: "false", ...properties });
    control.addEventListener("change", () => {
      filter[name] = control.value.trim() || undefined;
      history.replaceState(null, "", address("events", undefined, Object.fromEntries(Object.entries(filter).filter(([, value]) => value))));
      begin();
    });
    return field(label, control).element;
  };
  await look();
  const tools = [
    asked("type", columns.type, { list: types, placeholder: texts.exampleType }),
    h("datalist", { id: types }, eventTypes.map((value) => h("option", { value }))),
    asked("subject", columns.subject),
    asked("actor", columns.actor),
    asked("organization", columns.organization),
    h("label", { class: "choice switch" }, live, h("span", {}, texts.follow)),
  ];
  page.draw({ title: texts.views.events, help: texts.helps.events }, h("div", { class: "panel" }, h("div", { class: "tools dense", role: "search" }, tools), list, none, more));
}
