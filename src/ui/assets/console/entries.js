// Entries of the audit log. An opened entry shows the complete event as JSON.

import { h } from "../widget/dom.js";
import { exactly } from "../widget/when.js";
import { byWhom, idOf, whom } from "./parts.js";
import { texts } from "./texts.js";

function opened(event) {
  const about = [
    h("p", {}, texts.about, " ", whom(event.subject)),
    event.actor.id && h("p", {}, texts.doneBy, " ", whom(event.actor)),
    event.organization_id && h("p", {}, texts.at, " ", whom({ type: "organization", id: event.organization_id })),
  ];
  return [h("div", { class: "about" }, about), h("pre", { tabindex: "0" }, JSON.stringify(event, null, 2))];
}

export function entry(event) {
  const line = h(
    "summary",
    {},
    h("time", { datetime: event.at }, exactly(event.at)),
    h("code", { class: "type" }, event.type),
    h("span", { class: "subject" }, event.subject.id ? idOf(event.subject.id) : event.subject.type),
    h("span", { class: "actor" }, byWhom(event.actor)),
  );
  const details = h("details", { "data-seq": String(event.seq) }, line);
  // The content is rendered when an entry is first opened, because most entries are never opened.
  details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(...opened(event)); });
  return h("li", {}, details);
}

export const entries = (events, none) => (events.length ? h("ul", { class: "entries" }, events.map(entry)) : h("p", { class: "state" }, none));
