// Overview: exchanges, keys, and the next step of a signing key.

/** @import { Children } from "../widget/dom.js" */
/** @import { PageView } from "./page_view.js" */
import { fill, h } from "../widget/dom.js";
import { formatRelative, formatTime, time } from "../widget/time.js";
import { formatAddress } from "./address.js";
import { barTable, formatCount, ringChart, stackedColumns, sum } from "./chart.js";
import { buttonGroup, emptyState, link, lookUp, panel, panelWithControls } from "./elements.js";
import { describeStep } from "./signing_keys.js";
import { texts } from "./texts.js";

const HOUR = 3600_000;

// The width of a column in hours and the format of its label, by time span in hours.
/** @type {Record<keyof typeof texts.spans, { hours: number, format: Intl.DateTimeFormatOptions }>} */
const SPANS = {
  "24": { hours: 1, format: { hour: "2-digit", minute: "2-digit" } },
  "168": { hours: 4, format: { weekday: "short", hour: "2-digit" } },
  "720": { hours: 24, format: { month: "short", day: "numeric" } },
};

/** @typedef {keyof typeof SPANS} Span */

const countRefused = (/** @type {V1.HourOfExchanges} */ { refused }) => sum(Object.values(refused));

// Returns every column of the time span, including empty ones.
/**
 * @param {V1.Overview} overview
 * @param {Span} span
 */
function bucketsOf({ exchanges, as_of }, span) {
  const { hours, format } = SPANS[span];
  const [width, short] = [hours * HOUR, new Intl.DateTimeFormat(undefined, format)];
  const end = (Math.floor(Date.parse(as_of) / HOUR) + 1) * HOUR;
  const begin = end - Number(span) * HOUR;
  const buckets = Array.from({ length: Number(span) / hours }, (_, index) => {
    const at = new Date(begin + index * width);
    return { label: formatTime(at), short: short.format(at), values: [0, 0] };
  });
  for (const hour of exchanges) {
    const bucket = buckets[Math.floor((Date.parse(hour.at) - begin) / width)];
    if (!bucket) continue;
    bucket.values[0] += hour.granted;
    bucket.values[1] += countRefused(hour);
  }
  return buckets;
}

/** @param {V1.Overview} overview */
function refusalsPanel({ exchanges }) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const { refused } of exchanges) for (const [cause, number] of Object.entries(refused)) counts[cause] = (counts[cause] ?? 0) + number;
  const rows = Object.entries(counts).map(([cause, value]) => ({ text: lookUp(texts.causes, cause), value })).sort((one, other) => other.value - one.value);
  const { refusals, cause, share, count, noRefusals } = texts;
  return panel(refusals, rows.length ? barTable(rows, { label: refusals, titles: [cause, share, count], tone: "refused" }) : emptyState(noRefusals));
}

/**
 * @param {V1.Overview} overview
 * @param {Span} span
 */
function exchangesChart(overview, span) {
  const [granted, refused] = [sum(overview.exchanges.map((hour) => hour.granted)), sum(overview.exchanges.map(countRefused))];
  const series = [{ tone: "granted", text: texts.granted }, { tone: "refused", text: texts.refused }];
  const summary = granted + refused > 0 ? texts.exchangeSummary(formatCount(granted), formatCount(refused), ((granted / (granted + refused)) * 100).toFixed(1)) : texts.noExchanges;
  return [h("p", { class: "hint" }, summary), stackedColumns(bucketsOf(overview, span), series, { label: texts.exchanges, when: texts.columns.time })];
}

/**
 * @param {string} value
 * @param {string} text
 * @param {Children} hint
 * @param {Parameters<typeof formatAddress>} to
 */
const tile = (value, text, hint, ...to) => h("a", { class: "tile", href: formatAddress(...to) }, h("strong", {}, value), h("span", {}, text), h("small", {}, hint));

// The next step of a signing key, if the caller may see it.
/** @param {PageView} page */
async function nextStepTile(page) {
  if (!page.hasPermission("keyswap:signing-keys")) return undefined;
  const { plan: [step] } = await page.api.call("GET signing-keys");
  if (!step) return tile(texts.none, texts.nextStep, texts.noSteps, "signing-keys");
  const next = tile(formatRelative(step.at), texts.nextStep, `${describeStep(step)}, ${formatTime(step.at)}`, "signing-keys");
  next.classList.add("long");
  return next;
}

/** @param {V1.Overview} overview */
function keyStatesPanel({ keys }) {
  if (!keys) return panel(texts.keysByState, emptyState(texts.notCounted));
  const tones = /** @type {const} */ ({ active: "granted", suspended: "waiting", expired: "ended", revoked: "refused" });
  const parts = /** @type {(keyof typeof tones)[]} */ (Object.keys(tones)).map((state) => ({ tone: tones[state], text: texts.states[state], value: keys[state], link: formatAddress("keys", undefined, { state }) }));
  return panel(texts.keysByState, ringChart(parts, { label: texts.keysByState, total: texts.keysTotal }));
}

const firstStepsPanel = () => panel(texts.firstStepsTitle, h("ol", {}, texts.firstSteps.map(([text, view]) => h("li", {}, link(text, view)))));

/** @param {PageView} page */
export async function showOverview(page) {
  /** @type {Span} */
  const initial = "168";
  const load = (/** @type {Span} */ span) => page.api.call("GET overview", { query: { hours: Number(span) } });
  const [overview, step] = await Promise.all([load(initial), nextStepTile(page).catch(() => undefined)]);
  const chart = h("div", {}, exchangesChart(overview, initial));
  const refusals = h("div", { class: "fill-height" }, refusalsPanel(overview));
  const redraw = async (/** @type {Span} */ span) => {
    const loaded = await load(span);
    fill(chart, exchangesChart(loaded, span));
    fill(refusals, refusalsPanel(loaded));
  };
  const spans = buttonGroup(texts.span, texts.spans, initial, (span) => redraw(span).catch((error) => page.reportError(error)));
  const { keys } = overview;
  // The administrator's key always exists.
  const isNew = keys && keys.active + keys.suspended + keys.expired + keys.revoked <= 1;
  page.draw(
    { title: texts.views.overview, help: [texts.asOf, " ", time(overview.as_of)] },
    isNew && firstStepsPanel(),
    h("div", { class: "tiles" },
      tile(keys ? formatCount(keys.active) : "–", texts.activeKeys, texts.activeKeysHint, "keys"),
      tile(keys ? formatCount(keys.expiring) : "–", texts.expiring, texts.expiringHint, "keys", undefined, { only: "expiring" }),
      step,
    ),
    panelWithControls(texts.exchanges, spans, chart),
    h("div", { class: "split even" }, refusals, keyStatesPanel(overview)),
  );
}
