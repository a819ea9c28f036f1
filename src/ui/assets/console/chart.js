// Charts. Each one has a text alternative: a table or a list.

import { h } from "../widget/dom.js";
import { sized } from "./parts.js";
import { texts } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";

function s(tag, properties = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...children.flat().filter(Boolean));
  return element;
}

const whole = new Intl.NumberFormat();
export const count = (number) => whole.format(number);

// Returns the next round number, for the top of a scale.
function round(most) {
  const size = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return Math.max(4, size * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * size >= most));
}

const legend = (series) => h("ul", { class: "legend" }, series.map(({ tone, text }) => h("li", {}, h("span", { class: `dot ${tone}` }), text)));

function told(buckets, series, { when, label }) {
  const head = h("tr", {}, [when, ...series.map(({ text }) => text)].map((text) => h("th", { scope: "col" }, text)));
  const rows = buckets.map(({ label: name, values }) => h("tr", {}, h("th", { scope: "row" }, name), values.map((value, index) => h("td", { "data-label": series[index].text }, count(value)))));
  return h("details", { class: "told" }, h("summary", {}, texts.asTable), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", { "aria-label": label }, h("thead", {}, head), h("tbody", {}, rows))));
}

// Stacked columns over time. Buckets are { label, values }, series are { tone, text }.
export function columnsOf(buckets, series, { label, when, low }) {
  const sums = buckets.map(({ values }) => values.reduce((sum, value) => sum + value, 0));
  const top = round(Math.max(...sums));
  const bars = buckets.map(({ label: name, values }, index) => {
    let base = 100;
    const parts = values.map((value, nth) => {
      const height = (value / top) * 100;
      base -= height;
      return value > 0 && s("rect", { class: series[nth].tone, x: index + 0.14, width: 0.72, y: base, height });
    });
    const said = `${name}\n${series.map(({ text }, nth) => `${text}: ${count(values[nth])}`).join("\n")}`;
    return s("g", { class: "column" }, Object.assign(s("title"), { textContent: said }), s("rect", { class: "ground", x: index, width: 1, y: 0, height: 100 }), parts);
  });
  const lines = [0, 50].map((y) => s("line", { x1: 0, x2: buckets.length, y1: y, y2: y }));
  const drawn = s("svg", { viewBox: `0 0 ${buckets.length} 100`, preserveAspectRatio: "none", role: "img", "aria-label": texts.charted(label, sums.reduce((sum, one) => sum + one, 0)) }, lines, bars);
  const marks = [top, top / 2, 0].map((value) => h("span", {}, count(value)));
  const named = [0, 0.25, 0.5, 0.75, 1].map((part) => buckets[Math.round(part * (buckets.length - 1))]);
  return h(
    "div",
    { class: `chart ${low ? "low" : ""}` },
    series.length > 1 && legend(series),
    h("div", { class: "plot" }, h("div", { class: "scale", "aria-hidden": "true" }, marks), drawn),
    h("div", { class: "names", "aria-hidden": "true" }, named.map(({ short, label: name }) => h("span", {}, short ?? name))),
    told(buckets, series, { when, label }),
  );
}

// A table of counts with a bar in each row.
export function meters(rows, { label, what, tone }) {
  const most = Math.max(...rows.map(({ value }) => value), 1);
  const line = ({ text, value }) => h("tr", {}, h("th", { scope: "row" }, text), h("td", {}, sized(h("span", { class: `meter ${tone}` }), { "--share": `${(value / most) * 100}%` })), h("td", { class: "number" }, count(value)));
  const head = [what, "", texts.howMany].map((text) => h("th", { scope: "col" }, h("span", { class: "unseen" }, text || label)));
  return h("table", { class: "meters", "aria-label": label }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map(line)));
}

// The shares of a total as a ring, with a legend.
export function ring(parts, { label, total }) {
  const sum = parts.reduce((all, { value }) => all + value, 0);
  let from = 0;
  const arcs = parts.filter(({ value }) => value > 0).map(({ tone, value }) => {
    const share = (value / sum) * 100;
    const arc = s("circle", { class: tone, cx: 21, cy: 21, r: 15.9155, pathLength: 100, "stroke-dasharray": `${Math.max(share - 1, 0.5)} 100`, "stroke-dashoffset": -from });
    from += share;
    return arc;
  });
  const drawn = s("svg", { viewBox: "0 0 42 42", "aria-hidden": "true", class: "ring" }, s("circle", { class: "ground", cx: 21, cy: 21, r: 15.9155 }), arcs);
  const middle = h("p", { class: "middle" }, h("strong", {}, count(sum)), h("small", {}, total));
  return h("div", { class: "rings" }, h("div", { class: "around" }, drawn, middle), h("ul", { class: "legend tall", "aria-label": label }, parts.map(({ tone, text, value, link }) => h("li", {}, h("span", { class: `dot ${tone}` }), link ? h("a", { href: link }, text) : text, h("strong", {}, count(value))))));
}
