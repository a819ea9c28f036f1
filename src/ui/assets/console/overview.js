// Overview: exchanges, keys, and the next step of a signing key.

import { fill, h } from "../widget/dom.js";
import { ago, exactly } from "../widget/when.js";
import { address } from "./address.js";
import { columnsOf, count, meters, ring } from "./chart.js";
import { panel, time } from "./parts.js";
import { texts } from "./texts.js";

const HOUR = 3600_000;

// The width of a column in hours and the format of its label, by time span in hours.
const SPANS = {
  24: { hours: 1, format: { hour: "2-digit", minute: "2-digit" } },
  168: { hours: 4, format: { weekday: "short", hour: "2-digit" } },
  720: { hours: 24, format: { month: "short", day: "numeric" } },
};

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
const refusals = ({ refused }) => sum(Object.values(refused));

// Returns every column of the time span, including empty ones.
function buckets({ exchanges, as_of }, span) {
  const { hours, format } = SPANS[span];
  const [width, short] = [hours * HOUR, new Intl.DateTimeFormat(undefined, format)];
  const end = (Math.floor(Date.parse(as_of) / HOUR) + 1) * HOUR;
  const begin = end - span * HOUR;
  const columns = Array.from({ length: span / hours }, (_, index) => {
    const at = new Date(begin + index * width);
    return { label: full.format(at), short: short.format(at), values: [0, 0] };
  });
  for (const one of exchanges) {
    const column = columns[Math.floor((Date.parse(one.at) - begin) / width)];
    if (!column) continue;
    column.values[0] += one.granted;
    column.values[1] += refusals(one);
  }
  return columns;
}

function causes({ exchanges }) {
  const counts = {};
  for (const { refused } of exchanges) for (const [cause, number] of Object.entries(refused)) counts[cause] = (counts[cause] ?? 0) + number;
  const rows = Object.entries(counts).map(([cause, value]) => ({ text: texts.causes[cause] ?? cause, value })).sort((one, other) => other.value - one.value);
  const drawn = rows.length ? meters(rows, { label: texts.failures, what: texts.cause, tone: "refused" }) : h("p", { class: "state" }, texts.noFailures);
  return panel(texts.failures, drawn);
}

function exchanges(told, span) {
  const [granted, refused] = [sum(told.exchanges.map((one) => one.granted)), sum(told.exchanges.map(refusals))];
  const series = [{ tone: "granted", text: texts.granted }, { tone: "refused", text: texts.refused }];
  const said = granted + refused > 0 ? texts.exchanged(count(granted), count(refused), ((granted / (granted + refused)) * 100).toFixed(1)) : texts.nothingExchanged;
  return [h("p", { class: "hint" }, said), columnsOf(buckets(told, span), series, { label: texts.exchanges, when: texts.columns.time })];
}

const tile = (value, text, hint, ...to) => h("a", { class: "tile", href: address(...to) }, h("strong", {}, value), h("span", {}, text), h("small", {}, hint));

// The next step of a signing key, if the caller may see it.
async function next(page) {
  if (!page.may("keyswap:signing-keys")) return undefined;
  const { plan } = await page.api.call("GET", "signing-keys");
  const step = plan[0];
  if (!step) return tile(texts.none, texts.nextStep, texts.noStep, "signing-keys");
  return h("a", { class: "tile said", href: address("signing-keys") }, h("strong", {}, ago(step.at)), h("span", {}, texts.nextStep), h("small", {}, texts.stepOf[step.step]?.(step.algorithm) ?? step.step, `, ${exactly(step.at)}`));
}

function keys({ keys: states }) {
  if (!states) return panel(texts.keysByState, h("p", { class: "state" }, texts.notCounted));
  const tones = { active: "granted", suspended: "waiting", expired: "over", revoked: "refused" };
  const parts = Object.entries(tones).map(([state, tone]) => ({ tone, text: texts.states[state], value: states[state] ?? 0, link: address("keys", undefined, { state }) }));
  return panel(texts.keysByState, ring(parts, { label: texts.keysByState, total: texts.keysInAll }));
}

const first = () => panel(texts.firstTitle, h("ol", {}, texts.firstSteps.map(([text, view]) => h("li", {}, h("a", { href: address(view) }, text)))));

export async function show(page) {
  let span = 168;
  const [told, step] = await Promise.all([page.api.call("GET", "overview", { query: { hours: span } }), next(page).catch(() => undefined)]);
  const chart = h("div", {}, exchanges(told, span));
  const why = h("div", { class: "fills" }, causes(told));
  const turn = async (hours) => {
    const now = await page.api.call("GET", "overview", { query: { hours } });
    span = hours;
    fill(chart, exchanges(now, hours));
    fill(why, causes(now));
    mark();
  };
  const buttons = Object.keys(SPANS).map((hours) => h("button", { type: "button", "data-hours": hours, onclick: () => turn(Number(hours)).catch((error) => page.failed(error)) }, texts.spans[hours]));
  const mark = () => buttons.forEach((one) => one.setAttribute("aria-pressed", String(Number(one.dataset.hours) === span)));
  mark();
  const { active, suspended, expired, revoked, expiring } = told.keys ?? {};
  // The administrator's key always exists.
  const none = active + suspended + expired + revoked <= 1;
  const counted = (number) => (number === undefined ? "–" : count(number));
  page.draw(
    { title: texts.views.overview, help: [texts.asOf, " ", time(told.as_of)] },
    none && first(),
    h("div", { class: "tiles" },
      tile(counted(active), texts.working, texts.workingHint, "keys"),
      tile(counted(expiring), texts.expiring, texts.expiringHint, "keys", undefined, { only: "expiring" }),
      step,
    ),
    h("section", { class: "panel" }, h("div", { class: "top" }, h("h2", {}, texts.exchanges), h("div", { class: "group", role: "group", "aria-label": texts.span }, buttons)), chart),
    h("div", { class: "split even" }, why, keys(told)),
  );
}
