// Charts. Each one has a text alternative: a table or a list.

import { cell, h, table } from "../widget/dom.js";
import { setStyle } from "./elements.js";
import { texts } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {{ label: string, short: string, values: number[] }} Bucket */
/** @typedef {{ tone: string, text: string }} Series */

/**
 * @param {string} tag
 * @param {Record<string, string | number>} properties
 * @param {(Node | false)[]} children
 */
function svg(tag, properties, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, String(value));
  element.append(...children.filter((child) => child !== false));
  return element;
}

const integer = new Intl.NumberFormat();
export const formatCount = (/** @type {number} */ number) => integer.format(number);

export const sum = (/** @type {number[]} */ numbers) => numbers.reduce((total, number) => total + number, 0);

// Returns the next round number, for the top of a scale.
/** @param {number} maximum */
function roundUp(maximum) {
  const size = 10 ** Math.floor(Math.log10(Math.max(maximum, 1)));
  return Math.max(4, size * ([1, 1.5, 2, 3, 4, 5, 6, 8].find((step) => step * size >= maximum) ?? 10));
}

/** @param {Series} series */
const legendItem = ({ tone, text }) => h("li", {}, h("span", { class: `dot ${tone}` }), text);

/**
 * @param {Bucket[]} buckets
 * @param {Series[]} series
 * @param {{ label: string, when: string }} options
 */
function bucketTable(buckets, series, { label, when }) {
  const rows = buckets.map(({ label: name, values }) => h("tr", {}, h("th", { scope: "row" }, name), values.map((value, index) => cell(series[index].text, formatCount(value)))));
  const content = table({ "aria-label": label }, [when, ...series.map(({ text }) => text)], rows);
  return h("details", { class: "data" }, h("summary", {}, texts.showTable), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, content));
}

// Stacked columns over time.
/**
 * @param {Bucket[]} buckets
 * @param {Series[]} series
 * @param {{ label: string, when: string, isLow?: boolean }} options
 */
export function stackedColumns(buckets, series, { label, when, isLow }) {
  const totals = buckets.map(({ values }) => sum(values));
  const top = roundUp(Math.max(...totals));
  const columns = buckets.map(({ label: name, values }, index) => {
    let base = 100;
    const bars = values.map((value, nth) => {
      const height = (value / top) * 100;
      base -= height;
      return value > 0 && svg("rect", { class: series[nth].tone, x: index + 0.14, width: 0.72, y: base, height });
    });
    const title = svg("title", {});
    title.textContent = `${name}\n${series.map(({ text }, nth) => `${text}: ${formatCount(values[nth])}`).join("\n")}`;
    return svg("g", { class: "column" }, title, svg("rect", { class: "ground", x: index, width: 1, y: 0, height: 100 }), ...bars);
  });
  const lines = [0, 50].map((y) => svg("line", { x1: 0, x2: buckets.length, y1: y, y2: y }));
  const plot = svg("svg", { viewBox: `0 0 ${buckets.length} 100`, preserveAspectRatio: "none", role: "img", "aria-label": texts.chartLabel(label, sum(totals)) }, ...lines, ...columns);
  const scale = [top, top / 2, 0].map((value) => h("span", {}, formatCount(value)));
  const labels = [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, buckets[Math.round(part * (buckets.length - 1))].short));
  return h(
    "div",
    { class: isLow ? "chart low" : "chart" },
    series.length > 1 && h("ul", { class: "legend" }, series.map(legendItem)),
    h("div", { class: "plot" }, h("div", { class: "scale", "aria-hidden": "true" }, scale), plot),
    h("div", { class: "names", "aria-hidden": "true" }, labels),
    bucketTable(buckets, series, { label, when }),
  );
}

// A table of counts with a bar in each row.
/**
 * @param {{ text: string, value: number }[]} rows
 * @param {{ label: string, titles: [string, string, string], tone: string }} options
 */
export function barTable(rows, { label, titles, tone }) {
  const maximum = Math.max(...rows.map(({ value }) => value), 1);
  const row = (/** @type {{ text: string, value: number }} */ { text, value }) =>
    h("tr", {}, h("th", { scope: "row" }, text), h("td", {}, setStyle(h("span", { class: `meter ${tone}` }), { "--share": `${(value / maximum) * 100}%` })), h("td", { class: "number" }, formatCount(value)));
  return table({ class: "meters", "aria-label": label }, titles.map((title) => h("span", { class: "visually-hidden" }, title)), rows.map(row));
}

// The shares of a total as a ring, with a legend.
/**
 * @param {(Series & { value: number, link: string })[]} parts
 * @param {{ label: string, total: string }} options
 */
export function ringChart(parts, { label, total }) {
  const all = sum(parts.map(({ value }) => value));
  const circle = { cx: 21, cy: 21, r: 15.9155 };
  let offset = 0;
  const arcs = parts.filter(({ value }) => value > 0).map(({ tone, value }) => {
    const share = (value / all) * 100;
    const arc = svg("circle", { class: tone, ...circle, pathLength: 100, "stroke-dasharray": `${Math.max(share - 1, 0.5)} 100`, "stroke-dashoffset": -offset });
    offset += share;
    return arc;
  });
  const ring = svg("svg", { viewBox: "0 0 42 42", "aria-hidden": "true", class: "ring" }, svg("circle", { class: "ground", ...circle }), ...arcs);
  const center = h("p", { class: "ring-center" }, h("strong", {}, formatCount(all)), h("small", {}, total));
  const legend = parts.map(({ tone, text, value, link }) => h("li", {}, h("span", { class: `dot ${tone}` }), h("a", { href: link }, text), h("strong", {}, formatCount(value))));
  return h("div", { class: "rings" }, h("div", { class: "ring-frame" }, ring, center), h("ul", { class: "legend tall", "aria-label": label }, legend));
}
