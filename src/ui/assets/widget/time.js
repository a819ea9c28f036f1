// Formats times in the language and time zone of the user.

import { h } from "./dom.js";
import { texts } from "./texts.js";

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const DAY = 86400_000;

// "3 days ago", "in 2 hours".
export function formatRelative(/** @type {string} */ text) {
  const seconds = Math.round((Date.parse(text) - Date.now()) / 1000);
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return relative.format(Math.round(seconds / length), unit);
}

export const formatTime = (/** @type {string | number | Date} */ time) => absolute.format(new Date(time));

export const daysFromNow = (/** @type {number} */ days) => new Date(Date.now() + days * DAY).toISOString();

/**
 * @param {string | null | undefined} text
 * @param {string} [none]
 */
export const time = (text, none = texts.never) => (text ? h("time", { datetime: text, title: formatTime(text) }, formatRelative(text)) : h("span", { class: "quiet" }, none));
