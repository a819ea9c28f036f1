// Signing keys over time: published, signing, retiring, removed. Planned periods are paler.

import { h } from "../widget/dom.js";
import { DAY, formatTime } from "../widget/time.js";
import { badge, setStyle } from "./elements.js";
import { texts } from "./texts.js";

/** @typedef {"next" | "active" | "retiring"} State */
/** @typedef {{ state: State, from: number, to: number | undefined }} Period */

// The number of removed keys that are drawn.
const MAX_REMOVED = 4;

export const shortKid = (/** @type {string} */ kid) => kid.slice(0, 8);

const parseTime = (/** @type {string | null | undefined} */ text) => (text ? Date.parse(text) : undefined);

// Returns the period of each state of a key, as recorded and as planned.
/**
 * @param {V1.SigningKey} key
 * @param {V1.RotationStep[]} plan
 * @returns {Period[]}
 */
function periodsOf(key, plan) {
  const planned = (/** @type {string} */ step) => parseTime(plan.find((one) => one.kid === key.kid && one.step === step)?.at);
  // A key signs until the next key of its algorithm is activated.
  const replaced = parseTime(plan.find((one) => one.step === "activate" && one.kid !== key.kid && one.algorithm === key.algorithm)?.at);
  const activated = parseTime(key.activated_at) ?? planned("activate");
  const removed = parseTime(key.removed_at);
  const retired = parseTime(key.retired_at) ?? planned("retire") ?? (key.state === "active" ? replaced : undefined) ?? (key.state === "revoked" ? removed : undefined);
  const removable = removed ?? parseTime(key.may_be_removed_from) ?? planned("remove");
  /** @type {{ state: State, from: number | undefined, to: number | undefined }[]} */
  const periods = [
    { state: "next", from: parseTime(key.published_at), to: activated ?? removed },
    { state: "active", from: activated, to: retired ?? removed },
    { state: "retiring", from: retired, to: removable },
  ];
  // The states of a key end when it is removed or revoked.
  return periods.flatMap(({ state, from, to }) => (from === undefined || (removed && from > removed) ? [] : [{ state, from, to: removed && to ? Math.min(to, removed) : to }]));
}

// Returns evenly spaced labels for the axis, in days or in hours depending on the range.
/**
 * @param {number} begin
 * @param {number} end
 */
function axisLabels(begin, end) {
  const days = (end - begin) / DAY;
  /** @type {Intl.DateTimeFormatOptions} */
  const parts = days > 6 ? { month: "short", day: "numeric" } : { ...(days > 1 && { weekday: "short" }), hour: "numeric", minute: "2-digit" };
  const format = new Intl.DateTimeFormat(undefined, parts);
  return [0, 0.25, 0.5, 0.75, 1].map((part) => setStyle(h("span", {}, format.format(new Date(begin + part * (end - begin)))), { "--from": `${part * 100}%` }));
}

/** @param {Period} period */
function describePeriod({ state, from, to }) {
  return `${texts.signingKeyStates[state]}: ${to === undefined ? texts.from(formatTime(from)) : texts.fromTo(formatTime(from), formatTime(to))}`;
}

/** @param {V1.SigningKeys} keys */
export function timeline({ data, plan }) {
  const now = Date.now();
  const removed = data.filter((key) => key.removed_at).sort((one, other) => (parseTime(other.removed_at) ?? 0) - (parseTime(one.removed_at) ?? 0));
  const drawn = data.filter((key) => !key.removed_at || removed.indexOf(key) < MAX_REMOVED).map((key) => ({ key, periods: periodsOf(key, plan) }));
  const times = [now, ...plan.map(({ at }) => Date.parse(at)), ...drawn.flatMap(({ periods }) => periods.flatMap(({ from, to = from }) => [from, to]))];
  const margin = Math.max((Math.max(...times) - Math.min(...times)) * 0.04, 60_000);
  const [begin, end] = [Math.min(...times) - margin, Math.max(...times) + margin];
  const position = (/** @type {number} */ time) => `${((Math.min(Math.max(time, begin), end) - begin) / (end - begin)) * 100}%`;
  const bars = (/** @type {Period} */ period) => {
    const to = period.to ?? end;
    const bar = (/** @type {number} */ from, /** @type {number} */ until, /** @type {string} */ style) =>
      until > from && setStyle(h("span", { class: `period ${period.state} ${style}`, title: describePeriod(period) }), { "--from": position(from), "--to": position(until) });
    return [bar(period.from, Math.min(to, now), "past"), bar(Math.max(period.from, now), to, "planned")];
  };
  const rows = drawn.map(({ key, periods }) => h(
    "li",
    {},
    h("div", { class: "key-label" }, h("code", { title: key.kid }, shortKid(key.kid)), h("small", {}, key.algorithm), badge(key.state, texts.signingKeyStates[key.state])),
    h("div", { class: "track" }, periods.map(bars), h("span", { class: "visually-hidden" }, periods.map(describePeriod).join(". "))),
  ));
  const legend = /** @type {State[]} */ (["next", "active", "retiring"]).map((state) => h("li", {}, h("span", { class: `dot ${state}` }), texts.signingKeyStates[state]));
  return h(
    "div",
    { class: "timeline" },
    h("ul", { class: "legend" }, legend, h("li", {}, texts.planned)),
    h("div", { class: "timeline-plot" },
      h("ul", { class: "key-rows", "aria-label": texts.timeline }, rows),
      h("div", { class: "overlay", "aria-hidden": "true" }, setStyle(h("span", { class: "now" }, h("small", {}, texts.now)), { "--from": position(now) }), h("div", { class: "axis" }, axisLabels(begin, end))),
    ),
  );
}
