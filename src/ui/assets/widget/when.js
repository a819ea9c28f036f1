// Formats times in the language and time zone of the user.

const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const DAY = 86400_000;

// "3 days ago", "in 2 hours".
export function ago(text, now = Date.now()) {
  const seconds = Math.round((Date.parse(text) - now) / 1000);
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return relative.format(Math.round(seconds / length), unit);
}

export const exactly = (text) => absolute.format(new Date(text));
