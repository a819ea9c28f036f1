// Signing keys over time: published, signing, retiring, removed. Planned periods are paler.

import { h } from "../widget/dom.js";
import { DAY, exactly } from "../widget/when.js";
import { badge, sized } from "./parts.js";
import { texts } from "./texts.js";

// The number of removed keys that are drawn.
const GONE = 4;

export const shortly = (kid) => kid.slice(0, 8);

const moment = (text) => (text ? Date.parse(text) : undefined);

// Returns the period of each state of a key, as recorded and as planned.
function life(key, plan, now) {
  const planned = (step) => moment(plan.find((one) => one.kid === key.kid && one.step === step)?.at);
  // A key signs until the next key of its algorithm is activated.
  const replaced = moment(plan.find((one) => one.step === "activate" && one.kid !== key.kid && one.algorithm === key.algorithm)?.at);
  const signs = moment(key.activated_at) ?? planned("activate");
  const gone = moment(key.removed_at);
  const retires = moment(key.retired_at) ?? planned("retire") ?? (key.state === "active" ? replaced : undefined) ?? (key.state === "revoked" ? gone : undefined);
  const removable = gone ?? moment(key.may_be_removed_from) ?? planned("remove");
  const stretches = [["next", moment(key.published_at), signs ?? gone], ["active", signs, retires ?? gone], ["retiring", retires, removable]];
  // The states of a key end when it is removed or revoked.
  return stretches.filter(([, from]) => from !== undefined && (gone === undefined || from <= gone)).map(([state, from, to]) => ({ state, from, to: gone && to ? Math.min(to, gone) : to, until: now }));
}

// Returns evenly spaced labels for the axis, in days or in hours depending on the range.
function ticks(begin, end) {
  const days = (end - begin) / DAY;
  const parts = days > 6 ? { month: "short", day: "numeric" } : { ...(days > 1 && { weekday: "short" }), hour: "numeric", minute: "2-digit" };
  const format = new Intl.DateTimeFormat(undefined, parts);
  return [0, 0.25, 0.5, 0.75, 1].map((part) => ({ part, text: format.format(new Date(begin + part * (end - begin))) }));
}

function said(stretch) {
  const [from, to] = [stretch.from, stretch.to].map((time) => time !== undefined && exactly(new Date(time).toISOString()));
  return `${texts.keyStates2[stretch.state]}: ${to ? texts.fromTo(from, to) : texts.from(from)}`;
}

export function timeline({ data, plan }, now = Date.now()) {
  const gone = data.filter((key) => key.removed_at).sort((one, other) => moment(other.removed_at) - moment(one.removed_at));
  const shown = data.filter((key) => !key.removed_at || gone.indexOf(key) < GONE);
  const lives = shown.map((key) => ({ key, stretches: life(key, plan, now) }));
  const moments = lives.flatMap(({ stretches }) => stretches.flatMap(({ from, to }) => [from, to])).concat(plan.map(({ at }) => Date.parse(at)), now).filter(Number.isFinite);
  const room = Math.max((Math.max(...moments) - Math.min(...moments)) * 0.04, 60_000);
  const [begin, end] = [Math.min(...moments) - room, Math.max(...moments) + room];
  const share = (time) => `${((Math.min(Math.max(time, begin), end) - begin) / (end - begin)) * 100}%`;
  const place = (element, from, to) => sized(element, { "--from": share(from), "--to": share(to) });
  const bar = (stretch) => {
    const to = stretch.to ?? end;
    const part = (from, until, more) => until > from && place(h("span", { class: `stretch ${stretch.state} ${more}`, title: said(stretch) }), from, until);
    return [part(stretch.from, Math.min(to, now), "past"), part(Math.max(stretch.from, now), to, "coming")];
  };
  const rows = lives.map(({ key, stretches }) => h(
    "li",
    {},
    h("div", { class: "of" }, h("code", { title: key.kid }, shortly(key.kid)), h("small", {}, key.algorithm), badge(key.state, texts.keyStates2[key.state])),
    h("div", { class: "track" }, stretches.map(bar), h("span", { class: "unseen" }, stretches.map(said).join(". "))),
  ));
  const axis = ticks(begin, end).map(({ part, text }) => sized(h("span", {}, text), { "--from": `${part * 100}%` }));
  return h(
    "div",
    { class: "timeline" },
    h("ul", { class: "legend" }, ["next", "active", "retiring"].map((state) => h("li", {}, h("span", { class: `dot ${state}` }), texts.keyStates2[state])), h("li", {}, texts.paler)),
    h("div", { class: "drawn" },
      h("ul", { class: "lives", "aria-label": texts.timeline }, rows),
      h("div", { class: "overlay", "aria-hidden": "true" }, sized(h("span", { class: "now" }, h("small", {}, texts.now)), { "--from": share(now) }), h("div", { class: "axis" }, axis)),
    ),
  );
}
