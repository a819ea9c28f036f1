// Entries of the audit log. An opened entry shows the complete event as JSON.

import { h } from "../widget/dom.js";
import { formatTime } from "../widget/time.js";
import { actorText, emptyState, entityLink, shortId } from "./elements.js";
import { texts } from "./texts.js";

/** @param {V1.Event} event */
function eventDetails(event) {
  return [
    h("div", { class: "about" },
      h("p", {}, texts.about, " ", entityLink(event.subject)),
      event.actor.id && h("p", {}, texts.doneBy, " ", entityLink(event.actor)),
      event.organization_id && h("p", {}, texts.at, " ", entityLink({ type: "organization", id: event.organization_id }))),
    h("pre", { tabindex: "0" }, JSON.stringify(event, null, 2)),
  ];
}

/** @param {V1.Event} event */
export function eventEntry(event) {
  const summary = h(
    "summary",
    {},
    h("time", { datetime: event.at }, formatTime(event.at)),
    h("code", { class: "type" }, event.type),
    h("span", { class: "subject" }, event.subject.id ? shortId(event.subject.id) : event.subject.type),
    h("span", { class: "actor" }, actorText(event.actor)),
  );
  const details = h("details", {}, summary);
  // The content is rendered when an entry is first opened, because most entries are never opened.
  details.addEventListener("toggle", () => details.append(h("div", {}, eventDetails(event))), { once: true });
  return h("li", { "data-seq": event.seq }, details);
}

/**
 * @param {V1.Event[]} events
 * @param {string} none
 */
export const eventList = (events, none) => (events.length ? h("ul", { class: "entries" }, events.map(eventEntry)) : emptyState(none));
